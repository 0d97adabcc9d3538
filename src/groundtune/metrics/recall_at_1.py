"""Share of the needed passages among the first 1 retrieved chunks."""

from groundtune.metrics._ranking import ranks
from groundtune.records import Completion, Example

SIGNATURE = "recall_at_1|same document and page, 80 % of the passage's words"


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1; None where nothing is retrieved or nothing is to be found."""
    found = ranks(completion, example)
    return None if found is None else sum(r is not None and r <= 1 for r in found) / len(found)
