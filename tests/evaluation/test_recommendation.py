"""The advice, on systems whose order is planted: scores and pairs come from the same code as in ``compare``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from groundtune.evaluation.compare import all_pairs
from groundtune.evaluation.recommendation import beats, recommend
from groundtune.evaluation.runner import SystemRun, summarise
from groundtune.records import Example

EXAMPLES = [
    Example(f"{fact}/{n}", str(fact), "held_out_facts" if fact % 2 else "held_out_phrasings", "?", ("x",))
    for fact in range(60)
    for n in range(2)
]
Advice = dict[str, Any]


def values(level: float, seed: int) -> dict[str, float]:
    """Token F1 of every question around a level."""
    rng = np.random.default_rng(seed)
    return {e.id: float(np.clip(level + rng.normal(0, 0.2), 0, 1)) for e in EXAMPLES}


def compared(scores: Mapping[str, Mapping[str, float]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows and pairs of a comparison; a system later in the order costs more a question."""
    rows = []
    for place, (name, score) in enumerate(scores.items()):
        run = SystemRun(name, name, values={"token_f1": dict(score)}, latency_seconds=[0.1 * (place + 1)])
        rows.append(
            {**summarise(run, EXAMPLES, resamples=300, seed=0), "cost_usd": 0.01 * (place + 1), "train_seconds": 0.0}
        )
    return rows, all_pairs(
        {name: {"token_f1": score} for name, score in scores.items()}, EXAMPLES, resamples=1000, seed=0
    )


def advice(scores: Mapping[str, Mapping[str, float]]) -> Advice:
    return recommend(*compared(scores))


@pytest.mark.parametrize("better", ["rag", "tuned"])
def test_the_better_system_is_named_whichever_it_is(better: str) -> None:
    levels = {"rag": 0.4, "tuned": 0.4, better: 0.7}
    found = advice({name: values(level, seed) for seed, (name, level) in enumerate(levels.items())})
    assert found["system"] == better
    assert found["text"].startswith(f"Use {better}:")
    assert found["because"][0].startswith(f"{better}: token F1 0.")


def test_identical_systems_have_no_winner() -> None:
    found = advice({"rag": values(0.6, 1), "tuned": values(0.6, 1)})
    assert found["system"] is None
    assert found["text"].startswith("No clear winner among rag, tuned")
    assert "cheapest of them per question is rag" in found["text"]


def test_equal_systems_have_no_winner_in_most_draws() -> None:
    named = [advice({"rag": values(0.6, seed), "tuned": values(0.6, seed + 50)})["system"] for seed in range(20)]
    assert named.count(None) >= 17


def test_two_that_share_the_top_are_named_and_the_third_is_not() -> None:
    found = advice({"rag": values(0.6, 1), "tuned": values(0.2, 2), "tuned+rag": values(0.6, 3)})
    assert found["system"] is None
    first_sentence = found["text"].split(":")[0]
    assert "rag" in first_sentence
    assert "tuned+rag" in first_sentence
    assert ", tuned:" not in found["text"]


def test_the_hint_is_the_cheapest_not_the_highest() -> None:
    higher = {q: min(1.0, v + 0.001) for q, v in values(0.6, 2).items()}
    found = advice({"rag": values(0.6, 1), "tuned": higher})
    assert "cheapest of them per question is rag" in found["text"]


def test_the_baseline_is_recommended_where_it_is_best() -> None:
    found = advice({"baseline": values(0.7, 1), "rag": values(0.4, 2), "tuned": values(0.3, 3)})
    assert found["system"] == "baseline"
    assert any("does better than rag, tuned" in reason for reason in found["because"])
    assert any("The baseline is best of all" in reason for reason in found["because"])


def test_a_beaten_baseline_is_not_praised() -> None:
    found = advice({"baseline": values(0.3, 1), "rag": values(0.7, 2)})
    assert not any("baseline" in reason and "best" in reason for reason in found["because"])


def test_a_baseline_that_leads_by_chance_is_not_called_best() -> None:
    found = advice({"baseline": values(0.6, 1), "rag": values(0.6, 1)})
    assert found["system"] is None
    assert not any("best of all" in reason for reason in found["because"])


def test_nothing_is_recommended_below_the_most_frequent_answer() -> None:
    found = advice({"most_frequent": values(0.5, 1), "rag": values(0.3, 2), "tuned": values(0.1, 3)})
    assert found["system"] is None
    assert "most frequent answer" in found["text"]


