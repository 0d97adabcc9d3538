"""ROUGE-L F1 with stemming against the best reference (Lin 2004), by the package rouge-score; for answerable questions."""

from functools import cache
from typing import Any

from groundtune.records import Completion, Example

SIGNATURE = "rouge_l|rouge-score, stemmer|best of references"


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)


def score(completion: Completion, example: Example) -> float | None:
    """0 to 1; None for a question without an answer."""
    if not example.references:
        return None
    return max(float(_scorer().score(r, completion.text)["rougeL"].fmeasure) for r in example.references)
