"""Reciprocal rank of the first needed passage among the retrieved chunks; its mean is MRR (Voorhees, TREC-8)."""

from groundtune.metrics._ranking import ranks
from groundtune.records import Completion, Example

SIGNATURE = "mrr|cut at top_k"


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1; None where nothing is retrieved or nothing is to be found."""
    found = ranks(completion, example)
    if found is None:
        return None
    first = min((r for r in found if r is not None), default=None)
    return 1.0 / first if first else 0.0
