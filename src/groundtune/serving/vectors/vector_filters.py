"""Filters on the attributes of files: comparisons, joined by ``and`` and ``or`` (OpenAI's file search).

A file that lacks the attribute, or has it in another kind than the value's (text, number, truth), is unequal to the value
and neither greater nor less: only ``ne`` and ``nin`` let it through. Text is ordered by its characters, so that dates
written as 2026-11-21 compare as they should.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from groundtune.serving.errors import ApiError, bad_request

#: conditions of one filter, and how deep they may stand in each other
MOST, DEEPEST = 256, 16
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le,
}  # fmt: skip


def check(given: Any) -> None:
    """See that a filter is one.

    Raises:
        ApiError: what is wrong with it.
    """
    left = [MOST]
    _check(given, "filters", DEEPEST, left)


def _check(given: Any, place: str, deep: int, left: list[int]) -> None:
    left[0] -= 1
    if deep < 1 or left[0] < 0:
        raise _wrong("filters", f"at most {MOST} conditions, {DEEPEST} deep")
    kind = given.get("type") if isinstance(given, dict) else None
    if kind in ("and", "or"):
        inner = given.get("filters")
        if set(given) != {"type", "filters"} or not isinstance(inner, list) or not inner:
            raise _wrong(place, f"'type' {kind} and 'filters', a list that is not empty")
        for number, part in enumerate(inner):
            _check(part, f"{place}.filters.{number}", deep - 1, left)
        return
    if kind not in ("eq", "ne", "in", "nin", *_ORDER):
        raise _wrong(place, "'type' one of eq, ne, gt, gte, lt, lte, in, nin, and, or")
    if set(given) != {"type", "key", "value"} or not isinstance(given["key"], str):
        raise _wrong(place, "'type', 'key' (text) and 'value'")
    value = given["value"]
    if kind in ("in", "nin"):
        if not isinstance(value, list) or any(_kind(item) not in (str, float) for item in value):
            raise _wrong(f"{place}.value", "a list of texts or numbers")
    elif _kind(value) is None or (kind in _ORDER and _kind(value) is bool):
        raise _wrong(f"{place}.value", "a text or a number" + ("" if kind in _ORDER else " or true or false"))


def _wrong(place: str, expected: str) -> ApiError:
    return bad_request(f"Invalid '{place}': expected {expected}.", param=place, code="invalid_value")


def _kind(value: Any) -> type | None:
    if isinstance(value, bool):
        return bool
    return str if isinstance(value, str) else float if isinstance(value, int | float) else None


def fits(filter: Mapping[str, Any], attributes: Mapping[str, Any]) -> bool:
    """Whether attributes pass a checked filter."""
    kind = filter["type"]
    if kind in ("and", "or"):
        return (all if kind == "and" else any)(fits(part, attributes) for part in filter["filters"])
    own, value = attributes.get(filter["key"]), filter["value"]
    if kind in ("in", "nin"):
        return any(_same(own, item) for item in value) is (kind == "in")
    if kind in ("eq", "ne"):
        return _same(own, value) is (kind == "eq")
    return _kind(own) is _kind(value) and bool(_ORDER[kind](own, value))


def _same(own: Any, value: Any) -> bool:
    return _kind(own) is _kind(value) and bool(own == value)
