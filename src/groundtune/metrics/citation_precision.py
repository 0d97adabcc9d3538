"""Share of an answer's sources that are among the passages which answer the question; for answers that cite.

ALCE's citation precision (Gao et al., EMNLP 2023) against named passages. None where nothing is cited, so read it beside
citation recall, which counts that as 0.
"""

from groundtune.metrics._citing import cites
from groundtune.records import Completion, Example

SIGNATURE = "citation_precision|quote and passage of one document and page share 80 % of the shorter one's words"


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1, or None; see the module's head."""
    if not completion.sources or not example.passages:
        return None
    return sum(any(cites(s, p) for p in example.passages) for s in completion.sources) / len(completion.sources)
