"""Words for full-text search: stop words out, stems by language, German compounds with their parts."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from groundtune.records import Document
from groundtune.retrieval.words import (
    Vocabulary,
    _stem,
    content_words,
    count_words,
    document_languages,
    is_stop,
    question_terms,
    terms,
)

TEXTS = (
    "Vollzeitkräfte haben Anspruch auf Urlaub: 27 Tage im Jahr. Die Gebühren für Plätze im Hafen stehen im Aushang.",
    "Die Fähre fährt nach Plan. Wer kündigt, hält die Frist ein; die Kündigung ist schriftlich.",
)
VOCABULARY = Vocabulary(count_words(TEXTS))


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("Jahresurlaubsanspruch", {"jahr", "urlaub", "anspruch"}),
        ("Hafengebühren", {"hafen", "gebuhren"}),
        ("Hafengebuehren", {"hafen", "gebuhren"}),  # the same, typed without umlauts
        ("Fährplan", {"fahre", "plan"}),  # has lost an e
        ("Kündigungsfristen", {"kundigung", "frist"}),
        ("Hafen", set()),
        ("Freitag", set()),  # no compound, though "frei" and "Tag" are words
        ("Mitgliedschaft", set()),
        ("Unbekannteswort", set()),
        ("x" * 200, set()),
    ],
)
def test_compounds_are_cut_into_known_words(word: str, parts: set[str]) -> None:
    assert set(VOCABULARY.parts(word)) == parts
    assert VOCABULARY.parts(word) == VOCABULARY.parts(word.upper())


def test_of_several_cuts_the_one_with_the_more_frequent_words_counts() -> None:
    """Koehn and Knight's rule on invented words: the geometric mean decides, not the number of parts."""
    assert Vocabulary({"abcd": 9, "efgh": 9, "abc": 1, "defgh": 1}).parts("abcdefgh") == ("abcd", "efgh")
    assert Vocabulary({"abcd": 1, "efgh": 1, "abc": 9, "defgh": 9}).parts("abcdefgh") == ("abc", "defgh")
    assert Vocabulary({"abcd": 2, "efgh": 2, "abc": 1, "defgh": 3}).parts("abcdefgh") == ("abcd", "efgh")  # 2 > sqrt(3)


def test_a_compound_stays_a_term_and_its_parts_join_it() -> None:
    found = terms("Der Jahresurlaubsanspruch", "de", VOCABULARY)
    assert found == ["jahresurlaubsanspruch", *terms("Jahr Urlaub Anspruch", "de")]
    assert terms("Der Jahresurlaubsanspruch", "de") == ["jahresurlaubsanspruch"]
    assert terms("Der Jahresurlaubsanspruch", "en", VOCABULARY)[-1] == "jahresurlaubsanspruch"


@pytest.mark.parametrize(
    ("language", "a", "b"),
    [
        ("de", "Die Häfen und ihre Gebühren", "der Hafen, seine Gebuehr"),
        ("de", "Straße", "STRASSE"),
        ("de", "für die Mitglieder", "fuer das Mitglied"),
        ("en", "The fares of the ferries", "a ferry's fare s"),
        ("fr", "Équipages", "equipage"),
        ("und", "boats", "boat"),
        ("xx", "boats", "boat"),  # no such language
    ],
)
def test_what_is_one_word_to_a_reader_is_one_term(language: str, a: str, b: str) -> None:
    first, second = terms(a, language), terms(b, language)
    assert set(first) <= set(second)
    assert first


def test_repeats_stay_and_nothing_but_stop_words_is_searched_as_it_is() -> None:
    assert terms("Boot, Boote!", "de") == ["boot", "boot"]
    assert len(terms("Was ist das?", "de")) == 3
    assert terms("", "de") == terms("?!", "de") == []
    assert terms("天気 7", "zh") == ["天", "気", "7"]


def test_stop_words_belong_to_a_language() -> None:
    assert is_stop("für", "de")
    assert is_stop("fuer", "de")
    assert not is_stop("für", "en")
    assert is_stop("the", "en")
    assert not is_stop("the", "de")
    assert content_words("Wie hoch ist the Gebühr?", ["de"]) == "hoch the Gebühr"
    assert content_words("Wie hoch ist the Gebühr?", ["de", "en"]) == "hoch Gebühr"
    assert content_words("What is it?") == "What is it"


def test_a_question_is_read_as_each_language_of_the_documents() -> None:
    german = question_terms("Wie hoch sind die Gebühren und Hafengebühren in diesem Jahr?", ["de"], VOCABULARY)
    assert german == [*terms("hoch Gebühren Hafengebühren Hafen Jahr", "de")]
    both = question_terms("What are the fares of the ferries this summer?", ["de", "en"])
    assert {"fare", "ferri", "summer"} <= set(both)
    assert not {"the", "what", "of"} & set(both)  # though they are no German stop words
    assert len(both) == len(set(both))
    assert question_terms("boats", []) == ["boat"]


def test_a_document_of_no_known_language_is_read_as_most_are() -> None:
    def document(id_: str, language: str) -> Document:
        return Document(id_, f"{id_}.txt", "0", "text", id_, 1, language)

    found = document_languages([document("a", "de"), document("b", "und"), document("c", "xx"), document("d", "de")])
    assert found == {"a": "de", "b": "de", "c": "en", "d": "de"}
    assert document_languages([document("a", "und")]) == {"a": "en"}


def test_it_loads_nothing_heavy() -> None:
    code = "import sys, groundtune.retrieval.words as w; w.terms('Häfen', 'de'); print(*sorted(m for m in ('nltk', 'torch', 'sklearn', 'lancedb', 'py3langid') if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_threads_stem_as_one_does() -> None:
    words = [f"{a}{b}" for a in ("running", "harbour", "opening", "regulat", "schedul") for b in ("s", "ed", "ing", "ation", "ly", "ment")]  # fmt: skip
    _stem.cache_clear()
    expected = [_stem(w, "en") for w in words]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            _stem.cache_clear()
            found = list(pool.map(lambda order: [_stem(w, "en") for w in order], [words] * 4))
            assert found == [expected] * 4
