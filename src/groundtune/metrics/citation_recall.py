"""Share of the passages which answer the question that an answer cites; for systems that retrieve, where they answer.

ALCE's citation recall (Gao et al., EMNLP 2023) against named passages: 0 where an answer cites nothing; None for
abstentions, for closed-book systems and for questions without a passage.
"""

from groundtune.metrics._citing import cites
from groundtune.records import Completion, Example

SIGNATURE = "citation_recall|quote and passage of one document and page share 80 % of the shorter one's words"


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1, or None; see the module's head."""
    if completion.abstained or not example.passages or not (completion.retrieved or completion.sources):
        return None
    return sum(any(cites(s, p) for s in completion.sources) for p in example.passages) / len(example.passages)
