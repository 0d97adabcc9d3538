"""Runs of whole sentences, never across a page, a heading or a row, with overlap: the default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

from groundtune.dataset.reading import sentences
from groundtune.records import Section
from groundtune.retrieval.chunkers._limits import Count, Limits


def cut(sections: Iterable[Section], limits: Limits) -> Iterator[Section]:
    """Each section's runs of sentences, in the section's place."""
    for section in sections:
        for text in chunk_text(
            section.text,
            count=limits.count,
            chunk_tokens=limits.chunk_tokens,
            overlap_tokens=limits.overlap_tokens,
        ):
            yield replace(section, text=text)


def chunk_text(text: str, *, count: Count, chunk_tokens: int, overlap_tokens: int) -> Iterator[str]:
    """Runs of whole sentences of at most ``chunk_tokens`` tokens."""
    overlap_tokens = min(overlap_tokens, chunk_tokens // 2)
    pieces = [(p, count(p)) for s in sentences(text) for p in split_long(s, count, chunk_tokens)]
    run: list[tuple[str, int]] = []
    fresh = 0  # sentences of the run that no chunk has held yet
    for piece in pieces:
        if run and _size(run) + piece[1] > chunk_tokens:
            yield joined([piece for piece, _ in run])
            while run and (_size(run) > overlap_tokens or _size(run) + piece[1] > chunk_tokens):
                run.pop(0)
            fresh = 0
        run.append(piece)
        fresh += 1
    if fresh:
        yield joined([piece for piece, _ in run])


def _size(run: list[tuple[str, int]]) -> int:
    return sum(tokens for _, tokens in run)


def joined(pieces: list[str]) -> str:
    """Sentences on one line, table rows and list items on lines of their own."""
    out = pieces[0]
    for before, piece in pairwise(pieces):
        apart = (
            piece.startswith(("|", "- ")) or before.startswith(("|", "- ")) or before[-1:].isalnum()
        )  # a heading's end
        out += ("\n" if apart else " ") + piece
    return out


def split_long(sentence: str, count: Count, limit: int) -> Iterator[str]:
    """A sentence as it is or, where it has more than ``limit`` tokens, in halves cut between words."""
    if count(sentence) <= limit:
        yield sentence
        return
    words = sentence.split(" ")
    if len(words) == 1:  # one endless word: cut by characters; a token is rarely shorter than one
        for start in range(0, len(sentence), limit):
            yield sentence[start : start + limit]
        return
    half = len(words) // 2
    yield from split_long(" ".join(words[:half]), count, limit)
    yield from split_long(" ".join(words[half:]), count, limit)
