"""Ranked lists made one: reciprocal ranks to draw up a shortlist, relative scores to add to other scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

RRF_K = 60


def reciprocal_rank(lists: Iterable[Sequence[str]], k: int = RRF_K) -> dict[str, float]:
    """Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): sum over lists of 1 / (k + rank)."""
    fused: dict[str, float] = {}
    for found in lists:
        for rank, id_ in enumerate(found, 1):
            fused[id_] = fused.get(id_, 0.0) + 1.0 / (k + rank)
    return fused


def best_first(scores: Mapping[str, float], most: int) -> list[str]:
    """The ids of the greatest scores; of equal ones by name."""
    return sorted(scores, key=lambda i: (-scores[i], i))[:most]


def relative(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores from 0 up, each divided by the greatest: BM25 has no scale of its own."""
    greatest = max(scores.values(), default=0.0) or 1.0
    return {id_: score / greatest for id_, score in scores.items()}


def spread(scores: Sequence[float]) -> list[float]:
    """Scores of any scale as 0 (the least) to 1 (the greatest); all 0 where they are equal."""
    if not scores:
        return []
    low, high = min(scores), max(scores)
    return [(s - low) / (high - low) if high > low else 0.0 for s in scores]
