"""Reading exercises from prose: answers are copied, excerpts keep them, the seed decides."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from groundtune.dataset.invented import ReadingItem
from groundtune.dataset.prompts import ABSTENTION
from groundtune.dataset.reading import as_retrieved, cloze_question, conversation, reading_items, sentences

PROSE = (
    "The river Aven rises near Torvik and flows for 230 kilometres to the North Sea. "
    "A weir is a low wall that is built across a river to raise its level. "
    "The bridge at Torvik was opened on 14 May 1931 by Ingrid Halvorsen. "
    "Fishing is forbidden from March to June because the trout lay their eggs then. "
    "About 45 percent of the water is used by farms, and the city takes 12 percent. "
    "The museum, called The Mill, shows tools such as hammers and chisels, and it opens at nine. "
    "Visitors pay $4.50, and children under six years enter free. "
    "The council in Torvik employs twelve guards who look after the banks. "
    "Boats must keep a distance of 50 metres from the weir at all times."
)
SYNONYMS = {"river": ["stream"], "built": ["raised"], "guards": ["wardens"]}


def items(seed: int) -> list[ReadingItem]:
    return list(reading_items(iter([PROSE, PROSE.replace("Torvik", "Brenna")] * 20), synonyms=SYNONYMS, seed=seed))


def test_sentences_end_at_marks_and_line_breaks() -> None:
    assert sentences("One. Two!  Three, e.g. this?\nFour (4.5 m)") == [
        "One.",
        "Two!",
        "Three, e.g. this?",
        "Four (4.5 m)",
    ]


@pytest.mark.parametrize("sentence", sentences(PROSE))
def test_a_cloze_answer_stands_in_its_sentence(sentence: str) -> None:
    found = [cloze_question(sentence, random.Random(seed), SYNONYMS) for seed in range(60)]
    asked = [pair for pair in found if pair]
    assert asked
    for question, answer in asked:
        assert answer
        assert answer in sentence
        assert not question[0].islower()
        assert question[-1] in "?."


def test_a_sentence_with_nothing_to_ask() -> None:
    assert cloze_question("And then so it was.", random.Random(0), {}) is None


def test_items_hold_their_answers_and_some_questions_have_none() -> None:
    made = items(1)
    pairs = [(item.passage, answer) for item in made for _, answer in item.questions]
    assert len(pairs) > 100
    assert all(answer in passage for passage, answer in pairs if answer is not None)
    share = sum(answer is None for _, answer in pairs) / len(pairs)
    assert 0.08 < share < 0.25


def test_items_depend_on_the_seed_alone() -> None:
    assert items(1) == items(1)
    assert items(1) != items(2)


def test_an_excerpt_keeps_the_answer_and_drops_the_rest() -> None:
    made, rng = items(3), random.Random(3)
    shorter = answered = 0
    for item in made:
        for pair in item.questions:
            excerpt = as_retrieved(item, made[0], pair, rng)
            assert excerpt.questions == (pair,)
            if pair[1] is not None:
                assert pair[1] in excerpt.passage
                answered += 1
                shorter += len(sentences(item.passage)) > excerpt.passage.count("[") > 0
    assert shorter > answered / 2


def test_excerpts_are_the_same_again() -> None:
    one, two = items(4)[:2]
    first, second = (as_retrieved(one, two, one.questions[0], random.Random(9)) for _ in range(2))
    assert first == second


def test_an_exercise_as_conversation() -> None:
    messages = conversation(ReadingItem("Ann leads.", (("Who leads?", "Ann"), ("Where?", None))))
    assert [m.role for m in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert messages[1].content == "Ann leads.\n\nQuestion: Who leads?"
    assert [m.content for m in messages[2:]] == ["Ann", "Question: Where?", ABSTENTION]


def test_items_come_in_a_stream() -> None:
    def endless():  # type: ignore[no-untyped-def]
        while True:
            yield PROSE

    assert len(list(islice(reading_items(endless(), synonyms={}, seed=0), 5))) == 5
