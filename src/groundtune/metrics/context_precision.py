"""How far up the retrieved chunks that hold a needed passage stand: RAGAS' context precision (Es et al. 2023).

The mean, over the ranks at which such a chunk stands, of the share of such chunks down to that rank. RAGAS lets a language
model judge which chunks are useful; here a chunk is useful when it holds one of the question's gold passages.
"""

from groundtune.metrics._ranking import holds
from groundtune.records import Completion, Example

SIGNATURE = "context_precision|chunks that hold a gold passage|cut at top_k"


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1; 0 where no chunk is useful, None where nothing is retrieved or nothing is to be found."""
    if not completion.retrieved or not example.passages:
        return None
    useful = [any(holds(s.document, s.page, s.text, p) for p in example.passages) for s in completion.retrieved]
    hits = [rank for rank, u in enumerate(useful, 1) if u]
    return sum(n / rank for n, rank in enumerate(hits, 1)) / len(hits) if hits else 0.0
