"""Invented reading exercises: answers stand word for word in the passage, and the seed decides."""

from __future__ import annotations

from itertools import islice

import pytest

from groundtune.dataset.invented import ReadingItem, invented_items


@pytest.fixture(scope="module")
def items() -> list[ReadingItem]:
    return list(islice(invented_items(11), 300))


def test_every_answer_stands_in_its_passage(items: list[ReadingItem]) -> None:
    wrong = [(q, a) for item in items for q, a in item.questions if a is not None and (not a or a not in item.passage)]
    assert wrong == []


def test_about_a_fifth_of_the_questions_has_no_answer(items: list[ReadingItem]) -> None:
    answers = [a for item in items for _, a in item.questions]
    assert len(answers) > 900
    assert 0.12 < answers.count(None) / len(answers) < 0.28


def test_a_question_is_asked_once_and_does_not_hold_its_answer_as_a_sentence(items: list[ReadingItem]) -> None:
    for item in items:
        questions = [q for q, _ in item.questions]
        assert len(set(questions)) == len(questions)
        assert all(q.strip() and q not in item.passage for q in questions)


def test_passages_hardly_repeat(items: list[ReadingItem]) -> None:
    assert len({item.passage for item in items}) == len(items)


def test_items_depend_on_the_seed_alone(items: list[ReadingItem]) -> None:
    assert list(islice(invented_items(11), 50)) == items[:50]
    assert list(islice(invented_items(12), 50)) != items[:50]
