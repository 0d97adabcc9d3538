"""Rocchio's formula, likeness and smoothing over the nearest, on vectors and words that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from groundtune.retrieval.feedback import ROCCHIO, likeness, nearer, smoothed

X, Y = np.array([1.0, 0.0], dtype=np.float32), np.array([0.0, 1.0], dtype=np.float32)


def test_the_question_moves_towards_what_was_found() -> None:
    moved = nearer(X, [Y, Y])
    assert moved == pytest.approx(np.array([1.0, ROCCHIO]) / np.hypot(1, ROCCHIO), abs=1e-6)
    assert nearer(X, []) is X


def test_chunks_alike_score_alike() -> None:
    near = likeness([X, X, X, Y], [""] * 4)
    scores = smoothed([0.9, 0.1, 0.9, 0.5], near, 0.5)
    assert scores[1] == pytest.approx(
        0.5 * 0.1 + 0.5 * 0.9
    )  # between two of 0.9; the one at right angles weighs nothing
    assert scores[0] == pytest.approx(0.5 * 0.9 + 0.5 * 0.5)
    assert scores[1] > 0.4


def test_no_smoothing_changes_nothing() -> None:
    assert smoothed([0.9, 0.1, 0.3], likeness([X, X, Y], ["a", "a", "b"]), 0.0) == [0.9, 0.1, 0.3]
    assert smoothed([0.9, 0.1], likeness([X, X], ["a", "a"]), 1.0) == [0.9, 0.1]  # of two there is nothing to be told


def test_vectors_and_words_make_chunks_alike() -> None:
    near = likeness([X, X, Y, Y], ["boil wing", "slip", "wing boil", "flow wing"])
    assert near[0, 1] == pytest.approx(1.0)  # the same vector, no word shared
    assert near[0, 2] == pytest.approx(1.0)  # at right angles, the same words
    assert near[0, 0] == pytest.approx(2.0)
    assert 0 < near[0, 3] < 0.5  # one of two words, the commoner one
    assert near == pytest.approx(near.T)


def test_smoothing_leaves_the_likeness_as_it_was() -> None:
    near = likeness([X, X, Y], ["a", "a", "b"])
    before = near.copy()
    smoothed([0.9, 0.1, 0.3], near, 0.5)
    assert (near == before).all()
