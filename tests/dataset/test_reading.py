"""Reading exercises from prose: answers are copied, excerpts keep them, the seed decides."""

from __future__ import annotations

import random
import re
from itertools import islice

import pytest

from groundtune.dataset.invented import ReadingItem
from groundtune.dataset.prompts import ABSTENTION, with_passages
from groundtune.dataset.reading import Exercise, cloze_question, excerpt, reading_items, sentences
from groundtune.records import Message

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


def test_an_excerpt_keeps_the_answer_and_its_number_of_lines() -> None:
    made, rng = items(3), random.Random(3)
    counts = set()
    for item in made:
        for pair in item.questions:
            exercise = excerpt(item, made[0], pair, rng, lines=(2, 3))
            assert exercise is not None
            assert (exercise.question, exercise.answer) == pair
            assert pair[1] is None or pair[1] in exercise.passage
            counts.add(sum(line in exercise.passage for line in sentences(item.passage)))
    assert max(counts) <= 3
    assert 2 in counts


def test_excerpts_come_as_retrieval_brings_them_and_as_running_text() -> None:
    made, rng = items(5), random.Random(5)
    found = [excerpt(i, made[0], i.questions[0], rng, lines=(1, 3)) for i in made]
    headed = [e for e in found if e and re.match(r"\[1\] \S+\.(pdf|docx|html|md|csv|txt)", e.passage)]
    assert 0.3 < len(headed) / len(found) < 0.9


def test_excerpts_are_the_same_again() -> None:
    one, two = items(4)[:2]
    first, second = (excerpt(one, two, one.questions[0], random.Random(9), lines=(1, 4)) for _ in range(2))
    assert first == second


def test_an_answer_that_no_sentence_holds_makes_no_exercise() -> None:
    item = ReadingItem("Ann leads the old mill. Bob cooks for the guests.", (("Who?", "mill. Bob"),))
    assert excerpt(item, item, item.questions[0], random.Random(0), lines=(1, 3)) is None


def test_an_exercise_as_conversation() -> None:
    messages = Exercise("Who leads?", "Ann leads.", "Ann").conversation()
    assert [m.role for m in messages] == ["system", "user", "assistant"]
    assert messages[1:] == [*with_passages(["Ann leads."], "Who leads?")[1:], Message("assistant", "Ann")]
    assert Exercise("Where?", "Ann leads.", None).conversation()[-1].content == ABSTENTION


def test_items_come_in_a_stream() -> None:
    def endless():  # type: ignore[no-untyped-def]
        while True:
            yield PROSE

    assert len(list(islice(reading_items(endless(), synonyms={}, seed=0), 5))) == 5


@pytest.mark.parametrize(
    "parts",
    [
        ("Hunde, z. B. Doggen, zahlen mehr, d. h. Ihre Halter zahlen.", "Über 25 kg gilt Nr. 4 Abs. B der Ordnung.", "Öl auch."),
        ("Am 1. Januar 2026 beginnt die Saison.", "Sie endet am 31. Oktober.", "Bis zum 3. August bzw. September gilt das."),
        ("Das kostet ca. EUR 12.", "Dr. Meyer zahlt die Hälfte.", "Jeder 3. Platz ist frei."),
        ("Er rief: „Leinen los!“", "Dann fuhr die Fähre.", "„Endlich“, sagte sie."),
        ("In 2024 the fee was 5.", "August was wet.", "See Dr.", "Smith at No.", "A."),  # English, as it always was
        ("The mummy was found in 1991.", "Ötzi had tattoos."),
    ],
)  # fmt: skip
def test_german_abbreviations_dates_and_ordinals_end_no_sentence(parts: tuple[str, ...]) -> None:
    assert sentences(" ".join(parts)) == list(parts)
