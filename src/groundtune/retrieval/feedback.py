"""Feedback without a user: what the first search found says more of what is meant than the question does.

``nearer`` is Rocchio's formula (1971) over vectors with the best chunks taken as relevant (pseudo-relevance feedback).
``smoothed`` makes chunks that are alike score alike (Diaz, "Regularizing ad hoc retrieval scores", CIKM 2005), departing
from it by one step over the shortlist in place of the whole collection's fixed point. Both help where many chunks are
about what is asked for, and cost where only one holds the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: a chunk's score is smoothed over so many others
NEIGHBOURS = 5
#: length of the mean of the best chunks' vectors beside the question's of length 1
ROCCHIO = 0.5


def nearer(vector: Any, best: Sequence[Any]) -> Any:
    """The question's unit vector (dimensions,) moved towards the mean of the best chunks'; as it was where there are none."""
    if not len(best):
        return vector
    moved = np.asarray(vector) + ROCCHIO * np.mean(np.asarray(best), axis=0)
    return (moved / max(float(np.linalg.norm(moved)), 1e-9)).astype(np.float32)


def likeness(vectors: Sequence[Any], words: Sequence[str]) -> Any:
    """How alike chunks are: cosine of their vectors plus cosine of their words' tf-idf weights, shape (chunks, chunks).

    Args:
        vectors: their unit vectors.
        words: the terms of each, with spaces between.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]

    matrix = np.asarray(vectors, dtype=np.float32)
    near = matrix @ matrix.T
    if any(text.strip() for text in words):
        weights = TfidfVectorizer(analyzer=str.split, sublinear_tf=True).fit_transform(words)
        near = near + (weights @ weights.T).toarray()
    return near


def smoothed(scores: Sequence[float], near: Any, share: float) -> list[float]:
    """Each score with ``share`` of it replaced by the mean score of its nearest in the list.

    Args:
        scores: of chunks.
        near: how alike they are, (chunks, chunks), as :func:`likeness` has it.
        share: from 0 (none) to 1.
    """
    if len(scores) < 3:
        return list(scores)
    own, near = np.asarray(scores, dtype=np.float64), np.array(near, dtype=np.float64)
    np.fill_diagonal(near, -np.inf)
    count = min(NEIGHBOURS, len(own) - 1)
    rows = np.argsort(-near, axis=1, kind="stable")[:, :count]
    weights = np.maximum(np.take_along_axis(near, rows, axis=1), 0.0)
    around = (weights * own[rows]).sum(1) / np.maximum(weights.sum(1), 1e-9)
    return [float(s) for s in (1 - share) * own + share * around]
