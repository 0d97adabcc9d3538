"""The search for settings on synthetic systems whose every effect is known, on a clock of its own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from groundtune.config import CompareConfig, Config, OptimizeConfig
from groundtune.errors import ConfigError, InputError
from groundtune.evaluation.search import Outcome, Search, divide, question_score, single_changes
from groundtune.evaluation.search_journal import Journal
from groundtune.evaluation.search_report import render_search
from groundtune.evaluation.search_space import (
    CURRENT,
    Arm,
    Space,
    arm_of,
    built_in,
    checked,
    first_arms,
    read_space,
    stage_of,
    with_changes,
)
from groundtune.evaluation.search_worth import advice, held_out, worth
from groundtune.records import Completion, Example, Message, Passage, Source
from groundtune.system import question_of
from html_page import Page

#: what each value adds to the share of questions that are found or answered rightly
EFFECTS = {
    ("index.chunk_tokens", 100): 0.2,
    ("index.chunk_tokens", 400): -0.2,
    ("retrieval.mode", "text"): -0.3,
    ("retrieval.candidates", 80): 0.1,
    ("answer.max_tokens", 48): 0.1,
    ("answer.max_tokens", 8): -0.4,
    ("retrieval.top_k", 3): -0.1,
}
SPACE: Space = {
    "index.chunk_tokens": (100, 400),
    "retrieval.mode": ("text",),
    "retrieval.candidates": (80,),
    "answer.max_tokens": (8, 48),
    "retrieval.top_k": (3,),
}
QUICK = CompareConfig(resamples=300, latency_questions=2)


def questions(facts: int = 60, held: int = 50) -> list[Example]:
    """Two questions a fact; question n is easy to the degree n / all: right while the share of right ones exceeds it."""
    out = []
    for split, count in (("train", facts), ("held_out_facts", held)):
        for n in range(count):
            for phrasing in (1, 2):
                hard = ((n * 37) % count + 0.5) / count
                passage = Passage("a.txt", f"gold {split} {n}")
                out.append(Example(f"{split}-{n}-{phrasing}", f"{split}-{n}", split, f"{hard:.6f} {split} {n} {phrasing}?", ("yes",), (passage,)))  # fmt: skip
    return out


class Clock:
    """Seconds that only work makes pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Synthetic:
    """A system that is right on the easiest questions, as many as its arm's effects allow."""

    name, description = "synthetic", "known effects"

    def __init__(self, builder: Effects, arm: Arm, part: str) -> None:
        self.builder, self.arm, self.part = builder, arm, part

    def answer(self, messages: Sequence[Message]) -> Completion:
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        share = 0.4 + sum(self.builder.effects.get(i, 0.0) for i in self.arm.items)
        out = []
        for conversation in conversations:
            question = question_of(conversation)
            if self.builder.stop_after is not None and self.builder.asked == self.builder.stop_after:
                raise KeyboardInterrupt
            self.builder.asked += 1
            self.builder.clock.now += self.builder.seconds[self.part]
            self.builder.log.append((self.part, self.arm.key, question))
            right = float(question.split()[0]) < share
            _, split, n, *_ = question.split()
            found = (Source("a.txt", "c", 1.0, "", text=f"gold {split} {n}: yes" if right else "something else"),)
            out.append(Completion("yes" if right else "no", sources=found if right else (), retrieved=found))
        return out


class Effects:
    """Builds synthetic systems; an index takes ``index`` seconds."""

    def __init__(self, clock: Clock, effects: Mapping[tuple[str, Any], float] = EFFECTS, *, index: float = 5.0) -> None:
        self.clock, self.effects, self.index = clock, effects, index
        self.seconds = {"found": 0.01, "answers": 0.1, "held_out": 0.1}
        self.made: list[str] = []
        self.log: list[tuple[str, str, str]] = []
        self.asked, self.stop_after = 0, None

    def index_seconds(self, arm: Arm) -> float:
        index = arm.part("index")
        return 0.0 if index == CURRENT or index.key in self.made else self.index

    def make_index(self, arm: Arm) -> Mapping[str, float]:
        self.clock.now += self.index
        self.made.append(arm.part("index").key)
        return {"seconds": self.index}

    def finder(self, arm: Arm) -> Synthetic:
        return Synthetic(self, arm, "found")

    def answerer(self, arm: Arm) -> Synthetic:
        return Synthetic(self, arm, "answers")

    def plain(self, arm: Arm) -> Synthetic:
        return Synthetic(self, arm, "held_out")


