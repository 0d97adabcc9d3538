"""Intervals, the permutation test and Holm's correction, on data whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from groundtune.evaluation.significance import holm, mean_score, paired_difference

FACTS = 40


def simulated(seed: int, level: float, questions: int = 3) -> tuple[dict[str, float], dict[str, str]]:
    """Right or wrong on every question of 40 facts; phrasings of one fact tend to go together."""
    rng = np.random.default_rng(seed)
    values: dict[str, float] = {}
    for fact in range(FACTS):
        easy = np.clip(level + rng.normal(0, 0.25), 0, 1)
        values.update({f"{fact}/{n}": float(rng.random() < easy) for n in range(questions)})
    return values, {q: q.split("/")[0] for q in values}


def test_the_interval_holds_the_mean() -> None:
    for seed in range(20):
        values, fact_of = simulated(seed, 0.6)
        score = mean_score(values, fact_of, resamples=1000, seed=0)
        assert score
        assert score.mean == pytest.approx(sum(values.values()) / len(values))
        assert score.low < score.mean < score.high
        assert score.low >= 0
        assert score.high <= 1
        assert score.n == 120


def test_the_interval_holds_the_truth_about_95_times_in_100() -> None:
    held = 0
    for seed in range(200):
        values, fact_of = simulated(seed, 0.5)
        score = mean_score(values, fact_of, resamples=400, seed=seed)
        assert score
        held += score.low <= 0.5 <= score.high
    assert 0.90 <= held / 200 <= 0.985


def test_a_mean_is_over_questions_not_over_facts() -> None:
    values = {"a1": 1.0, "b1": 0.0, "b2": 0.0, "b3": 0.0}
    score = mean_score(values, {"a1": "a", "b1": "b", "b2": "b", "b3": "b"}, resamples=100, seed=0)
    assert score
    assert score.mean == 0.25
    assert mean_score({}, {}, resamples=100, seed=0) is None


def test_asking_each_fact_ten_times_does_not_narrow_the_interval() -> None:
    values, fact_of = simulated(1, 0.6)
    tenfold = {f"{q}*{n}": v for q, v in values.items() for n in range(10)}
    fact_of_tenfold = {q: fact_of[q.split("*")[0]] for q in tenfold}
    once = mean_score(values, fact_of, resamples=2000, seed=0)
    often = mean_score(tenfold, fact_of_tenfold, resamples=2000, seed=0)
    careless = mean_score(tenfold, {q: q for q in tenfold}, resamples=2000, seed=0)  # every question its own fact
    assert once
    assert often
    assert careless
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    assert careless.high - careless.low < 0.5 * (once.high - once.low)


def test_asking_each_fact_ten_times_does_not_lower_the_p_value() -> None:
    (a, fact_of), (b, _) = simulated(2, 0.62), simulated(3, 0.5)
    once = paired_difference(a, b, fact_of, resamples=2000, seed=0)
    tens = [{f"{q}*{n}": v for q, v in values.items() for n in range(10)} for values in (a, b)]
    often = paired_difference(tens[0], tens[1], {q: fact_of[q.split("*")[0]] for q in tens[0]}, resamples=2000, seed=0)
    assert once
    assert often == pytest.approx(once)
    assert 0.01 < once["p_value"] < 0.5


def test_a_planted_difference_is_found() -> None:
    for seed in range(10):
        (better, fact_of), (worse, _) = simulated(seed, 0.8), simulated(seed + 100, 0.4)
        found = paired_difference(better, worse, fact_of, resamples=2000, seed=0)
        assert found
        assert found["p_value"] < 0.01
        assert 0 < found["low"] < found["difference"] < found["high"]
        back = paired_difference(worse, better, fact_of, resamples=2000, seed=0)
        assert back
        assert back["difference"] == -found["difference"]
        assert back["p_value"] == pytest.approx(found["p_value"], abs=0.005)


def test_equal_systems_seldom_differ() -> None:
    p_values = []
    for seed in range(20):
        (a, fact_of), (b, _) = simulated(seed, 0.6), simulated(seed + 100, 0.6)
        found = paired_difference(a, b, fact_of, resamples=1000, seed=0)
        assert found
        p_values.append(found["p_value"])
    assert sum(p > 0.05 for p in p_values) >= 17
    assert min(p_values) < 0.5  # not simply 1 for everything


def test_one_and_the_same_system() -> None:
    values, fact_of = simulated(0, 0.6)
    assert paired_difference(values, values, fact_of, resamples=200, seed=0) == {
        "difference": 0.0,
        "low": 0.0,
        "high": 0.0,
        "p_value": 1.0,
    }


def test_the_p_value_of_a_small_case_by_hand() -> None:
    # four facts, each 1 better: of the 16 sign patterns 2 are as extreme (all +, all -), so p tends to 1/8
    a, b = dict.fromkeys("wxyz", 1.0), dict.fromkeys("wxyz", 0.0)
    found = paired_difference(a, b, {q: q for q in a}, resamples=20_000, seed=0)
    assert found
    assert found["p_value"] == pytest.approx(1 / 8, abs=0.01)


def test_only_questions_that_both_have_count() -> None:
    found = paired_difference(
        {"1": 1.0, "2": 0.5}, {"2": 0.0, "3": 1.0}, {"1": "1", "2": "2", "3": "3"}, resamples=100, seed=0
    )
    assert found
    assert found["difference"] == 0.5
    assert paired_difference({"1": 1.0}, {"2": 1.0}, {"1": "1", "2": "2"}, resamples=100, seed=0) is None


def test_everything_is_the_same_again_by_seed() -> None:
    (a, fact_of), (b, _) = simulated(0, 0.6), simulated(1, 0.5)
    same = [paired_difference(a, b, fact_of, resamples=500, seed=4) for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != paired_difference(a, b, fact_of, resamples=500, seed=5)


@pytest.mark.parametrize(
    ("given", "adjusted"),
    [
        # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 = 0.04, 0.06, 0.06, 0.04; the last may not fall below 0.06
        ([0.04, 0.01, 0.03, 0.02], [0.06, 0.04, 0.06, 0.06]),
        ([0.01, 0.04], [0.02, 0.04]),  # 2 x 0.01, 1 x 0.04
        ([0.5, 0.6, 0.001], [1.0, 1.0, 0.003]),  # 3 x 0.001; 2 x 0.5; at most 1
        ([0.03], [0.03]),
        ([], []),
    ],
)
def test_holm(given: list[float], adjusted: list[float]) -> None:
    assert holm(given) == pytest.approx(adjusted)
