"""Share of the needed passages among the first 10 retrieved chunks; for systems that retrieve as many."""

from groundtune.metrics._ranking import recall_at
from groundtune.records import Completion, Example

SIGNATURE = "recall_at_10|same document and page, 80 % of the passage's words|10 retrieved"


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1; None where fewer than 10 chunks are retrieved or nothing is to be found."""
    return recall_at(10, completion, example) if len(completion.retrieved) >= 10 else None
