"""Normalised discounted cumulative gain of the first 10 retrieved chunks (Järvelin and Kekäläinen 2002), as trec_eval's.

A chunk's gain is 1 where it is the first that holds a needed passage, else 0: overlapping chunks do not count twice. The
best order has one such chunk for each passage (fewer where one chunk holds several), and a passage not found lacks one.
"""

from groundtune.metrics._ranking import ndcg, ranks
from groundtune.records import Completion, Example

SIGNATURE = "ndcg_at_10|gain 1 a passage, discount log2(rank + 1)|cut at top_k"


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1; None where nothing is retrieved or nothing is to be found."""
    found = ranks(completion, example)
    if found is None:
        return None
    first = {rank for rank in found if rank is not None}
    judged = {str(rank): 1 for rank in first} | {f"missing {n}": 1 for n, rank in enumerate(found) if rank is None}
    return ndcg([str(rank) for rank in range(1, len(completion.retrieved) + 1)], judged, 10)
