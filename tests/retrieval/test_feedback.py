"""Rocchio's formula and smoothing over the nearest, on vectors that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from groundtune.retrieval.feedback import ROCCHIO, nearer, smoothed

X, Y = np.array([1.0, 0.0], dtype=np.float32), np.array([0.0, 1.0], dtype=np.float32)


def test_the_question_moves_towards_what_was_found() -> None:
    moved = nearer(X, [Y, Y])
    assert moved == pytest.approx(np.array([1.0, ROCCHIO]) / np.hypot(1, ROCCHIO), abs=1e-6)
    assert nearer(X, []) is X


def test_chunks_alike_score_alike() -> None:
    vectors = [X, X, X, Y]
    scores = smoothed([0.9, 0.1, 0.9, 0.5], vectors, 0.5)
    assert scores[1] == pytest.approx(
        0.5 * 0.1 + 0.5 * 0.9
    )  # between two of 0.9; the one at right angles weighs nothing
    assert scores[0] == pytest.approx(0.5 * 0.9 + 0.5 * 0.5)
    assert scores[1] > 0.4


def test_no_smoothing_changes_nothing() -> None:
    assert smoothed([0.9, 0.1, 0.3], [X, X, Y], 0.0) == [0.9, 0.1, 0.3]
    assert smoothed([0.9, 0.1], [X, X], 1.0) == [0.9, 0.1]  # of two there is nothing to be told
