"""Chunks hold all of the text, keep to the limit, and share what they should."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundtune import registry
from groundtune.dataset.reading import sentences
from groundtune.records import Document, Section
from groundtune.retrieval.chunkers.sentence import chunk_text
from groundtune.retrieval.chunking import chunk_document

DOCUMENT = Document("d1", "a.txt", "0" * 64, "text", "A", 1)


def count(text: str) -> int:
    """Pieces of at most four characters a word, about as an embedder's tokenizer counts."""
    return sum(math.ceil(len(word) / 4) for word in text.split())


def bare(text: str) -> str:
    return "".join(text.split())


def text_of(words: list[tuple[str, str]]) -> str:
    """A text in which no word occurs twice, so that each chunk's place in it is known."""
    endless = (chr(0x4E00 + i) for i in range(12_000))
    return "".join(
        ("".join(next(endless) for _ in range(90)) if word == "endless" else f"{word}{n}" if word else "") + after
        for n, (word, after) in enumerate(words)
    )


WORDS = st.one_of(
    st.text(alphabet="abcxyz", min_size=1, max_size=12),
    st.sampled_from(["The", "A", "ferry", "12.", "Why?", "No!", "- item", "| a | b |", "é", "\t", "", "endless"]),
)
TEXTS = st.lists(st.tuples(WORDS, st.sampled_from([" ", " ", " ", ". ", ".\n", "\n\n"])), max_size=120).map(text_of)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(4, 60), st.integers(0, 40))
def test_no_chunk_is_blank_or_over_the_limit(text: str, limit: int, overlap: int) -> None:
    for chunk in chunk_text(text, count=count, chunk_tokens=limit, overlap_tokens=overlap):
        assert chunk.strip()
        assert count(chunk) <= limit


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(4, 60))
def test_without_overlap_the_chunks_are_the_text(text: str, limit: int) -> None:
    chunks = list(chunk_text(text, count=count, chunk_tokens=limit, overlap_tokens=0))
    assert bare("".join(chunks)) == bare(text)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(4, 60), st.integers(0, 40))
def test_with_overlap_nothing_is_lost_and_each_chunk_brings_something_new(text: str, limit: int, overlap: int) -> None:
    chunks = [bare(c) for c in chunk_text(text, count=count, chunk_tokens=limit, overlap_tokens=overlap)]
    whole, begin, end = bare(text), -1, 0
    for chunk in chunks:
        at = whole.find(chunk, begin + 1)  # short ones may stand in several places
        assert begin < at <= end < at + len(chunk)
        begin, end = at, at + len(chunk)
    assert end == len(whole)


def numbered(n: int) -> str:
    return " ".join(f"Sentence number {i} stands here." for i in range(n))  # nine tokens each


def test_neighbours_share_whole_sentences_up_to_the_overlap() -> None:
    size = count("Sentence number 3 stands here.")
    chunks = list(chunk_text(numbered(9), count=count, chunk_tokens=4 * size, overlap_tokens=2 * size))
    assert len(chunks) > 2
    for before, after in pairwise(chunks):
        shared = set(sentences(before)) & set(sentences(after))
        assert len(shared) == 2
        assert before.endswith(" ".join(s for s in sentences(before) if s in shared))
        assert after.startswith(" ".join(s for s in sentences(after) if s in shared))


def test_no_overlap_is_asked_none_is_given() -> None:
    chunks = list(chunk_text(numbered(9), count=count, chunk_tokens=30, overlap_tokens=0))
    assert sum(len(sentences(c)) for c in chunks) == 9


def test_an_overlap_larger_than_the_chunk_still_ends() -> None:
    chunks = list(chunk_text(numbered(30), count=count, chunk_tokens=20, overlap_tokens=500))
    assert "number 29" in chunks[-1]
    assert len(chunks) <= 30


@pytest.mark.parametrize("limit", [16, 200])
def test_one_endless_word_is_cut_and_kept(limit: int) -> None:
    word = "".join(chr(97 + i % 26) for i in range(5000))
    chunks = list(chunk_text(f"Before. {word} Then after.", count=count, chunk_tokens=limit, overlap_tokens=0))
    assert all(count(c) <= limit for c in chunks)
    assert bare("".join(chunks)) == bare(f"Before. {word} Then after.")


def test_the_embedders_own_count_is_kept_too() -> None:
    from groundtune.retrieval.embedders.minilm import count_tokens

    text = f"{numbered(40)} Donaudampfschifffahrtsgesellschaftskapitän über Köln. {'pneumono' * 9} 日本語のテキスト。 {'x' * 3000}"
    chunks = list(chunk_text(text, count=count_tokens, chunk_tokens=32, overlap_tokens=8))
    assert max(count_tokens(c) for c in chunks) <= 32
    assert len(chunks) > 10


