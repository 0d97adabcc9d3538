"""Changed facts: which are chosen, how an answer changes, what counts as right afterwards, how an index is edited."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from groundtune.evaluation.adaptability import adaptability, new_answer, plan_changes
from groundtune.records import Completion, Example, Message, Passage
from groundtune.retrieval.update import edited
from groundtune.system import question_of


def fact(
    name: str, answer: str, text: str, *, wordings: int = 3, held_out: bool = True, passages: int = 1
) -> list[Example]:
    """Training wordings of a fact, and one that is held out."""
    places = tuple(Passage("a.md", text) for _ in range(passages))
    splits = ["train"] * wordings + ["held_out_phrasings"] * held_out
    return [
        Example(f"{name}{n}", name, split, f"{name} in words {n}?", (answer,), places) for n, split in enumerate(splits)
    ]


EXAMPLES = [
    *fact("price", "48 crowns", "A card costs 48 crowns."),
    *fact("leader", "Ann Lee", "The club is led by Ann Lee."),
    *fact("place", "Oslo", "They meet in Oslo, by the harbour.", held_out=False),
    *fact("twice", "May", "May is when the May fair is."),  # the answer stands twice
    *fact("two", "nine", "It opens at nine.", passages=2),  # two passages
    *fact("once", "red", "The door is red.", wordings=1),  # nothing would be left to train on
    *[
        Example("h1", "held", "held_out_facts", "Who?", ("Bo",), (Passage("a.md", "Bo."),)),
        Example("u1", "u", "unanswerable", "Why?"),
    ],
]


def test_only_facts_that_can_be_changed_are_chosen() -> None:
    assert {c.old.fact for c in plan_changes(EXAMPLES, 10, 0)} == {"price", "leader", "place"}
    assert len(plan_changes(EXAMPLES, 2, 0)) == 2
    assert plan_changes(EXAMPLES, 10, 0) == plan_changes(EXAMPLES, 10, 0)
    assert len({tuple(c.old.fact for c in plan_changes(EXAMPLES, 10, seed)) for seed in range(10)}) > 1


def test_a_change_is_in_the_answer_and_in_the_passage() -> None:
    for change in plan_changes(EXAMPLES, 10, 0):
        old, new = change.old.references[0], change.new.references[0]
        assert old != new
        assert (
            change.new.passages[0].text == change.old.passages[0].text.replace(old, new) != change.old.passages[0].text
        )
        assert change.old.question == change.new.question
        assert all(e.references == (new,) for e in change.training)


def test_a_fact_is_asked_with_words_that_it_is_not_trained_on() -> None:
    for change in plan_changes(EXAMPLES, 10, 0):
        assert change.training
        assert all(e.split == "train" for e in change.training)
        assert change.new.question not in {e.question for e in change.training}
        if change.old.fact != "place":  # it has no held-out wording
            assert change.old.split == "held_out_phrasings"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("48 crowns", "83 crowns"),
        ("1,209.50", "5,604.90"),
        ("9 August", "4 August"),
        ("B7", "B2"),
    ],  # digit d -> (d + 3) mod 9 + 1, 0 stays
)
def test_a_number_keeps_its_form(answer: str, expected: str) -> None:
    assert new_answer(answer, ["Oslo"], random.Random(0)) == expected


def test_words_become_another_fact_s_words() -> None:
    drawn = {new_answer("Oslo", ["Oslo", "Ann", "Bo"], random.Random(seed)) for seed in range(20)}
    assert drawn == {"Ann", "Bo"}
    assert new_answer("Oslo", ["Oslo"], random.Random(0)) == "olsO"


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        ("One. It costs 4. Two.", "It costs 4.", "It costs 8.", "One. It costs 8. Two."),
        ("Nothing of it here.", "It costs 4.", "It costs 8.", "Nothing of it here."),
        # a table row with other separators: only the changed cell, only in the row that has all the others
        ("oak | 4 | red\nelm | 4 | blue", "oak, 4, red", "oak, 8, red", "oak | 8 | red\nelm | 4 | blue"),
        ("oak | 4 | red\nelm | 4 | blue", "oak, 4, blue", "oak, 8, blue", "oak | 4 | red\nelm | 4 | blue"),
        (
            "item: oak; price: 4; colour: red",
            "item: oak, price: 4, colour: red",
            "item: oak, price: 8, colour: red",
            "item: oak; price: 8; colour: red",
        ),
    ],
)
def test_edited(text: str, old: str, new: str, expected: str) -> None:
    assert edited(text, old, new) == expected


class Says:
    """A System that says what it has been told about a fact."""

    name, description = "says", "says"

    def __init__(self, said: dict[str, str]) -> None:
        self.said = said

    def answer(self, messages: Sequence[Message]) -> Completion:
        return Completion(self.said.get(question_of(messages).split()[0], ""))

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        return [self.answer(c) for c in conversations]


OLD = {"price": "48 crowns", "leader": "Ann Lee", "place": "Oslo"}


def test_what_each_system_gets_right_before_and_after() -> None:
    given: list[Any] = []

    def relearn(edits: Any, training: Sequence[Example], folder: Path) -> Says:
        assert folder.is_dir()
        given.append((edits, training))
        return Says({e.fact: e.references[0] for e in training})

    def only_the_price(edits: Any, training: Sequence[Example], folder: Path) -> Says:
        return Says({**OLD, "price": "83 crowns"})

    systems = {"fixed": Says(OLD), "learns": Says(OLD), "half": Says(OLD), "knows nothing": Says({})}
    found = adaptability(EXAMPLES, systems, {"learns": relearn, "half": only_the_price}, count=10, seed=0)
    figures = {
        name: tuple(f[k] for k in ("can_update", "right_before", "right_after", "stale_after"))
        for name, f in found.items()
    }
    assert figures == {
        "fixed": (False, 3, 0, 3),
        "learns": (True, 3, 3, 0),
        "half": (True, 3, 1, 2),
        "knows nothing": (False, 0, 0, 0),
    }
    assert all(f["facts"] == 3 and f["seconds"] >= 0 for f in found.values())
    edits, training = given[0]
    assert {(before.text, after.text) for before, after in edits} >= {
        ("A card costs 48 crowns.", "A card costs 83 crowns.")
    }
    assert len(training) == 3 + 3 + 2  # without the wording that is asked


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("48 crowns", 1),
        ("48 Crowns.", 1),
        ("A card costs 48 crowns.", 1),  # a quoted sentence that ends with the answer, as the baseline's
        ("A card costs (48 crowns), paid on entry", 1),
        ("A card costs 148 crowns.", 0),
        ("It costs 48.", 0),
        ("48 crownsmen came", 0),
        ("", 0),
    ],
)
def test_what_counts_as_right(said: str, right: int) -> None:
    found = adaptability(EXAMPLES[:4], {"s": Says({"price": said})}, {}, count=1, seed=0)
    assert found["s"]["right_before"] == right


@pytest.mark.parametrize(
    ("answer", "said", "right"),
    [
        ("€1,200", "It costs €1,200 a year.", 1),
        ("€1,200", "It costs €1,2005.", 0),
        ("1.5 m", "Keep 1.5 m.", 1),
        ("5 m", "Keep 1.5 m away.", 0),
    ],
)
def test_amounts_count_as_right_only_whole(answer: str, said: str, right: int) -> None:
    examples = fact("price", answer, f"It is {answer} here.")
    assert adaptability(examples, {"s": Says({"price": said})}, {}, count=1, seed=0)["s"]["right_before"] == right


def test_nothing_to_change() -> None:
    assert adaptability(EXAMPLES[-2:], {"s": Says(OLD)}, {}, count=10, seed=0) == {}
    assert adaptability(EXAMPLES, {"s": Says(OLD)}, {}, count=0, seed=0) == {}
