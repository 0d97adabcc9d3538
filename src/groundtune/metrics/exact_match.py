"""1 when the answer equals a reference after SQuAD's normalisation, else 0; for answerable questions."""

from groundtune.metrics._text import normalise
from groundtune.records import Completion, Example

SIGNATURE = "exact_match|squad-1.1 normalisation|best of references"


def score(completion: Completion, example: Example) -> float | None:
    """0 or 1; None for a question without an answer."""
    if not example.references:
        return None
    return float(any(normalise(completion.text) == normalise(r) for r in example.references))
