"""How sure the numbers are: bootstrap intervals, a paired permutation test, Holm's correction. All resample facts.

Phrasings of one fact are not independent, so the unit that is drawn or flipped is the fact with all its questions
(cluster bootstrap, Field and Welsh 2007; sign-flip permutation over clusters). Everything is seeded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from groundtune.records import Score

Values = Mapping[str, float]  # question id -> value


def _clusters(values: Values, fact_of: Mapping[str, str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Sum of values and number of questions of each fact, facts in sorted order."""
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for question, value in values.items():
        fact = fact_of[question]
        sums[fact] = sums.get(fact, 0.0) + value
        counts[fact] = counts.get(fact, 0) + 1
    order = sorted(sums)
    return np.array([sums[f] for f in order]), np.array([counts[f] for f in order], dtype=float)


def _resampled_means(sums_F: Any, counts_F: Any, resamples: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    draws_RF = rng.multinomial(len(sums_F), np.full(len(sums_F), 1 / len(sums_F)), size=resamples)
    return (draws_RF @ sums_F) / (draws_RF @ counts_F)


def mean_score(values: Values, fact_of: Mapping[str, str], *, resamples: int, seed: int) -> Score | None:
    """Mean over questions with its 95 % percentile interval; None without a value."""
    if not values:
        return None
    sums_F, counts_F = _clusters(values, fact_of)
    low, high = np.percentile(_resampled_means(sums_F, counts_F, resamples, seed), [2.5, 97.5])
    return Score(float(sums_F.sum() / counts_F.sum()), float(low), float(high), len(values))


def paired_difference(
    a: Values, b: Values, fact_of: Mapping[str, str], *, resamples: int, seed: int
) -> dict[str, float] | None:
    """Mean of a - b over the questions both have, its 95 % interval, and a two-sided permutation p-value.

    The p-value is the share of random sign flips of whole facts whose mean is at least as far from zero, plus one in
    numerator and denominator (Phipson and Smyth 2010).
    """
    difference = {q: a[q] - b[q] for q in a if q in b}
    if not difference:
        return None
    sums_F, counts_F = _clusters(difference, fact_of)
    observed = sums_F.sum() / counts_F.sum()
    low, high = np.percentile(_resampled_means(sums_F, counts_F, resamples, seed), [2.5, 97.5])
    signs_RF = np.random.default_rng(seed + 1).choice([-1.0, 1.0], size=(resamples, len(sums_F)))
    flipped_R = signs_RF @ sums_F / counts_F.sum()
    p_value = (1 + int((np.abs(flipped_R) >= abs(observed) - 1e-12).sum())) / (1 + resamples)
    return {"difference": float(observed), "low": float(low), "high": float(high), "p_value": float(p_value)}


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values (Scandinavian Journal of Statistics 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    worst = 0.0
    for place, index in enumerate(order):
        worst = max(worst, min(1.0, p_values[index] * (len(p_values) - place)))
        adjusted[index] = worst
    return adjusted