def test_the_control_itself_is_never_recommended() -> None:
    found = advice({"most_frequent": values(0.6, 1), "rag": values(0.95, 2), "tuned": values(0.4, 3)})
    assert found["system"] == "rag"
    assert not any(reason.startswith("most_frequent") for reason in found["because"])


def test_a_system_alone_is_not_best_beyond_chance() -> None:
    found = advice({"rag": values(0.7, 1)})
    assert found["system"] is None
    assert "beyond chance" not in found["text"]
    assert advice({"most_frequent": values(0.1, 2), "rag": values(0.7, 1)})["system"] == "rag"


def test_without_an_answerable_question_there_is_no_advice() -> None:
    assert (
        recommend([{"name": "rag", "scores": {"unanswerable": {}}, "latency_seconds": {"p50": 0.1}}], [])["system"]
        is None
    )


def test_an_uncorrected_p_value_does_not_make_a_winner() -> None:
    rows, _ = compared({"rag": values(0.62, 1), "tuned": values(0.6, 2)})
    first, second = sorted(rows, key=lambda r: -r["scores"]["all_answerable"]["token_f1"]["mean"])
    pair = {
        "a": first["name"],
        "b": second["name"],
        "split": "all_answerable",
        "metric": "token_f1",
        "difference": 0.02,
    }
    assert recommend(rows, [{**pair, "p_value": 0.04, "p_holm": 0.12}])["system"] is None
    assert recommend(rows, [{**pair, "p_value": 0.01, "p_holm": 0.03}])["system"] == first["name"]


def test_beats_reads_a_pair_from_both_sides() -> None:
    pair = {
        "a": "rag",
        "b": "tuned",
        "split": "all_answerable",
        "metric": "token_f1",
        "difference": -0.3,
        "p_holm": 0.01,
    }
    assert beats([pair], "tuned", "rag")
    assert not beats([pair], "rag", "tuned")
    assert not beats([pair], "tuned", "prompt")
    assert not beats([{**pair, "p_holm": 0.05}], "tuned", "rag")


def test_a_lead_over_the_control_that_could_be_chance_is_no_winner() -> None:
    found = advice({"most_frequent": values(0.90, 1), "rag": values(0.91, 2), "tuned": values(0.4, 3)})
    assert found["system"] is None
    assert "beyond chance" in found["text"]


def test_two_winners_of_two_kinds_of_question_are_both_named() -> None:
    kinds = {e.id: e.split for e in EXAMPLES}
    assert {"held_out_facts", "held_out_phrasings"} <= set(kinds.values())

    def good_at(split: str, seed: int) -> dict[str, float]:
        high, low = values(0.7, seed), values(0.2, seed + 1)
        return {q: (high if kinds[q] == split else low)[q] for q in kinds}

    found = advice({"rag": good_at("held_out_facts", 1), "tuned": good_at("held_out_phrasings", 3)})
    assert found["system"] is None
    assert found["text"].startswith("It depends on what you ask: rag for facts no system was trained on, tuned for new")


def test_what_was_trained_in_vain_is_named_and_what_helped_on_one_kind_of_question_is_not() -> None:
    kinds = {e.id: e.split for e in EXAMPLES}
    before, after = values(0.3, 1), values(0.7, 2)
    helped = {q: (after if kinds[q] == "held_out_phrasings" else before)[q] for q in kinds}
    rows, pairs = compared(
        {"prompt": before, "ia3": values(0.3, 3), "lora": helped, "rag": after, "ia3+rag": values(0.7, 4)}
    )
    for row in rows:
        if row["name"] not in {"prompt", "rag"}:
            row["train_seconds"] = 100.0
    (said,) = [reason for reason in recommend(rows, pairs)["because"] if "in vain" in reason]
    assert said.endswith(": ia3+rag, ia3.") or said.endswith(": ia3, ia3+rag.")
    unknown = [row for row in rows if row["name"] not in {"prompt", "rag"}]  # nothing untuned to compare with
    assert not [reason for reason in recommend(unknown, pairs)["because"] if "in vain" in reason]


def test_what_only_learnt_the_most_frequent_answer_is_named() -> None:
    scores = {"prompt": values(0.1, 1), "most_frequent": values(0.5, 2), "ia3": values(0.5, 3), "lora": values(0.8, 4)}
    rows, pairs = compared(scores)
    for row in rows:
        row["train_seconds"] = 100.0 if row["name"] in {"ia3", "lora"} else 0.0
    reasons = recommend(rows, pairs)["because"]
    assert [r for r in reasons if "most frequent" in r] == [
        "No better, beyond chance, than always giving the most frequent answer: ia3."
    ]
    assert not [r for r in reasons if "in vain" in r]
