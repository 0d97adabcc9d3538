"""Share of the needed passages among the first 5 retrieved chunks."""

from groundtune.metrics._ranking import recall_at
from groundtune.records import Completion, Example

SIGNATURE = "recall_at_5|same document and page, 80 % of the passage's words"


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1; None where nothing is retrieved or nothing is to be found."""
    return recall_at(5, completion, example)
