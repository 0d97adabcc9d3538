"""Which questions are asked, and a comparison of small Systems from end to end."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

import pytest

from groundtune.config import CompareConfig
from groundtune.evaluation.compare import all_pairs, choose_questions, compare_systems
from groundtune.records import Completion, Example, Message
from groundtune.system import question_of

EXAMPLES = [
    *(Example(f"t{n}", f"t{n}", "train", f"train {n}?", ("x",)) for n in range(5)),
    *(
        Example(f"f{n}/{w}", f"f{n}", "held_out_facts", f"fact {n} in words {w}?", (f"answer {n}",))
        for n in range(20)
        for w in range(3)
    ),
    *(Example(f"u{n}", f"u{n}", "unanswerable", f"nobody knows {n}?") for n in range(8)),
]


class Lookup:
    """A System that knows some answers."""

    def __init__(self, name: str, answers: Mapping[str, str], *, seconds: float = 0.0) -> None:
        self.name, self.description = name, f"knows {len(answers)} answers"
        self.answers, self.seconds, self.asked = answers, seconds, 0

    def answer(self, messages: Sequence[Message]) -> Completion:
        self.asked += 1
        time.sleep(self.seconds)
        known = self.answers.get(question_of(messages).strip())
        return Completion(known or "", abstained=known is None)

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        return [self.answer(c) for c in conversations]


def test_training_questions_are_never_asked_and_facts_stay_whole() -> None:
    assert choose_questions(EXAMPLES, None, 0) == EXAMPLES[5:]
    chosen = choose_questions(EXAMPLES, 7, 0)
    facts = [e.fact for e in chosen if e.split == "held_out_facts"]
    assert len(facts) == 9  # whole facts of three until seven are reached
    assert all(facts.count(fact) == 3 for fact in facts)
    assert sum(e.split == "unanswerable" for e in chosen) == 7
    assert chosen == choose_questions(EXAMPLES, 7, 0) != choose_questions(EXAMPLES, 7, 1)


def test_a_comparison() -> None:
    asked = choose_questions(EXAMPLES, None, 0)
    right = {e.question: e.references[0] for e in asked if e.references}
    half = {e.question: e.references[0] for e in asked if e.references and int(e.fact[1:]) < 10}
    systems = {"knows": Lookup("knows", right, seconds=0.002), "half": Lookup("half", half)}
    told: list[tuple[str, int, int]] = []
    config = CompareConfig(resamples=500, latency_questions=5)
    result, runs = compare_systems(
        systems,
        asked,
        config,
        seed=0,
        training={"knows": {"train_seconds": 60.0, "disk_bytes": 7}},
        progress=lambda *a: told.append(a),
    )

    assert json.loads(json.dumps(result)) == result
    assert (result["questions"], result["splits"]) == (68, {"held_out_facts": 60, "unanswerable": 8})
    knows, half_row = result["systems"]
    assert knows["scores"]["held_out_facts"]["exact_match"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "n": 60}
    assert half_row["scores"]["all_answerable"]["token_f1"]["mean"] == pytest.approx(0.5)
    assert half_row["scores"]["unanswerable"]["abstention_accuracy"]["mean"] == 1.0
    assert "exact_match" not in half_row["scores"]["unanswerable"]
    assert (knows["train_seconds"], knows["disk_bytes"], half_row["train_seconds"]) == (60.0, 7, 0.0)
    assert 0.002 <= knows["latency_seconds"]["p50"] <= knows["latency_seconds"]["p95"]
    assert knows["cost_usd"] == pytest.approx(1000 * knows["latency_seconds"]["p50"] * 0.10 / 3600)
    assert systems["knows"].asked == 68 + 5
    assert told[-1] == ("half", 68, 68)
    assert result["recommendation"]["system"] == "knows"
    assert [len(r.completions) for r in runs] == [68, 68]
    row = next(r for r in result["per_question"] if r["id"] == "f15/2")
    assert row["answers"]["knows"]["text"] == "answer 15"
    assert row["answers"]["half"]["scores"]["exact_match"] == 0.0


def test_pairs_are_corrected_within_their_split() -> None:
    values = {
        name: {
            "token_f1": {e.id: float((7 * n * name + name) % 3 == 0) for n, e in enumerate(EXAMPLES) if e.references}
        }
        for name in (1, 2, 3)
    }
    pairs = all_pairs({str(k): v for k, v in values.items()}, EXAMPLES[5:], resamples=200, seed=0)
    for split in ("held_out_facts", "all_answerable"):
        family = [p for p in pairs if p["split"] == split]
        assert [(p["a"], p["b"]) for p in family] == [("1", "2"), ("1", "3"), ("2", "3")]
        smallest = min(family, key=lambda p: p["p_value"])
        assert smallest["p_holm"] == pytest.approx(min(1.0, 3 * smallest["p_value"]))
        assert all(p["p_holm"] >= p["p_value"] for p in family)
        assert all(p["significant"] == (p["p_holm"] < 0.05) for p in family)
    assert {p["split"] for p in pairs} == {"held_out_facts", "all_answerable"}  # no abstention values were given


def test_when_training_pays_off() -> None:
    # rag takes 20 ms and the other about nothing: 36 s of training at the same price an hour are paid after about
    # 36 / 0.02 = 1,800 questions
    asked = EXAMPLES[5:30]
    systems = {"rag": Lookup("rag", {}, seconds=0.02), "tuned": Lookup("tuned", {})}
    result, _ = compare_systems(
        systems,
        asked,
        CompareConfig(resamples=100, latency_questions=5),
        seed=0,
        training={"tuned": {"train_seconds": 36.0}},
    )
    assert 900 <= result["systems"][1]["pays_off_after_questions"] <= 1850
    assert result["systems"][0]["pays_off_after_questions"] is None
