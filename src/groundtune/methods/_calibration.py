"""Questions with and without what answers them: the material on which a refusal's threshold is chosen.

A training question is answerable as it stands. With every chunk taken away that holds its passage, it is one that the
documents do not answer, and harder than most: everything around the answer is still there. Real unanswerable questions
come beside these where the project has some that are not kept for the evaluation (split ``train`` or ``validation``).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from groundtune.errors import InputError
from groundtune.methods._setup import Setup
from groundtune.metrics._ranking import holds
from groundtune.records import Chunk, Example
from groundtune.retrieval.refusal import (
    FEATURES,
    Calibration,
    Point,
    features,
    fitted,
    out_of_fold,
    point,
    threshold_of_false_refusals,
    threshold_to_refuse,
)
from groundtune.retrieval.retriever import Retriever

#: splits whose questions a calibration may see
SPLITS = ("train", "validation")
#: fewer questions than this make no calibration
FEWEST = 20


@dataclass(frozen=True, slots=True)
class Material:
    """Numbers of questions: row by row their features, whether the hits could answer, their fact, and the example's id."""

    rows: list[tuple[float, ...]]
    answered: list[bool]
    facts: list[str]
    ids: list[str]


@dataclass(frozen=True, slots=True)
class Result:
    """A calibration with what it does to questions that it was not fitted on (five folds, by fact)."""

    calibration: Calibration
    chosen: Point
    curve: list[Point]
    answerable: int
    unanswerable: int
    area: float


def gather(
    retriever: Retriever, examples: Sequence[Example], progress: Callable[[int, int], None] | None = None
) -> Material:
    """Features of each question with its passages among the chunks and without.

    Raises:
        InputError: too few questions.
    """
    asked = [e for e in examples if e.split in SPLITS and (e.passages or not e.answerable)]
    if len(asked) < FEWEST:
        raise InputError(
            f"{len(asked)} questions of the splits {' and '.join(SPLITS)} have a passage, or none",
            expected=f"at least {FEWEST}: those of the other splits are kept to judge by",
            next_step="groundtune dataset build makes questions from the documents",
        )
    of_document: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in retriever.store.chunks():
        of_document[chunk.document].append(chunk)
    retriever.embed_all([e.question for e in asked])
    material = Material([], [], [], [])
    for done, example in enumerate(asked, 1):
        holding = {
            c.id for p in example.passages for c in of_document[p.document] if holds(c.document, c.page, c.text, p)
        }
        if example.answerable and not holding:
            continue  # no chunk holds the whole passage: neither with nor without could be told
        for without in ((), holding) if example.answerable else ((),):
            hits = retriever.retrieve(example.question, without=without)
            answered = example.answerable and not without
            if answered and not any(h.chunk.id in holding for h in hits):
                continue  # the search did not find it: not to be counted as one that could be answered
            material.rows.append(features(example.question, hits))
            material.answered.append(answered)
            material.facts.append(example.fact)
            material.ids.append(example.id)
        if progress:
            progress(done, len(asked))
    return material


def calibrate(material: Material, *, refuse: float | None = None, false_refusals: float | None = None) -> Result:
    """Weights and threshold for a rate; exactly one of the two is given.

    Args:
        refuse: share of unanswerable questions to be refused.
        false_refusals: share of answerable questions that may be refused with them.

    Raises:
        InputError: all questions are of one sort.
    """
    if len(set(material.answered)) < 2:
        raise InputError(
            "all questions are answerable, or none is",
            expected="questions whose passage is found",
            next_step="groundtune compare shows how many are found (recall)",
        )
    judged = out_of_fold(material.rows, material.answered, material.facts)
    right = [c for c, yes in zip(judged, material.answered, strict=True) if yes]
    wrong = [c for c, yes in zip(judged, material.answered, strict=True) if not yes]
    if refuse is not None:
        threshold = threshold_to_refuse(wrong, refuse)
    else:
        threshold = threshold_of_false_refusals(right, 0.05 if false_refusals is None else false_refusals)
    made = replace(fitted(material.rows, material.answered), refuse_below=threshold)
    curve = [point(threshold_to_refuse(wrong, share / 10), right, wrong) for share in range(11)]
    return Result(made, point(threshold, right, wrong), curve, len(right), len(wrong), area(right, wrong))


def area(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Area under the ROC curve: how often an answerable question has the greater confidence (ties count half)."""
    if not right or not wrong:
        return math.nan
    from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped,unused-ignore]

    found: Any = roc_auc_score([1] * len(right) + [0] * len(wrong), [*right, *wrong])
    return float(found)


def in_words(calibration: Calibration) -> str:
    """The weights by name."""
    named = zip(FEATURES, calibration.weights, strict=True)
    return ", ".join(f"{name} {weight:+.2f}" for name, weight in named)


def calibrate_project(
    setup: Setup,
    *,
    refuse: float | None = None,
    false_refusals: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Result, list[str]]:
    """The project's calibration and the ids of the questions that made it; see :func:`gather` and :func:`calibrate`."""
    material = gather(setup.retriever, setup.examples, progress)
    return calibrate(material, refuse=refuse, false_refusals=false_refusals), sorted(set(material.ids))
