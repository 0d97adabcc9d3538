"""1 when a system abstains exactly where the documents hold no answer, else 0; defined for every question."""

from groundtune.records import Completion, Example

SIGNATURE = "abstention_accuracy|abstained == unanswerable"


def score(completion: Completion, example: Example) -> float | None:
    """0 or 1."""
    return float(completion.abstained == (not example.references))
