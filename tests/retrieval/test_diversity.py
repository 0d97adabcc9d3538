"""Maximal marginal relevance leaves out what has been said."""

from __future__ import annotations

import numpy as np

from groundtune.retrieval.diversity import diverse

X, Y = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def test_the_second_copy_gives_way_to_something_else() -> None:
    scores, vectors = [0.9, 0.89, 0.6], [X, X, Y]
    assert diverse(scores, vectors, 2, 0.0) == [0, 1]
    assert diverse(scores, vectors, 2, 0.5) == [0, 2]


def test_everything_comes_where_everything_is_wanted() -> None:
    assert sorted(diverse([0.9, 0.8, 0.1], [X, X, Y], 9, 0.7)) == [0, 1, 2]
    assert diverse([], [], 3, 0.7) == []