def search_of(builder: Effects, journal: Path, *, minutes: float = 60, space: Space = SPACE, **more: Any) -> Search:
    config = OptimizeConfig(minutes=minutes, **more)
    return Search(
        builder,
        Journal(journal, minutes),
        divide(questions(), 0.33, 0, "questions.jsonl"),
        space,
        config,
        seed=0,
        clock=builder.clock,
    )


def test_it_finds_what_helps_and_leaves_the_rest(tmp_path: Path) -> None:
    builder = Effects(Clock())
    outcome = search_of(builder, tmp_path / "j.jsonl").run(100)
    assert outcome.winner.changes == {
        "index.chunk_tokens": 100,
        "retrieval.candidates": 80,
        "answer.max_tokens": 48,
    }
    assert outcome.not_tried == []


def test_rounds_ask_fewer_arms_more_questions_and_never_drop_the_current_settings(tmp_path: Path) -> None:
    worst = {(n, v): -0.1 for n, values in SPACE.items() for v in values}
    worst |= dict.fromkeys([("index.chunk_tokens", 100), ("answer.max_tokens", 48)], 0.05)
    outcome = search_of(Effects(Clock(), worst), tmp_path / "j.jsonl", arms=16).run(100)
    for part in ("found", "answers"):
        rounds = [r for r in outcome.rounds if r["part"] == part]
        assert len(rounds) >= 2
        for before, after in itertools.pairwise(rounds):
            assert after["questions"] > before["questions"]
            assert len(after["arms"]) < len(before["arms"])
            kept = [a["changes"] for a in before["arms"] if a["kept"]]
            assert sorted(map(str, kept)) == sorted(str(a["changes"]) for a in after["arms"])
        for turn in rounds:
            assert turn["arms"][0]["changes"] == {} and turn["arms"][0]["kept"]
    assert any(arm == CURRENT for arm, _ in outcome.validation)


def test_all_arms_of_a_round_are_asked_the_same_questions_and_none_twice(tmp_path: Path) -> None:
    builder = Effects(Clock())
    outcome = search_of(builder, tmp_path / "j.jsonl").run(100)
    assert len(builder.log) == len(set(builder.log))
    asked: dict[str, set[str]] = {}
    for part, arm, question in builder.log:
        if part == "found":
            asked.setdefault(arm, set()).add(question)
    sizes = sorted({len(q) for q in asked.values()})
    assert sizes == sorted({r["questions"] for r in outcome.rounds if r["part"] == "found"})
    for small, large in itertools.combinations(sorted(asked.values(), key=len), 2):
        assert small <= large


def test_nothing_better_means_the_current_settings(tmp_path: Path) -> None:
    builder = Effects(Clock(), {(n, v): -0.1 for n, values in SPACE.items() for v in values})
    search = search_of(builder, tmp_path / "j.jsonl")
    winner = search.run(100).winner
    assert winner == CURRENT
    figures = worth(search, winner, held_out(questions(), None, 0), {}, QUICK)
    told = advice(winner, figures)
    assert not told["adopt"] and "Leave the settings" in told["text"]
    assert figures["systems"][0]["scores"]["all"]["score"]["mean"] == pytest.approx(0.4)


def test_a_difference_that_may_be_chance_is_not_taken_over(tmp_path: Path) -> None:
    search = search_of(Effects(Clock(), {("retrieval.mode", "text"): 0.02}), tmp_path / "j.jsonl")
    figures = worth(search, arm_of({"retrieval.mode": "text"}), held_out(questions(), None, 0), {"retrieval.mode": "x"}, QUICK)  # fmt: skip
    assert figures["overall"]["difference"] == pytest.approx(0.02)  # one fact of fifty
    told = advice(arm_of({"retrieval.mode": "text"}), figures)
    assert not told["adopt"] and "may be chance" in told["text"]


def test_each_choice_is_worth_its_planted_effect_on_held_out_questions(tmp_path: Path) -> None:
    builder = Effects(Clock())
    search = search_of(builder, tmp_path / "j.jsonl")
    winner = search.run(100).winner
    current = {"index.chunk_tokens": 200, "retrieval.candidates": 40, "answer.max_tokens": 24}
    figures = worth(search, winner, held_out(questions(), None, 0), current, QUICK)
    assert {r["setting"]: round(r["difference"], 6) for r in figures["worth"]} == {
        "index.chunk_tokens": 0.2,
        "retrieval.candidates": 0.1,
        "answer.max_tokens": 0.1,
    }
    for row in figures["worth"]:
        assert row["low"] <= row["difference"] <= row["high"] and row["p_holm"] >= row["p_value"]
    assert figures["overall"]["difference"] == pytest.approx(0.4)
    assert figures["systems"][1]["index"] == {"seconds": 5.0}
    assert advice(winner, figures)["adopt"]
    held = {e.question for e in held_out(questions(), None, 0)}
    assert not any(q in held for part, _, q in builder.log if part != "held_out")


