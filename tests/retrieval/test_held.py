"""Vectors in memory: the nearest ones exactly, of few rows and of many, each chunk once."""

from __future__ import annotations

import numpy as np
import pytest

from groundtune.retrieval.stores import _held
from groundtune.retrieval.stores._held import Held, fits


@pytest.mark.parametrize(("rows", "width"), [(5, 96), (300, 96), (20_000, 96), (10_000, 384), (10_000, 200)])
def test_the_nearest_are_the_nearest(rows: int, width: int) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(rows, width)).astype(np.float32) * rng.uniform(0.1, 9, size=(rows, 1)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    held = Held([f"c{n}" for n in range(rows)], vectors)
    assert (held._rounded is not None) == (rows >= _held._ROUNDED_FROM)
    for asked in rng.normal(size=(50, width)).astype(np.float32):
        exact = [f"c{n}" for n in np.argsort(-(unit @ asked), kind="stable")[:10]]
        assert held.nearest(asked, 10) == exact


def test_a_chunk_is_named_once_and_of_equals_the_first_row_s() -> None:
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 1, 0, 2]]
    held = Held(["a", "a", "b", "c", "d"], vectors)
    assert held.nearest([1, 0, 0], 3) == ["a", "c"]
    assert held.nearest([1, 0.5, 0.1], 2) == ["a"]
    assert held.nearest([0.1, 0.5, 1], 99) == ["d", "b", "a", "c"]


def test_nothing_and_zeros_are_searched_too() -> None:
    assert Held([], np.zeros((0, 4), dtype=np.float32)).nearest([1, 0, 0, 0], 3) == []
    assert Held(["z", "a"], np.array([[0, 0], [1, 1]], dtype=np.float32)).nearest([1, 0], 2) == ["a", "z"]


@pytest.mark.parametrize("alike", [50, 5, 1])  # groups; one is: all of them
def test_many_that_are_nearly_the_same_are_told_apart(alike: int) -> None:
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(alike, 384)), 10_000 // alike, 0) + 0.02 * rng.normal(size=(10_000, 384))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    held = Held([f"c{n}" for n in range(len(vectors))], vectors)
    for asked in unit[::500]:
        scores = unit @ asked  # the last of ten may differ by float32's own rounding
        assert [scores[int(i[1:])] for i in held.nearest(asked, 10)] == pytest.approx(
            np.sort(scores)[::-1][:10], abs=1e-6
        )


def test_what_is_too_large_is_not_held() -> None:
    assert fits(170_000, 384) and not fits(180_000, 384)
