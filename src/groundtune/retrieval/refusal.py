"""How likely it is that what was found answers the question, and from where on it is said that nothing does.

A nearest chunk always exists, so its rank says nothing. Six numbers of question and hits go into a logistic regression
(Platt's scaling, 1999, of several scores): ``FEATURES``. The shipped weights were fitted on mined questions with and
without their passage among the chunks (tools/retrieval_results.py fit); ``groundtune calibrate`` fits them to the
project's own questions and sets the confidence below which a question is refused. Rates, not accuracy, are what a user
chooses: selective prediction after El-Yaniv and Wiener (JMLR 2010).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from groundtune.dataset.reading import STOP_WORDS
from groundtune.retrieval.hits import Hit

#: similarity of the best sentence; how far it is ahead of the other hits' best; share of the question's words in the best
#: hit, in its best sentence; share of its names and numbers in the best hit; the reranker's best score
FEATURES = ("sentence", "ahead", "words_in_hit", "words_in_sentence", "names_in_hit", "reranked")
#: letters by which two words are one
STEM = 5
#: hits that are looked at
LOOKED_AT = 3
#: a reranker's score from which on it says nothing more
MOST_RERANKED = 15.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Weights of the regression and the threshold.

    Attributes:
        weights: one for each of ``FEATURES``.
        bias: the regression's constant.
        refuse_below: a question is refused whose confidence is less; 0 refuses none.
    """

    weights: tuple[float, ...] = (4.62, 2.60, 3.56, -1.78, 0.60, 0.0)
    bias: float = -5.10
    refuse_below: float = 0.0

    def confidence(self, question: str, hits: Sequence[Hit]) -> float:
        """From 0 to 1; 0 without a hit."""
        return self.of(features(question, hits)) if hits else 0.0

    def of(self, numbers: Sequence[float]) -> float:
        """The confidence that numbers as :func:`features` gives them make."""
        logit = self.bias + sum(w * n for w, n in zip(self.weights, numbers, strict=True))
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, logit))))


def features(question: str, hits: Sequence[Hit]) -> tuple[float, ...]:
    """The numbers ``FEATURES`` of a question and its hits, best first; all 0 without a hit."""
    found = [h for h in hits if not h.beside][:LOOKED_AT]
    if not found:
        return (0.0,) * len(FEATURES)
    best = [max(h.sentences, key=lambda s: s[1], default=("", 0.0)) for h in found]
    top = max(range(len(found)), key=lambda n: best[n][1])
    others = [similarity for n, (_, similarity) in enumerate(best) if n != top]
    asked, names = _stems(question), _names(question)
    held = [_stems(h.chunk.text) for h in found]
    given = [h.reranked for h in found if h.reranked is not None]
    return (
        best[top][1],
        best[top][1] - float(np.mean(others)) if others else 0.0,
        max(_share(asked, h) for h in held),
        max(_share(asked, _stems(text)) for text, _ in best),
        max(_share(names, h) for h in held),
        max(-MOST_RERANKED, min(MOST_RERANKED, max(given, default=0.0))) / MOST_RERANKED,
    )


def _stems(text: str) -> set[str]:
    return {w[:STEM] for w in re.findall(r"\w+", text.lower()) if w not in STOP_WORDS}


def _names(question: str) -> set[str]:
    """Words of a question that begin with a capital, but for the first, and what holds a digit."""
    words = re.findall(r"\w+", question)
    return {
        w.lower()[:STEM]
        for n, w in enumerate(words)
        if (any(c.isdigit() for c in w) or (n and w[0].isupper())) and w.lower() not in STOP_WORDS
    }


def _share(wanted: set[str], held: set[str]) -> float:
    return len(wanted & held) / len(wanted) if wanted else 1.0


def fitted(rows: Sequence[Sequence[float]], answered: Sequence[bool], *, strength: float = 1.0) -> Calibration:
    """The regression's weights for these numbers (logistic regression, both classes weighing the same).

    Args:
        rows: as :func:`features` gives them.
        answered: whether the hits of each held the answer; both must occur.
        strength: inverse of the L2 penalty on weights of standardized numbers.
    """
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    matrix: Any = np.asarray(rows, dtype=np.float64)
    mean, scale = matrix.mean(0), np.maximum(matrix.std(0), 1e-6)
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
    model.fit((matrix - mean) / scale, np.asarray(answered, dtype=int))
    weights = model.coef_[0] / scale
    return Calibration(tuple(float(w) for w in weights), float(model.intercept_[0] - weights @ mean))


def out_of_fold(
    rows: Sequence[Sequence[float]], answered: Sequence[bool], groups: Sequence[str], *, folds: int = 5
) -> list[float]:
    """Each row's confidence by weights that were fitted on other groups: what a threshold may be chosen on.

    Args:
        rows, answered: as for :func:`fitted`.
        groups: rows of one group (a fact) are in one fold.
    """
    order = {group: n % folds for n, group in enumerate(dict.fromkeys(groups))}
    fold = np.array([order[g] for g in groups])
    out = [0.0] * len(rows)
    for number in range(folds):
        others = [n for n in range(len(rows)) if fold[n] != number]
        classes = {answered[n] for n in others}
        made = fitted([rows[n] for n in others], [answered[n] for n in others]) if len(classes) == 2 else Calibration()
        for n in np.flatnonzero(fold == number):
            out[int(n)] = made.of(rows[int(n)])
    return out


def threshold_to_refuse(unanswerable: Sequence[float], rate: float) -> float:
    """The least threshold at which ``rate`` of these confidences lie below it; 0 where there are none."""
    ranked = sorted(unanswerable)
    if not ranked or rate <= 0:
        return 0.0
    count = min(len(ranked), math.ceil(rate * len(ranked)))
    return math.nextafter(ranked[count - 1], math.inf)


def threshold_of_false_refusals(answerable: Sequence[float], rate: float) -> float:
    """The greatest threshold at which at most ``rate`` of these confidences lie below it."""
    ranked = sorted(answerable)
    if not ranked:
        return 0.0
    return ranked[min(len(ranked) - 1, math.floor(rate * len(ranked)))]


@dataclass(frozen=True, slots=True)
class Point:
    """What a threshold does.

    Attributes:
        refuse_below: the threshold.
        coverage: share of the questions that are answered.
        risk: share of unanswerable ones among those; 0 where none is answered.
        refused: share of the unanswerable ones that are refused.
        false_refusals: share of the answerable ones that are refused.
    """

    refuse_below: float
    coverage: float
    risk: float
    refused: float
    false_refusals: float


def point(threshold: float, answerable: Sequence[float], unanswerable: Sequence[float]) -> Point:
    """Coverage and risk (El-Yaniv and Wiener) of a threshold on confidences."""
    kept = [c >= threshold for c in answerable]
    let_through = [c >= threshold for c in unanswerable]
    answered = sum(kept) + sum(let_through)
    return Point(
        threshold,
        answered / max(1, len(kept) + len(let_through)),
        sum(let_through) / answered if answered else 0.0,
        1 - sum(let_through) / len(let_through) if let_through else 0.0,
        1 - sum(kept) / len(kept) if kept else 0.0,
    )
