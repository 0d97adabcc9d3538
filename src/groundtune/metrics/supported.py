"""1 when every content word and number of the answer stands in one retrieved source, else 0; for systems that cite.

A lexical check: it catches invented names and numbers, not wrong readings. An answer for which nothing that was retrieved
is cited counts as 0; None where a system retrieves nothing (a closed-book answer has nothing to be supported by) or
abstains.
"""

from groundtune.metrics._text import normalise
from groundtune.records import Completion, Example

SIGNATURE = "supported|all normalised words of the answer in one source"


def score(completion: Completion, example: Example) -> float | None:
    """0 or 1, or None; see the module's head."""
    if completion.abstained or not (completion.sources or completion.retrieved):
        return None
    words = set(normalise(completion.text).split())
    return float(bool(words) and any(words <= set(normalise(s.text).split()) for s in completion.sources))
