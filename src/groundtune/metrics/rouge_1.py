"""ROUGE-1 F1 with stemming against the best reference (Lin 2004), by the package rouge-score; for answerable questions."""

from groundtune.metrics import _rouge
from groundtune.records import Completion, Example

SIGNATURE = "rouge_1|rouge-score, stemmer|best of references"


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1; None for a question without an answer."""
    return _rouge.best("rouge_1", completion.text, example.references) if example.references else None