@pytest.mark.parametrize("minutes", [0.2, 1.0, 3.0])
def test_the_budget_holds_and_what_was_left_out_is_said(tmp_path: Path, minutes: float) -> None:
    builder = Effects(Clock(), index=20.0)
    search = search_of(builder, tmp_path / "j.jsonl", minutes=minutes)
    outcome = search.run(100)
    figures = worth(search, outcome.winner, held_out(questions(), None, 0), SPACE, QUICK)
    assert bool(outcome.not_tried) == (minutes < 3) and all("needs about" in why for _, why in outcome.not_tried)
    # the first round, the choice and the report ask the current settings whatever the budget
    assert builder.clock.now <= minutes * 60 + (24 if minutes < 1 else 2)
    assert len(builder.made) <= minutes * 60 / 20
    assert figures["questions"] <= 100
    asked = {arm for _, arm, _ in builder.log}
    for arm, _ in outcome.not_tried:
        rounds = [r for r in outcome.rounds if arm.changes in [a["changes"] for a in r["arms"]]]
        assert rounds or arm.key not in asked


@pytest.mark.parametrize("stop_after", [3, 90, 400, 900])
def test_a_killed_search_goes_on_and_ends_where_one_that_was_not_killed_ends(tmp_path: Path, stop_after: int) -> None:
    def finished(builder: Effects, name: str) -> tuple[Outcome, dict[str, Any]]:
        search = search_of(builder, tmp_path / name, minutes=4)
        outcome = search.run(100)
        return outcome, worth(search, outcome.winner, held_out(questions(), None, 0), SPACE, QUICK)

    whole, figures = finished(Effects(Clock()), "whole.jsonl")
    killed = Effects(Clock())
    killed.stop_after = stop_after  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        finished(killed, "killed.jsonl")
    path = tmp_path / "killed.jsonl"
    if path.exists():
        path.write_text(path.read_text(encoding="utf-8") + '{"part": "found", "arm": "[[\\"retr', encoding="utf-8")
    again = Effects(Clock())
    again.made = list(killed.made)
    outcome, other = finished(again, "killed.jsonl")
    assert outcome.winner == whole.winner
    assert [(r["questions"], r["arms"]) for r in outcome.rounds] == [(r["questions"], r["arms"]) for r in whole.rounds]
    assert other["overall"] == figures["overall"]
    for row, same in zip(other["worth"], figures["worth"], strict=True):
        assert {**row, "without": row["without"]["scores"]} == {**same, "without": same["without"]["scores"]}
    assert not set(again.log) & set(killed.log[: len(killed.log) - 64])  # at most the batch that was cut is asked anew


def test_more_minutes_try_what_fewer_left_out(tmp_path: Path) -> None:
    few, many = Effects(Clock(), index=20.0), Effects(Clock(), index=20.0)
    first = search_of(few, tmp_path / "j.jsonl", minutes=1).run(100)
    second = search_of(many, tmp_path / "j.jsonl", minutes=60).run(100)
    assert first.not_tried and not second.not_tried
    assert second.winner.changes["index.chunk_tokens"] == 100
    assert not set(few.log) & set(many.log)


def test_single_changes_say_what_each_value_did(tmp_path: Path) -> None:
    search = search_of(Effects(Clock()), tmp_path / "j.jsonl", arms=40)
    rows = {(r["setting"], r["value"]): r for r in single_changes(search.run(100), SPACE)}
    assert rows["index.chunk_tokens", 100]["difference"] == pytest.approx(0.2, abs=0.06)
    assert rows["retrieval.mode", "text"]["difference"] == pytest.approx(-0.3, abs=0.06)
    assert rows["answer.max_tokens", 8]["part"] == "answers" and rows["retrieval.mode", "text"]["part"] == "found"


def test_questions_are_divided_by_facts() -> None:
    divided = divide(questions(), 0.33, 0, "q")
    facts = [{e.fact for e in part} for part in (divided.search, divided.validation)]
    assert not facts[0] & facts[1] and len(facts[0]) == 40 and len(facts[1]) == 20
    assert divide(questions(), 0.33, 0, "q") == divided != divide(questions(), 0.33, 1, "q")
    named = [*questions(), Example("v", "v", "validation", "v?", ("yes",))]
    assert [e.id for e in divide(named, 0.33, 0, "q").validation] == ["v"]
    assert "v" not in {e.id for e in held_out(named, None, 0)}


def test_too_few_training_questions_are_counted() -> None:
    with pytest.raises(InputError, match=r"here.jsonl: 6 questions about 3 facts") as caught:
        divide([*questions(3, 3)], 0.33, 0, "here.jsonl")
    assert "at least 4 facts" in str(caught.value)


