"""Share of the needed passages that the first retrieved chunk holds."""

from groundtune.metrics._ranking import recall_at
from groundtune.records import Completion, Example

SIGNATURE = "recall_at_1|same document and page, 80 % of the passage's words"


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1; None where nothing is retrieved or nothing is to be found."""
    return recall_at(1, completion, example)
