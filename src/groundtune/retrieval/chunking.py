"""A document's sections to its chunks, by the chunker of that name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from groundtune import registry
from groundtune.records import Chunk, Document, Section
from groundtune.retrieval.chunkers._limits import Count, Limits


def _no_vectors(texts: Sequence[str]) -> Any:
    raise ValueError("this chunker embeds sentences, and no embedder was given")


def chunk_document(
    document: Document,
    sections: Iterable[Section],
    *,
    count: Count,
    chunk_tokens: int,
    overlap_tokens: int,
    chunker: str = "sentence",
    embed: Callable[[Sequence[str]], Any] = _no_vectors,
) -> Iterator[Chunk]:
    """A document's chunks, in order.

    Args:
        document: whose sections these are.
        sections: consumed one at a time.
        count: tokens of a text, as the embedder counts.
        chunk_tokens: most tokens a chunk; a single longer sentence is cut between words.
        overlap_tokens: most tokens repeated from the end of the chunk before it in the same section.
        chunker: a registered name.
        embed: unit vectors of texts, for a chunker that looks at them.

    Raises:
        UnknownNameError: no such chunker.
    """
    limits = Limits(count, chunk_tokens, overlap_tokens, embed)
    for number, piece in enumerate(registry.get("chunkers", chunker).cut(sections, limits)):
        yield Chunk(
            id=f"{document.id}-{number}",
            document_id=document.id,
            document=document.path,
            text=piece.text,
            page=piece.page,
            row=piece.row,
            heading=piece.heading,
            media_type=document.media_type,
            language=document.language,
        )