def test_the_score_of_a_question() -> None:
    weights = {"token_f1": 1.0, "supported": 0.25, "abstention_accuracy": 2.0}
    answerable, not_answerable = Example("a", "a", "train", "a?", ("yes",)), Example("b", "b", "train", "b?")
    given = {"token_f1": 0.5, "supported": 1.0, "abstention_accuracy": 1.0, "mrr": 0.1}
    assert question_score(given, weights, answerable) == pytest.approx((0.5 + 0.25) / 1.25)
    assert question_score({"token_f1": 0.5}, weights, answerable) == 0.5
    assert question_score({"abstention_accuracy": 1.0}, weights, not_answerable) == 2.0
    assert question_score({}, {"mrr": 1.0}, answerable) == 0.0


# ---------------------------------------------------------------- the space


def test_the_built_in_space_holds_only_what_this_version_takes() -> None:
    space = built_in(Config(), {"system": "rag"}, lambda name, value: value != "tuned")
    assert space["retrieval.mode"] == ("hybrid", "vector", "text")
    assert "tuned" not in space.get("index.embedder", ())
    for name, values in space.items():
        for value in values:
            with_changes(Config(), {name: value})
    assert with_changes(Config(), {"retrieval.top_k": 9, "system": "rag"}).retrieval.top_k == 9


def test_a_users_space_is_checked_whole(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("retrieval:\n  top_k: [3, 5]\nindex.chunk_tokens: [64]\nsystem: [rag]\n", encoding="utf-8")
    found = read_space(file, Config(), {"system": "rag"})
    assert found == {"retrieval.top_k": (3, 5), "index.chunk_tokens": (64,), "system": ("rag",)}
    with pytest.raises(ConfigError) as caught:
        checked(
            Config(),
            {"retrieval.topk": [3], "retrieval.mode": ["best"], "answer.max_tokens": "12", "prompt.nine": ["x"]},
            {"system": "rag"},
            "file.yaml",
        )
    for part in (
        "file.yaml",
        "retrieval.topk: unknown",
        "top_k",
        "retrieval.mode",
        "'best'",
        "no list of values",
        "prompt.nine: no such",
    ):
        assert part in str(caught.value)
    for text in ("- a\n", "a: [\n", ""):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match="space"):
            read_space(file, Config(), {"system": "rag"})


def test_first_arms_change_one_thing_each_then_several() -> None:
    arms = first_arms(SPACE, [CURRENT], 20, 3)
    assert arms[0] == CURRENT and len(arms) == len(set(arms)) == 20
    singles = [a for a in arms if len(a.items) == 1]
    assert len(singles) == 7  # every value
    assert all(sum(stage_of(n) == "index" for n in a.changes) <= 1 for a in arms)
    assert arms == first_arms(SPACE, [CURRENT], 20, 3) != first_arms(SPACE, [CURRENT], 20, 4)
    few = first_arms(SPACE, [CURRENT], 6, 0)
    assert len(few) == 6 and len({n for a in few if len(a.items) == 1 for n in a.changes}) == 3
    assert first_arms({"a": (1,)}, [CURRENT], 10, 0) == [CURRENT, arm_of({"a": 1})]


# ---------------------------------------------------------------- the page


def test_the_page_shows_choices_and_escapes(tmp_path: Path) -> None:
    search = search_of(Effects(Clock()), tmp_path / "j.jsonl")
    outcome = search.run(100)
    current = dict.fromkeys(SPACE, "<old & worn>")
    figures = worth(search, outcome.winner, held_out(questions(), None, 0), current, QUICK)
    result = {
        "created": "2026-11-22T04:00:00", "model": "<m>", "system": "rag", "seconds": 12.0, "held_out": figures,
        "asked": {"search": 80, "validation": 40}, "rounds": outcome.rounds, "lines": "index:\n  chunk_tokens: 100\n",
        "validation": [{"changes": a.changes, "score": s} for a, s in outcome.validation],
        "recommendation": advice(outcome.winner, figures), "singles": single_changes(outcome, SPACE),
        "not_tried": [{"changes": {"retrieval.mode": "<x>"}, "why": "needs about 9 s"}], "winner_on_validation": 0.8,
    }  # fmt: skip
    page = Page(render_search(result))
    assert not page.faults and not page.open
    assert "<old & worn> → 100" in page.text and "retrieval.mode <x>" in page.text
    assert "Take the new settings over" in page.text and "winner’s curse" in page.text
    assert not [v for _, name, v in page.attributes if name in ("src", "href") and not v.startswith("#")]
    assert Page(render_search({})).faults == []
