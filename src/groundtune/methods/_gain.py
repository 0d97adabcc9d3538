"""Whether a change did anything: a paired difference over questions, and how far chance alone could carry it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any


@dataclass(frozen=True, slots=True)
class Gain:
    """How much more than before.

    Attributes:
        mean: over questions.
        error: standard error over facts, whose phrasings are no independent questions; None for a single fact.
    """

    mean: float
    error: float | None

    @property
    def clear(self) -> bool:
        """More than two standard errors: chance alone does that about once in forty times."""
        return self.error is not None and self.mean > 2 * self.error

    def to_json(self) -> dict[str, Any]:
        """Rounded, as figures hold it."""
        return {"mean": round(self.mean, 4), "error": None if self.error is None else round(self.error, 4)}


def gain(before: Sequence[float], after: Sequence[float], facts: Sequence[str]) -> Gain:
    """The gain of the same questions, in the same order; ``facts`` names the fact of each."""
    by_fact: dict[str, list[float]] = defaultdict(list)
    for old, new, fact in zip(before, after, facts, strict=True):
        by_fact[fact].append(new - old)
    means = [fmean(found) for found in by_fact.values()]
    error = stdev(means) / len(means) ** 0.5 if len(means) > 1 else None
    return Gain(fmean([new - old for old, new in zip(before, after, strict=True)]), error)
