"""Bracketed names as trees."""

from __future__ import annotations

import pytest

from groundtune.serving.errors import ApiError
from groundtune.serving.fields import nested


@pytest.mark.parametrize(
    ("pairs", "tree"),
    [
        ([("a", "1")], {"a": "1"}),
        ([("a[b]", "1"), ("a[c]", "2"), ("d", "3")], {"a": {"b": "1", "c": "2"}, "d": "3"}),
        ([("a[b][c]", "1")], {"a": {"b": {"c": "1"}}}),
        ([("a[]", "1")], {"a": ["1"]}),
        ([("a[]", "1"), ("a[]", "2")], {"a": ["1", "2"]}),
        ([("a[b][]", "1"), ("a[b][]", "2")], {"a": {"b": ["1", "2"]}}),
        ([("a", "1"), ("a", "2"), ("a", "3")], {"a": ["1", "2", "3"]}),
        ([("a[b]", "")], {"a": {"b": ""}}),
        ([("a]b[", "1"), ("[x]", "2")], {"a]b[": "1", "[x]": "2"}),
    ],
)
def test_trees(pairs: list[tuple[str, str]], tree: dict[str, object]) -> None:
    assert nested(pairs) == tree


@pytest.mark.parametrize("pairs", [[("a", "1"), ("a[b]", "2")], [("a[b]", "2"), ("a", "1")]])
def test_a_name_is_one_thing(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(ApiError, match="as a value and as a tree"):
        nested(pairs)
