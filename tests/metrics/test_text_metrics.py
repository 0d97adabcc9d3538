"""Metrics of summaries and translations are what sacrebleu and rouge-score say, of one answer and of a corpus."""

from __future__ import annotations

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu, corpus_chrf, sentence_bleu, sentence_chrf

from groundtune.metrics import bleu, chrf, rouge_1, rouge_2, rouge_l
from groundtune.metrics._corpus import corpus_scores
from groundtune.records import Completion, Example

ANSWERS = ("The cat sat on the mat.", "A dog barked loudly at Tom", "nothing alike")
REFERENCES = (
    ("The cat is sitting on the mat.", "A cat sat on a mat."),
    ("The dogs barked at Tom.",),
    ("Some other words entirely", "And these", "nothing of it"),
)
ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}


def scored(metric: object, answer: str, references: tuple[str, ...]) -> float | None:
    example = Example("q", "f", "s", "?", references)
    value: float | None = metric.score(Completion(answer), example)  # type: ignore[attr-defined]
    return value


@pytest.mark.parametrize(("answer", "references"), zip(ANSWERS, REFERENCES, strict=True))
def test_one_answer(answer: str, references: tuple[str, ...]) -> None:
    wanted = list(references)
    assert scored(chrf, answer, references) == pytest.approx(sentence_chrf(answer, wanted).score / 100)
    assert scored(bleu, answer, references) == pytest.approx(sentence_bleu(answer, wanted).score / 100)
    scorer = RougeScorer(list(ROUGE.values()), use_stemmer=True)
    for metric, name in ((rouge_1, "rouge1"), (rouge_2, "rouge2"), (rouge_l, "rougeL")):
        best = max(scorer.score(r, answer)[name].fmeasure for r in references)
        assert scored(metric, answer, references) == pytest.approx(best)
        assert scored(metric, answer, ()) is None
    assert scored(chrf, answer, ()) is scored(bleu, answer, ()) is None


def test_a_corpus_with_one_reference_each() -> None:
    first = [r[0] for r in REFERENCES]
    found = corpus_scores(ANSWERS, [[r] for r in first])
    assert found["chrf"] == pytest.approx(corpus_chrf(list(ANSWERS), [first]).score / 100, abs=1e-6)
    assert found["bleu"] == pytest.approx(corpus_bleu(list(ANSWERS), [first]).score / 100, abs=1e-6)
    assert found["chrf"] != pytest.approx(sum(sentence_chrf(a, [r]).score for a, r in zip(ANSWERS, first, strict=True)) / 300, abs=1e-4)  # fmt: skip


def test_a_corpus_with_different_numbers_of_references() -> None:
    found = corpus_scores(ANSWERS, REFERENCES)
    streams = [[r[n] if n < len(r) else None for r in REFERENCES] for n in range(3)]
    assert found["chrf"] == pytest.approx(corpus_chrf(list(ANSWERS), streams).score / 100, abs=1e-6)  # type: ignore[arg-type]
    assert found["bleu"] == pytest.approx(corpus_bleu(list(ANSWERS), streams).score / 100, abs=1e-6)  # type: ignore[arg-type]
    scorer = RougeScorer(list(ROUGE.values()), use_stemmer=True)
    for ours, name in ROUGE.items():
        best = [
            max(scorer.score(r, a)[name].fmeasure for r in refs) for a, refs in zip(ANSWERS, REFERENCES, strict=True)
        ]
        assert found[ours] == pytest.approx(sum(best) / 3, abs=1e-6)


def test_the_lessons_worked_example() -> None:
    """A 6-word reference and a 7-word summary: ROUGE-1 recall 6/6 and precision 6/7, ROUGE-2 recall 4/5 and precision 4/6."""
    reference, summary = ("the cat was under the bed",), "the cat was found under the bed"
    assert scored(rouge_1, summary, reference) == pytest.approx(2 * 6 / 13)
    assert scored(rouge_2, summary, reference) == pytest.approx(2 * 4 / 11)
    assert scored(rouge_l, summary, reference) == pytest.approx(2 * 6 / 13)


def test_no_answers_score_nothing() -> None:
    assert set(corpus_scores((), ()).values()) == {0.0}
