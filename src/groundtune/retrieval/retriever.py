"""Questions to chunks: vectors and full text, fused by reciprocal rank; then the sentences of those chunks that matter.

Reciprocal rank fusion: Cormack, Clarke and Buettcher, SIGIR 2009; score = sum over lists of 1 / (60 + rank).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from groundtune import registry
from groundtune.config import IndexConfig, RetrievalConfig
from groundtune.dataset.reading import STOP_WORDS, sentences
from groundtune.records import Chunk, Source
from groundtune.retrieval.index import search_text

RRF_K = 60


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved chunk: its fused score, and the cosine similarity of its vector (0 where full text alone found it)."""

    chunk: Chunk
    score: float
    similarity: float


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a retrieved chunk with its relevance to the question (0 to 1) and the chunk's rank from 0."""

    text: str
    chunk: Chunk
    relevance: float
    rank: int
    position: int


class Retriever:
    """Finds chunks in a built index.

    Args:
        folder: the artifact ``index``.
        index: how it was built.
        config: how to search.
    """

    def __init__(self, folder: Path, index: IndexConfig, config: RetrievalConfig) -> None:
        self.config = config
        self.embedder = registry.get("embedders", index.embedder)
        self.store = registry.get("stores", index.store).Store(folder / "store")
        self._vectors: dict[str, Any] = {}

    def embed_all(self, texts: list[str]) -> None:
        """Embed many texts in one go, so that the searches that follow find them done."""
        missing = [t for t in dict.fromkeys(texts) if t not in self._vectors]
        if missing:
            if len(self._vectors) > 20_000:
                self._vectors.clear()
            self._vectors.update(zip(missing, self.embedder.embed(missing), strict=True))

    def _vector(self, text: str) -> Any:
        self.embed_all([text])
        return self._vectors[text]

    def retrieve(self, question: str, *, document: str | None = None) -> list[Hit]:
        """The ``top_k`` chunks for a question, best first; only of ``document`` where given."""
        wanted = self.config.candidates
        lists: list[list[tuple[Chunk, float]]] = []
        near: list[tuple[Chunk, float]] = []
        if self.config.mode in ("hybrid", "vector"):
            near = self.store.vector_search(self._vector(question), wanted, document)
            lists.append(near)
        if self.config.mode in ("hybrid", "text"):
            lists.append(self.store.text_search(_content_words(question), wanted, document))
        similarity = {c.id: s for c, s in near}
        fused: dict[str, float] = {}
        chunks: dict[str, Chunk] = {}
        for found in lists:
            for rank, (chunk, _) in enumerate(found, 1):
                chunks[chunk.id] = chunk
                fused[chunk.id] = fused.get(chunk.id, 0.0) + 1.0 / (RRF_K + rank)
        best = sorted(fused, key=lambda i: (-fused[i], i))[: self.config.top_k]
        return [Hit(chunks[i], fused[i], similarity.get(i, 0.0)) for i in best]

    def rank_sentences(self, question: str, hits: list[Hit]) -> list[Sentence]:
        """The sentences of the hits, most relevant first: similarity in context, plus words shared with the question."""
        found: list[tuple[str, Hit, int, int]] = []
        seen: set[str] = set()
        for rank, hit in enumerate(hits):
            for position, text in enumerate(chunk_sentences(hit.chunk)):
                if text not in seen and any(c.isalnum() for c in text):
                    seen.add(text)
                    found.append((text, hit, rank, position))
        if not found:
            return []
        contexts = [search_text(Chunk(h.chunk.id, h.chunk.document_id, h.chunk.document, t, heading=h.chunk.heading), "") for t, h, _, _ in found]
        self.embed_all([question, *contexts])
        similarities = np.stack([self._vectors[c] for c in contexts]) @ self._vector(question)
        words = set(_content_words(question).lower().split())
        out = []
        for (text, hit, rank, position), context, similarity in zip(found, contexts, similarities, strict=True):
            shared = len(words & set(_content_words(context).lower().split())) / max(1, len(words))
            out.append(Sentence(text, hit.chunk, float(similarity) + 0.25 * shared - 0.02 * rank, rank, position))
        return sorted(out, key=lambda s: -s.relevance)


def chunk_sentences(chunk: Chunk) -> list[str]:
    """A chunk's sentences; a table row is one sentence."""
    return [chunk.text] if chunk.row is not None else sentences(chunk.text)


def to_source(hit: Hit, quote: str) -> Source:
    """A hit as a source that quotes one of its sentences."""
    return Source(hit.chunk.document, hit.chunk.id, hit.score, quote, page=hit.chunk.page, text=hit.chunk.text)


def _content_words(text: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in text).split()
    kept = [w for w in words if w.lower() not in STOP_WORDS]
    return " ".join(kept or words)
