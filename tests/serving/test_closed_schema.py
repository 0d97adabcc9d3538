"""Which schemas are closed, and that what fits the closed one fits the one that was given."""

from __future__ import annotations

from typing import Any

import pytest

from groundtune.serving.chats.closed_schema import closed

ITEM = {"type": "object", "properties": {"a": {"type": "integer"}}}
SHUT = {**ITEM, "additionalProperties": False}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (ITEM, SHUT),
        ({"type": "array", "items": ITEM}, {"type": "array", "items": SHUT}),
        ({"$defs": {"x": ITEM}, "$ref": "#/$defs/x"}, {"$defs": {"x": SHUT}, "$ref": "#/$defs/x"}),
        ({"anyOf": [ITEM, {"type": "null"}]}, {"anyOf": [SHUT, {"type": "null"}]}),
        ({"properties": {"b": ITEM}}, {"properties": {"b": SHUT}, "additionalProperties": False}),
        ({"type": "object", "additionalProperties": ITEM}, {"type": "object", "additionalProperties": SHUT}),
    ],
)
def test_objects_that_list_their_properties_are_closed(given: Any, wanted: Any) -> None:
    assert closed(given) == wanted


@pytest.mark.parametrize(
    "given",
    [
        {"type": "object"},
        {"properties": {}, "additionalProperties": True},
        {"properties": {}, "patternProperties": {"^x": {}}},
        {"allOf": [ITEM, {"properties": {"b": {}}}]},
        {"properties": {"b": {}}, "anyOf": [ITEM, {"properties": {"c": {}}}]},
    ],
)
def test_what_may_mean_something_else_stays(given: Any) -> None:
    assert closed(given) == given
