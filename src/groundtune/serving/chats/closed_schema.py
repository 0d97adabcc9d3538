"""Schemas that do not say whether their objects may have other properties than those they name: here they may not.

JSON Schema lets them. Whoever lists properties wants no others, and a small model that may invent some does so without end.
What is written still fits the schema as it was given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

#: keywords by which several schemas speak of one object: "no others" of one would forbid the others' properties
_TOGETHER = ('"allOf"', '"not"', '"if"', '"dependentSchemas"', '"unevaluatedProperties"')
#: of one object's schema, besides those
_OPEN = frozenset({"additionalProperties", "patternProperties", "propertyNames", "anyOf", "oneOf", "$ref"})


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema, with ``additionalProperties: false`` wherever that takes nothing away that it names."""
    text = json.dumps(schema)
    return dict(schema) if any(word in text for word in _TOGETHER) else _closed(schema)


def _closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(schema)
    for name in ("properties", "$defs", "definitions"):
        if isinstance(out.get(name), Mapping):
            out[name] = {key: _part(value) for key, value in out[name].items()}
    for name in ("items", "additionalProperties"):
        if name in out:
            out[name] = _part(out[name])
    if "properties" not in out:
        for name in ("anyOf", "oneOf"):
            if isinstance(out.get(name), list):
                out[name] = [_part(value) for value in out[name]]
    elif not _OPEN & out.keys():
        out["additionalProperties"] = False
    return out


def _part(value: Any) -> Any:
    return _closed(value) if isinstance(value, Mapping) else value
