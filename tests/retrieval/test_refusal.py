"""A confidence that tells answerable from unanswerable, and thresholds that keep the rate they were asked for."""

from __future__ import annotations

import random

import pytest

from groundtune.records import Chunk
from groundtune.retrieval.hits import Hit
from groundtune.retrieval.refusal import (
    FEATURES,
    Calibration,
    features,
    fitted,
    out_of_fold,
    point,
    threshold_of_false_refusals,
    threshold_to_refuse,
)


def hit(text: str, similarity: float, *, reranked: float | None = None, beside: str = "") -> Hit:
    return Hit(Chunk("d-0", "d", "d.txt", text), similarity, ((text, similarity),), reranked, beside)


def test_the_numbers_of_a_question() -> None:
    found = [hit("The mooring in Port Ellery costs 41 crowns.", 0.8, reranked=3.0), hit("Soup is served.", 0.2)]
    numbers = dict(zip(FEATURES, features("What does mooring in Port Ellery cost?", found), strict=True))
    assert numbers["sentence"] == 0.8 and numbers["ahead"] == pytest.approx(0.6)
    assert numbers["words_in_hit"] == pytest.approx(3 / 4)  # mooring, port, ellery; "cost" is another stem than "costs"
    assert numbers["names_in_hit"] == 1.0 and numbers["reranked"] == pytest.approx(0.2)
    other = dict(zip(FEATURES, features("What does mooring in Varn cost?", found), strict=True))
    assert other["names_in_hit"] == 0.0


def test_what_was_handed_on_around_a_hit_does_not_count() -> None:
    alone = [hit("Soup is served.", 0.2)]
    assert features("soup", [*alone, hit("Soup!", 0.9, beside="d-1")]) == features("soup", alone)
    assert Calibration().confidence("soup", []) == 0.0 and features("soup", []) == (0.0,) * len(FEATURES)


def test_the_shipped_weights_rank_an_answer_before_none() -> None:
    question = "What does a mooring for a yacht cost?"
    answered = Calibration().confidence(
        question, [hit("A mooring for a yacht costs 41 crowns.", 0.85), hit("Soup.", 0.1)]
    )
    nothing = Calibration().confidence(question, [hit("Cats travel in a basket.", 0.15), hit("Soup is served.", 0.14)])
    assert answered > 0.5 > nothing


def test_fitting_finds_what_tells_them_apart() -> None:
    rng = random.Random(0)
    yes = [(rng.gauss(0.7, 0.1), *[rng.random() for _ in FEATURES[1:]]) for _ in range(200)]
    no = [(rng.gauss(0.3, 0.1), *[rng.random() for _ in FEATURES[1:]]) for _ in range(200)]
    rows, answered = [*yes, *no], [True] * 200 + [False] * 200
    made = fitted(rows, answered)
    assert made.weights[0] > 5 * max(abs(w) for w in made.weights[1:])
    judged = out_of_fold(rows, answered, [str(n) for n in range(400)])
    assert sum((c >= 0.5) == a for c, a in zip(judged, answered, strict=True)) > 380


def test_a_fold_is_judged_by_weights_that_did_not_see_it() -> None:
    """One group holds the only rows that speak against the first number: judged by the others, they are wrong."""
    rows = [(float(n % 2), 0.0, 0.0, 0.0, 0.0, 0.0) for n in range(40)] + [(1.0, 0.0, 0.0, 0.0, 0.0, 0.0)] * 4
    answered = [bool(n % 2) for n in range(40)] + [False] * 4
    groups = [str(n // 2) for n in range(40)] + ["against"] * 4
    judged = out_of_fold(rows, answered, groups)
    assert min(judged[40:]) > 0.5


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8, 1.0])
def test_the_rate_asked_for_is_reached(rate: float) -> None:
    rng = random.Random(1)
    right, wrong = [rng.random() for _ in range(99)], [rng.random() * 0.7 for _ in range(77)]
    found = point(threshold_to_refuse(wrong, rate), right, wrong)
    assert rate <= found.refused < rate + 1 / 77 + 1e-9
    kept = point(threshold_of_false_refusals(right, rate / 2), right, wrong)
    assert rate / 2 - 1 / 99 - 1e-9 < kept.false_refusals <= rate / 2


def test_coverage_and_risk() -> None:
    found = point(0.5, [0.9, 0.8, 0.1], [0.6, 0.2])
    assert (found.coverage, found.risk) == (pytest.approx(3 / 5), pytest.approx(1 / 3))
    assert (found.refused, found.false_refusals) == (pytest.approx(1 / 2), pytest.approx(1 / 3))
    assert threshold_to_refuse([], 0.5) == threshold_to_refuse([0.4], 0) == threshold_of_false_refusals([], 0.1) == 0.0
