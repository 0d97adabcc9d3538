"""Chunks to a store's entries: what is embedded of a chunk and of each of its sentences, and in how many passes.

``embedded``: chunk, every sentence, and every sentence behind its headings are read one by one. ``pooled``: the chunk is read
once, and a sentence's vectors are means of its own tokens' states, for the second with the headings' (late chunking, Guenther
et al., 2024, arXiv:2409.04701). Sentences behind what the encoder reads of a chunk are embedded on their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from groundtune.dataset.reading import sentences
from groundtune.nn.encoders import Vectors
from groundtune.records import Chunk

Way = Literal["embedded", "pooled"]


def heading_line(chunk: Chunk) -> str:
    """The document's name and the headings above a chunk: what tells near twins apart."""
    name = chunk.document.rsplit("/", 1)[-1].rsplit(".", 1)[0].replace("-", " ").replace("_", " ")
    return " > ".join(dict.fromkeys(p for p in (name, *chunk.heading.split(" > ")) if p))


def search_text(chunk: Chunk) -> str:
    """What is embedded and searched of a chunk."""
    return f"{heading_line(chunk)}\n{chunk.text}"


def chunk_sentences(chunk: Chunk) -> list[str]:
    """A chunk's sentences; a table row is one sentence."""
    return [chunk.text] if chunk.row is not None else sentences(chunk.text) or [chunk.text]


@dataclass(frozen=True, slots=True)
class Texts:
    """What is embedded of some chunks.

    Attributes:
        chunks: the chunks.
        whole: their search texts.
        split: the sentences of each.
    """

    chunks: Sequence[Chunk]
    whole: list[str]
    split: list[list[str]]

    @property
    def alone(self) -> list[str]:
        """Every sentence, chunk by chunk."""
        return [s for part in self.split for s in part]

    @property
    def behind(self) -> list[str]:
        """Every sentence behind its headings, chunk by chunk."""
        return [f"{heading_line(c)}: {s}" for c, part in zip(self.chunks, self.split, strict=True) for s in part]


def texts_of(chunks: Sequence[Chunk]) -> Texts:
    """What is embedded of these chunks."""
    return Texts(chunks, [search_text(c) for c in chunks], [chunk_sentences(c) for c in chunks])


def vectors_of(texts: Texts, embedder: Any, way: Way) -> Vectors:
    """Unit vectors of the chunks, then of all sentences alone, then of all behind their headings, one below the other."""
    if way == "pooled" and hasattr(embedder, "embed_parts"):
        return _pooled(texts, embedder)
    every = [*texts.whole, *texts.alone, *texts.behind]
    unique = list(dict.fromkeys(every))
    row = {text: n for n, text in enumerate(unique)}
    found: Vectors = embedder.embed(unique)[[row[text] for text in every]]
    return found


def _pooled(texts: Texts, embedder: Any) -> Vectors:
    parts = []
    for chunk, whole, split in zip(texts.chunks, texts.whole, texts.split, strict=True):
        headings = len(heading_line(chunk))
        spans, at = [], headings + 1
        for sentence in split:
            start = whole.find(sentence, at)
            start = start if start >= 0 else at  # its white space was put in order
            spans.append((start, start + len(sentence)))
            at = start + len(sentence)
        parts.append([[span] for span in spans] + [[(0, headings), span] for span in spans])
    whole, found = embedder.embed_parts(texts.whole, parts)
    alone = np.concatenate([f[: len(f) // 2] for f in found])
    behind = np.concatenate([f[len(f) // 2 :] for f in found])
    unread = np.flatnonzero(~alone.any(1))
    if len(unread):
        ways = (texts.alone, texts.behind)
        again = embedder.embed([names[n] for names in ways for n in unread])
        alone[unread], behind[unread] = again[: len(unread)], again[len(unread) :]
    return np.concatenate([whole, alone, behind])


def make_entries(
    chunks: Sequence[Chunk],
    store: Any,
    embedder: Any,
    way: Way = "embedded",
    kept: Callable[[Texts, Callable[[], Vectors]], Vectors] = lambda _, compute: compute(),
) -> list[Any]:
    """The store's entries of chunks.

    Args:
        chunks: of any documents.
        store: the store's module.
        embedder: see :class:`groundtune.retrieval.embedding.Embedder`.
        way: how sentences get their vectors.
        kept: gives the vectors of texts, from where it keeps them or computed.
    """
    texts = texts_of(chunks)
    vectors = kept(texts, lambda: vectors_of(texts, embedder, way))
    many = sum(map(len, texts.split))
    out, at = [], len(chunks)
    for n, (chunk, text, part) in enumerate(zip(chunks, texts.whole, texts.split, strict=True)):
        alone, behind = vectors[at : at + len(part)], vectors[at + many : at + many + len(part)]
        out.append(store.Entry(chunk, text, vectors[n], part, alone, behind))
        at += len(part)
    return out
