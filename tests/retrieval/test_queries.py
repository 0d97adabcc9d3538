"""Further texts to search with: what is made of whatever a model writes."""

from __future__ import annotations

import pytest

from groundtune.prompt_files import prompt_names
from groundtune.retrieval.queries import PROMPTS, TOKENS, clean_queries, further_queries


@pytest.mark.parametrize(
    ("kind", "written", "found"),
    [
        ("rewrite", 'Query: "annual leave days"', ["annual leave days"]),
        ("rewrite", "opening hours hall\nsomething else", ["opening hours hall"]),
        ("rewrite", "how many days of leave?", []),  # the question again
        ("rewrite", "", []),
        ("hyde", "The passages do not say.", []),  # as small models do: it would be searched for
        ("step_back", "I cannot answer that.", []),
        ("rewrite", "\n - ?!\n", []),
        ("multi_query", "1. Leave a year?\n2) Days of leave?\n- leave a year?\n* Holiday?\nFourth?", ["Leave a year?", "Days of leave?", "Holiday?"]),
        ("hyde", "Staff get 27 days.\nOf leave.", ["Staff get 27 days. Of leave."]),
        ("step_back", "Question: What are the rules on leave?", ["What are the rules on leave?"]),
    ],
)  # fmt: skip
def test_what_is_kept(kind: str, written: str, found: list[str]) -> None:
    assert clean_queries(kind, "How many days of leave?", written) == found


def test_nothing_is_asked_where_nothing_is_wanted() -> None:
    def never(questions: object, tokens: int) -> list[str]:
        raise AssertionError

    assert further_queries("none", ["a", "b"], never) == [[], []]
    assert further_queries("hyde", [], never) == []


def test_every_kind_has_a_prompt_and_a_length() -> None:
    assert PROMPTS.keys() == TOKENS.keys() and set(PROMPTS.values()) <= set(prompt_names())
    asked: list[int] = []
    for kind in PROMPTS:
        assert further_queries(kind, ["q?"], lambda q, tokens: asked.append(tokens) or ["text"]) == [["text"]]  # type: ignore[func-returns-value]
    assert asked == list(TOKENS.values())


def test_a_text_without_end_is_cut() -> None:
    assert len(clean_queries("hyde", "q", "word " * 9999)[0]) <= 1000