def test_chunks_never_cross_a_section_and_carry_its_place() -> None:
    sections = [
        Section("First page. It has two sentences.", page=1, heading="Top"),
        Section("item: kayak; price: 17", row=3),
        Section("Second page.", page=2, heading="Top > Below"),
    ]
    chunks = list(chunk_document(DOCUMENT, iter(sections), count=count, chunk_tokens=500, overlap_tokens=100))
    assert [(c.id, c.page, c.row, c.heading) for c in chunks] == [
        ("d1-0", 1, None, "Top"),
        ("d1-1", None, 3, ""),
        ("d1-2", 2, None, "Top > Below"),
    ]
    assert [c.text for c in chunks] == [s.text for s in sections]
    assert {(c.document, c.document_id) for c in chunks} == {("a.txt", "d1")}


def test_table_rows_and_list_items_keep_their_lines() -> None:
    text = "Prices are these:\n| boat | price |\n| kayak | 17 |\n- first\n- second\nThat is all."
    assert list(chunk_text(text, count=count, chunk_tokens=100, overlap_tokens=0)) == [text]


def test_blank_text_gives_no_chunk() -> None:
    assert list(chunk_text(" \n\n\t ", count=count, chunk_tokens=10, overlap_tokens=0)) == []


def test_a_heading_keeps_its_line() -> None:
    text = "Annual leave\n\nFull-time staff receive 27 days. They ask in spring."
    made = list(chunk_text(text, count=count, chunk_tokens=60, overlap_tokens=0))
    assert made == ["Annual leave\nFull-time staff receive 27 days. They ask in spring."]


LONG = "\n\n".join(f"Paragraph {n} tells of boats. It has a second sentence. And a third one with number {n * 7}." for n in range(12))  # fmt: skip
SECTIONS = [
    Section("A short one.", heading="A"),
    Section("Another short one.", heading="A"),
    Section(LONG, page=2, heading="B"),
    Section("| kayak | 7 |", row=1, heading="T"),
    Section("| ferry | 9 |", row=2, heading="T"),
    Section("x" * 500, heading="C"),
    Section("   ", heading="D"),
]


@pytest.mark.parametrize("chunker", registry.names("chunkers"))
def test_every_chunker_keeps_all_words_in_their_places_and_within_the_limit(chunker: str) -> None:
    document = Document("d", "a.txt", "0", "text", "a", 1, "en")
    chunks = list(
        chunk_document(document, iter(SECTIONS), count=words_and_letters, chunk_tokens=30, overlap_tokens=6, chunker=chunker, embed=by_first_letter)
    )  # fmt: skip
    assert [c.id for c in chunks] == [f"d-{n}" for n in range(len(chunks))]
    assert all(words_and_letters(c.text) <= 30 for c in chunks)
    assert {(c.media_type, c.language) for c in chunks} == {("text", "en")}
    for heading in "ABTC":
        of_it = " ".join(s.text for s in SECTIONS if s.heading == heading).split()
        held = {word for c in chunks if c.heading == heading for word in c.text.split()}
        assert heading == "C" or set(of_it) <= held
    assert "".join(c.text for c in chunks if c.heading == "C") == "x" * 500
    assert [c.row for c in chunks if c.heading == "T"] == [1, 2]
    assert {c.page for c in chunks if c.heading == "B"} == {2}
    assert not [c for c in chunks if c.heading == "D"]


def words_and_letters(text: str) -> int:
    return sum(1 + len(word) // 20 for word in text.split())


def by_first_letter(texts: Sequence[str]) -> Any:
    return np.eye(256)[[ord(t.strip()[0]) % 256 for t in texts]]


def cut(chunker: str, *sections: Section, overlap: int = 0) -> list[str]:
    document = Document("d", "a.txt", "0", "text", "a", 1)
    found = chunk_document(document, iter(sections), count=words_and_letters, chunk_tokens=30, overlap_tokens=overlap, chunker=chunker, embed=by_first_letter)  # fmt: skip
    return [c.text for c in found]


def test_fixed_windows_overlap_by_words() -> None:
    first, second, third = cut("fixed", Section(" ".join(f"w{n}" for n in range(60))), overlap=5)
    assert first.split()[-5:] == second.split()[:5] and len(first.split()) == len(second.split()) == 30
    assert third.split()[-1] == "w59"


def test_structure_joins_what_stands_under_one_heading_and_cuts_between_paragraphs() -> None:
    assert cut("structure", *SECTIONS[:2]) == ["A short one.\n\nAnother short one."]
    assert all(text.startswith("Paragraph") for text in cut("structure", SECTIONS[2]))


def test_semantic_cuts_where_the_subject_changes() -> None:
    text = "Apples are red here. Apricots are not so. Almonds are no fruit. Boats sail by day. Barges do not sail. Buoys float all night."
    assert [t[0] for t in cut("semantic", Section(text))] == ["A", "B"]
