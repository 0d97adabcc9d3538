"""Our figures against trec_eval, sacrebleu, rouge-score and scikit-learn on thousands of random cases, and the lesson's."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from groundtune.evaluation.confidence import calibration_error, risk_coverage
from groundtune.evaluation.confusion import confusion
from groundtune.evaluation.likelihood import bits_per_byte, cross_entropy, perplexity
from groundtune.metrics import _ranking, bleu, chrf, context_precision, mrr, ndcg_at_10, recall_at_20, rouge_1
from groundtune.metrics._rouge import KINDS, best
from groundtune.records import Completion, Example, Passage, Source

TREC_CASES, TEXT_CASES, LABEL_CASES = 3000, 1500, 300
WORDS = "the a cat cats sat sitting on mat under bed, running runs 48 crowns Österreich it's dogs barked loudly . never".split()


def trec_case(rng: random.Random) -> tuple[dict[str, int], dict[str, float]]:
    """Judgements of 0 to 3 and scores of which many are equal, some only in float32; not all judged are found."""
    names = [f"d{n}" for n in range(rng.randint(1, 40))]
    judged = {name: rng.choice((0, 0, 0, 1, 2, 3)) for name in names if rng.random() < 0.6}
    judged[rng.choice(names)] = rng.choice((0, 1, 3))
    found = rng.sample(names, rng.randint(1, len(names)))
    scores = {name: rng.choice((0.1, 0.5, 0.5 + 1e-9, 1.0, rng.random(), -2.0)) for name in found}
    return judged, scores


def test_ranked_lists_are_scored_as_trec_eval_scores_them() -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pip install pytrec-eval-terrier")
    rng = random.Random(0)
    cases = {f"q{n}": trec_case(rng) for n in range(TREC_CASES)}
    measures = {"ndcg_cut.5,10", "recall.5,10,20", "P.5,10", "recip_rank", "map"}
    judge = pytrec_eval.RelevanceEvaluator({q: judged for q, (judged, _) in cases.items()}, measures)
    wanted = judge.evaluate({q: scores for q, (_, scores) in cases.items()})
    nontrivial = 0
    for query, (judged, scores) in cases.items():
        ranking = _ranking.ranked(scores)
        ours = {f"ndcg_cut_{k}": _ranking.ndcg(ranking, judged, k) for k in (5, 10)}
        ours |= {f"recall_{k}": _ranking.recall(ranking, judged, k) for k in (5, 10, 20)}
        ours |= {f"P_{k}": _ranking.precision(ranking, judged, k) for k in (5, 10)}
        ours |= {"recip_rank": _ranking.reciprocal_rank(ranking, judged)}
        ours |= {"map": _ranking.average_precision(ranking, judged)}
        assert ours == pytest.approx(wanted[query], abs=1e-9), (judged, scores)
        nontrivial += 0 < ours["ndcg_cut_10"] < 1
    assert nontrivial > TREC_CASES / 3


def test_metrics_of_an_answer_are_trec_evals_where_each_chunk_holds_one_passage() -> None:
    from sklearn.metrics import average_precision_score

    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pip install pytrec-eval-terrier")
    rng = random.Random(1)
    for _ in range(300):
        texts = [f"word{n} number{n} text{n}" for n in range(25)]
        needed = rng.sample(texts, rng.randint(1, 4))
        found = rng.sample(texts, 20)
        completion = Completion("x", retrieved=tuple(Source("a.md", t, 0.0, "", text=t) for t in found))
        example = Example("q", "f", "s", "?", ("x",), tuple(Passage("a.md", t) for t in needed))
        run = {"q": {text: float(-rank) for rank, text in enumerate(found)}}
        judge = pytrec_eval.RelevanceEvaluator(
            {"q": dict.fromkeys(needed, 1)}, {"ndcg_cut.10", "recip_rank", "recall.20"}
        )
        wanted = judge.evaluate(run)["q"]
        assert ndcg_at_10.score(completion, example) == pytest.approx(wanted["ndcg_cut_10"])
        assert mrr.score(completion, example) == pytest.approx(wanted["recip_rank"])
        assert recall_at_20.score(completion, example) == pytest.approx(wanted["recall_20"])
        useful = [text in needed for text in found]
        if any(useful):  # scikit-learn's average precision knows only what was found, as RAGAS' context precision
            expected = average_precision_score(useful, [-rank for rank in range(20)])
            assert context_precision.score(completion, example) == pytest.approx(expected)


def text_case(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    def text() -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(0, 12)))

    references = tuple(text() or "cat" for _ in range(rng.randint(1, 3)))
    words = references[0].split()
    rng.shuffle(words)
    return rng.choice((text(), " ".join(words), references[0])), references


def test_texts_are_scored_as_sacrebleu_and_rouge_score_do() -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    rng, blue, chars = random.Random(2), BLEU(effective_order=True), CHRF()
    rouge = RougeScorer(list(KINDS.values()), use_stemmer=True)
    for _ in range(TEXT_CASES):
        answer, references = text_case(rng)
        completion, example = Completion(answer), Example("q", "f", "s", "?", references)
        wanted = list(references)
        assert bleu.score(completion, example) == pytest.approx(min(1, blue.sentence_score(answer, wanted).score / 100))
        assert chrf.score(completion, example) == pytest.approx(chars.sentence_score(answer, wanted).score / 100)
        for name, kind in KINDS.items():
            expected = max(rouge.score(r, answer)[kind].fmeasure for r in references)
            assert best(name, answer, references) == pytest.approx(expected)


def test_confusion_matrices_are_scikit_learns() -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

    rng = random.Random(3)
    labels = ("True", "False", "NEE")
    for _ in range(LABEL_CASES):
        n = rng.randint(1, 60)
        right, given = (rng.choices(labels, (5, 2, rng.choice((0, 1))), k=n) for _ in range(2))
        ours = confusion(right, given, labels)
        assert [list(row) for row in ours.counts] == confusion_matrix(right, given, labels=list(labels)).tolist()
        assert ours.accuracy == pytest.approx(accuracy_score(right, given))
        wanted = precision_recall_fscore_support(right, given, labels=list(labels), zero_division=0)
        for name, values in zip(("precision", "recall", "f1"), wanted, strict=False):
            assert [ours.of_label(label)[name] for label in labels] == pytest.approx(values.tolist())
        assert ours.macro_f1 == pytest.approx(wanted[2].mean())


def test_calibration_error_by_numpy() -> None:
    """Guo et al.'s formula (3) computed another way: np.digitize with right-closed bins."""
    rng = np.random.default_rng(4)
    for _ in range(LABEL_CASES):
        n = int(rng.integers(1, 200))
        sure, right = rng.random(n), (rng.random(n) < 0.5).astype(float)
        sure[: n // 4] = rng.choice([0.0, 0.1, 0.2, 0.3, 0.7, 1.0], n // 4)  # edges of bins
        places = np.clip(np.digitize(sure, np.arange(1, 11) / 10, right=True), 0, 9)
        wanted = sum(
            (places == b).mean() * abs(sure[places == b].mean() - right[places == b].mean())
            for b in range(10)
            if (places == b).any()
        )
        assert calibration_error(sure.tolist(), right.tolist())[0] == pytest.approx(wanted)


def test_risk_coverage_by_the_definition() -> None:
    """Geifman and El-Yaniv's empirical selective risk at every coverage, for confidences that all differ."""
    rng = np.random.default_rng(5)
    for _ in range(LABEL_CASES):
        n = int(rng.integers(1, 60))
        sure, losses = rng.permutation(n) / n, rng.random(n)
        area, points = risk_coverage(sure.tolist(), losses.tolist(), questions=n + 3)
        risks = [losses[np.argsort(-sure)[:k]].mean() for k in range(1, n + 1)]
        assert [risk for _, risk in points] == pytest.approx(risks)
        assert [coverage for coverage, _ in points] == pytest.approx([k / (n + 3) for k in range(1, n + 1)])
        assert area == pytest.approx(np.mean(risks))


def test_the_lessons_worked_example_of_rouge() -> None:
    """A 6-word reference, a 7-word summary: recall 6/6, precision 6/7; pairs 4/5 and 4/6; longest subsequence 6/6 and 6/7."""
    from groundtune.metrics._rouge import _scorer

    reference, summary = "the cat was under the bed", "the cat was found under the bed"
    found = _scorer().score(reference, summary)
    for kind, recall, precision in (("rouge1", 6 / 6, 6 / 7), ("rouge2", 4 / 5, 4 / 6), ("rougeL", 6 / 6, 6 / 7)):
        assert found[kind].recall == pytest.approx(recall)
        assert found[kind].precision == pytest.approx(precision)
    example = Example("q", "f", "s", "?", (reference,))
    assert rouge_1.score(Completion(summary), example) == pytest.approx(2 * (6 / 6) * (6 / 7) / (6 / 6 + 6 / 7))


def test_the_lessons_perplexity() -> None:
    """P(X) is the product of the tokens' probabilities; perplexity is e to the -(1/t) log P(X)."""
    probabilities = [0.5, 0.25, 0.125, 0.5]
    logprobs = [math.log(p) for p in probabilities]
    assert cross_entropy(logprobs) == pytest.approx(-math.log(math.prod(probabilities)) / 4)
    assert perplexity(logprobs) == pytest.approx(math.prod(probabilities) ** (-1 / 4))
    assert perplexity([math.log(1 / 50)] * 7) == pytest.approx(50)  # 50 equally likely tokens
    assert bits_per_byte(logprobs, "grün") == pytest.approx(7 / 5)  # 1 + 2 + 3 + 1 bits, five bytes
