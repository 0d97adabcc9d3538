"""Lists fused by hand-worked numbers; scores put on one scale."""

from __future__ import annotations

import pytest

from groundtune.retrieval.fusion import best_first, reciprocal_rank, relative, spread


def test_reciprocal_rank_is_the_formula() -> None:
    fused = reciprocal_rank([["a", "b"], ["b", "c"]])
    assert fused == pytest.approx({"a": 1 / 61, "b": 1 / 62 + 1 / 61, "c": 1 / 62})
    assert best_first(fused, 2) == ["b", "a"]


def test_equal_scores_come_by_name() -> None:
    assert best_first({"z": 1.0, "a": 1.0, "m": 2.0}, 3) == ["m", "a", "z"]


def test_relative_makes_the_best_one() -> None:
    assert relative({"a": 8.0, "b": 2.0}) == {"a": 1.0, "b": 0.25}
    assert relative({}) == {} and relative({"a": 0.0}) == {"a": 0.0}


def test_spread_runs_from_nought_to_one() -> None:
    assert spread([-3.0, 1.0, -1.0]) == [0.0, 1.0, 0.5]
    assert spread([2.0, 2.0]) == [0.0, 0.0] and spread([]) == []
