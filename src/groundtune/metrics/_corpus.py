"""What papers report of summaries and translations: figures of a whole test set, not means of its sentences' scores."""

from __future__ import annotations

from collections.abc import Sequence

from groundtune.metrics import _rouge, _sacrebleu


def corpus_scores(answers: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """chrf and bleu of the corpus (sacrebleu), and the mean rouge_1, rouge_2 and rouge_l (rouge-score), each 0 to 1.

    Args:
        references: one or more for each answer; ROUGE takes the best of them.
    """
    figures = {name: _sacrebleu.corpus(name, answers, references) for name in ("chrf", "bleu")}
    figures |= {name: _rouge.corpus(name, answers, references) for name in _rouge.KINDS}
    return {name: round(value, 6) for name, value in figures.items()}
