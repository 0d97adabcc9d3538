"""Conditions: what is understood, how it is written, and what is said of the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundtune.errors import InputError
from groundtune.retrieval.filters import FIELDS, Test, both, of_document, parse_filter


def sql(text: str) -> str:
    return parse_filter(text).sql(lambda c: c, repr)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("page <= 3", "page <= 3"),
        ("PAGE != -3", "page <> -3"),
        ("document='O''Brien'", 'document = "O\'Brien"'),
        ("page = 1 or page = 2 and row = 3", "(page = 1) OR ((page = 2) AND (row = 3))"),
        ("(page = 1 or page = 2) and row = 3", "((page = 1) OR (page = 2)) AND (row = 3)"),
        ("not not heading NOT like 'A%'", "NOT (NOT (heading NOT LIKE 'A%'))"),
        ("language not in ('de' , 'fr')", "language NOT IN ('de', 'fr')"),
    ],
)
def test_what_a_condition_says(text: str, written: str) -> None:
    assert sql(text) == written


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its end"),
        ("pages = 3", "did you mean 'page'"),
        ("page like '3'", "a whole number: page is one"),
        ("page = '3'", "a whole number"),
        ("page = 99999999999", "a whole number"),
        ("document = 3", "text in single quotes"),
        ("document = 'x", "text in single quotes"),
        ("document = 'x' document", "character 16"),
        ("document = 'x' ; DROP TABLE chunks", "and, or, or the end"),
        ("(page = 3", "a closing bracket"),
        ("page in (1, 2", "a comma or a closing bracket"),
        ("page not = 2", "like or in"),
        ("(" * 60 + "page = 1" + ")" * 60, "at most 50 brackets"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_filter(text)
    assert said in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        parse_filter(text)
    except InputError:
        return


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40))
def test_a_value_comes_back_as_it_was_quoted(value: str) -> None:
    quoted = value.replace("'", "''")
    assert parse_filter(f"document = '{quoted}'") == of_document(value)


def test_conditions_join() -> None:
    assert both(None, None) is None
    assert both(of_document("a"), None) == Test("document", "=", ("a",))
    joined = both(of_document("a"), parse_filter("page = 1 or page = 2"))
    assert joined is not None
    assert joined.sql(lambda c: c, repr) == "(document = 'a') AND ((page = 1) OR (page = 2))"
    assert set(FIELDS) == {"document", "page", "row", "heading", "media_type", "language"}
