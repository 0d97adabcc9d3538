"""Maximal marginal relevance: of chunks that say the same, one (Carbonell and Goldstein, SIGIR 1998)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def diverse(scores: Sequence[float], vectors: Sequence[Any], most: int, diversity: float) -> list[int]:
    """Positions of ``most`` items, each chosen for its score less its likeness to those already chosen.

    Args:
        scores: relevance, best first.
        vectors: unit vectors.
        most: how many are wanted.
        diversity: from 0 (relevance alone) to 1 (likeness alone); the paper's 1 - lambda.
    """
    left = list(range(len(scores)))
    if diversity == 0 or not left:
        return left[:most]
    matrix = np.asarray(vectors, dtype=np.float32)
    near = matrix @ matrix.T
    chosen: list[int] = []

    def worth(n: int) -> float:
        like = float(near[n, chosen].max()) if chosen else 0.0
        return (1 - diversity) * scores[n] - diversity * like

    while left and len(chosen) < most:
        best = max(left, key=lambda n: (worth(n), -n))
        chosen.append(best)
        left.remove(best)
    return chosen
