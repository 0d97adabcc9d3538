"""ROUGE (Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004) by the package rouge-score, with stemming."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

KINDS = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(KINDS.values()), use_stemmer=True)


def best(name: str, answer: str, references: Sequence[str]) -> float:
    """F1, 0 to 1, against the reference that gives the most.

    Args:
        name: rouge_1, rouge_2 or rouge_l.
    """
    return max(float(_scorer().score(r, answer)[KINDS[name]].fmeasure) for r in references)


def corpus(name: str, answers: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean of :func:`best` over answers, 0 to 1: ROUGE of a corpus is no more than that."""
    return sum(best(name, a, r) for a, r in zip(answers, references, strict=True)) / max(1, len(answers))
