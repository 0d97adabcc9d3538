"""Sections to chunks: cut between sentences, never across a page, a heading or a row, with overlap in tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from groundtune.dataset.reading import sentences
from groundtune.records import Chunk, Document, Section

#: number of tokens of a text
Count = Callable[[str], int]


def chunk_document(
    document: Document, sections: Iterator[Section], *, count: Count, chunk_tokens: int, overlap_tokens: int
) -> Iterator[Chunk]:
    """A document's chunks, in order.

    Args:
        document: whose sections these are.
        sections: consumed one at a time.
        count: tokens of a text, as the embedder counts.
        chunk_tokens: most tokens a chunk; a single longer sentence is cut between words.
        overlap_tokens: most tokens repeated from the end of the chunk before it in the same section.
    """
    number = 0
    for section in sections:
        for text in chunk_text(section.text, count=count, chunk_tokens=chunk_tokens, overlap_tokens=overlap_tokens):
            yield Chunk(
                id=f"{document.id}-{number}",
                document_id=document.id,
                document=document.path,
                text=text,
                page=section.page,
                row=section.row,
                heading=section.heading,
            )
            number += 1


def chunk_text(text: str, *, count: Count, chunk_tokens: int, overlap_tokens: int) -> Iterator[str]:
    """Runs of whole sentences of at most ``chunk_tokens`` tokens."""
    overlap_tokens = min(overlap_tokens, chunk_tokens // 2)
    pieces = [(p, count(p)) for s in sentences(text) for p in _split_long(s, count, chunk_tokens)]
    run: list[tuple[str, int]] = []
    fresh = 0  # sentences of the run that no chunk has held yet
    for piece in pieces:
        if run and _size(run) + piece[1] > chunk_tokens:
            yield _joined(run)
            while run and (_size(run) > overlap_tokens or _size(run) + piece[1] > chunk_tokens):
                run.pop(0)
            fresh = 0
        run.append(piece)
        fresh += 1
    if fresh:
        yield _joined(run)


def _size(run: list[tuple[str, int]]) -> int:
    return sum(tokens for _, tokens in run)


def _joined(run: list[tuple[str, int]]) -> str:
    """Sentences on one line, table rows and list items on lines of their own."""
    out = run[0][0]
    for (before, _), (piece, _) in pairwise(run):
        apart = (
            piece.startswith(("|", "- ")) or before.startswith(("|", "- ")) or before[-1:].isalnum()
        )  # a heading's end
        out += ("\n" if apart else " ") + piece
    return out


def _split_long(sentence: str, count: Count, limit: int) -> Iterator[str]:
    if count(sentence) <= limit:
        yield sentence
        return
    words = sentence.split(" ")
    if len(words) == 1:  # one endless word: cut by characters; a token is rarely shorter than one
        for start in range(0, len(sentence), limit):
            yield sentence[start : start + limit]
        return
    half = len(words) // 2
    yield from _split_long(" ".join(words[:half]), count, limit)
    yield from _split_long(" ".join(words[half:]), count, limit)
