"""Harmonic mean of token precision and recall against the best reference (SQuAD 1.1); for answerable questions."""

from collections import Counter

from groundtune.metrics._text import normalise
from groundtune.records import Completion, Example

SIGNATURE = "token_f1|squad-1.1 normalisation|best of references"


def f1(answer: str, reference: str) -> float:
    """F1 of two texts, 0 to 1; two empty texts agree."""
    got, want = normalise(answer).split(), normalise(reference).split()
    if not got or not want:
        return float(got == want)
    shared = sum((Counter(got) & Counter(want)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(got), shared / len(want)
    return 2 * precision * recall / (precision + recall)


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1; None for a question without an answer."""
    if not example.references:
        return None
    return max(f1(completion.text, r) for r in example.references)
