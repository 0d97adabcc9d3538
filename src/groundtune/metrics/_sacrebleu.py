"""chrF and BLEU by the package sacrebleu (Post, "A Call for Clarity in Reporting BLEU Scores", WMT 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric


@cache
def metric(name: str, *, sentence: bool) -> Metric:
    """chrf (chrF2, no word n-grams) or bleu (13a tokens, exp smoothing), with sacrebleu's defaults.

    Args:
        sentence: BLEU only of the n-gram orders that a single short sentence has.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    return CHRF() if name == "chrf" else BLEU(effective_order=sentence)


def sentence(name: str, answer: str, references: Sequence[str]) -> float:
    """One answer, 0 to 1."""
    return min(1.0, float(metric(name, sentence=True).sentence_score(answer, list(references)).score) / 100)


def corpus(name: str, answers: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """A corpus, 0 to 1; sentences may have different numbers of references, sacrebleu takes what is there."""
    if not answers:
        return 0.0
    most = max(map(len, references))
    streams = [[refs[n] if n < len(refs) else None for refs in references] for n in range(most)]
    return min(1.0, float(metric(name, sentence=False).corpus_score(list(answers), streams).score) / 100)  # type: ignore[arg-type]
