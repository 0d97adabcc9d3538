"""``{{item.name}}`` and ``{{sample.output_text}}`` in graders' texts: looked up, never run.

A path goes through objects by name and through lists by number: ``{{item.answers[0].text}}``. What is no text is written as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from groundtune.serving.errors import bad_request

_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_PATH = re.compile(r"\s*(item|sample)((?:\.[^\s.\[\]{}]+|\[\d+\])*)\s*\Z")
_PLACE = re.compile("[0-9]{1,12}")
_STEP = re.compile(r"\.([^\s.\[\]{}]+)|\[(\d+)\]")


class InvalidVariable(Exception):
    """A template names what the item or the sample does not have."""


class SampleNotJson(Exception):
    """A template wants the sample's JSON, and the sample is none."""


def sample_of(text: str) -> dict[str, Any]:
    """What templates and python graders know of a sample; ``output_json`` is None where the text is no JSON."""
    try:
        parsed: Any = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    message = {"role": "assistant", "content": text}
    return {"output_text": text, "output_json": parsed, "output_tools": [], "choices": [{"message": message}]}


def check_template(text: str, place: str) -> None:
    """See that every template is one.

    Raises:
        ApiError: one is not, with the place.
    """
    for found in _TEMPLATE.finditer(text):
        if not _PATH.match(found[1]):
            message = (
                f"'{place}' has the template {found[0]}: expected {{{{item.NAME}}}} or {{{{sample.output_text}}}}."
            )
            raise bad_request(message, param=place, code="invalid_template")


def rendered(text: str, item: Mapping[str, Any], sample: Mapping[str, Any]) -> str:
    """A text with its templates filled in.

    Raises:
        InvalidVariable: nothing of that name. SampleNotJson: it wants JSON of a sample that is none.
    """
    return _TEMPLATE.sub(lambda found: _written(_value(found[1], item, sample)), text)


def _value(path: str, item: Mapping[str, Any], sample: Mapping[str, Any]) -> Any:
    found = _PATH.match(path)
    if found is None:
        raise InvalidVariable(path.strip())
    value: Any = item if found[1] == "item" else sample
    if found[1] == "sample" and found[2].startswith(".output_json") and sample["output_json"] is None:
        raise SampleNotJson
    for name, number in _STEP.findall(found[2]):
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and _PLACE.fullmatch(number or name) and int(number or name) < len(value):
            value = value[int(number or name)]
        else:
            raise InvalidVariable(path.strip())
    return value


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
