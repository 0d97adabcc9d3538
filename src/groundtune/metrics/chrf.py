"""chrF2: F-score of character n-grams (Popović, WMT 2015), by the package sacrebleu; for answerable questions."""

from groundtune.metrics import _sacrebleu
from groundtune.records import Completion, Example

SIGNATURE = "chrf|sacrebleu, characters 6, words 0, beta 2, case mixed|of a sentence|best of references"


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1; None for a question without an answer."""
    return _sacrebleu.sentence("chrf", completion.text, example.references) if example.references else None
