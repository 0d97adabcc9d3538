"""Questions to chunks: a shortlist by reciprocal rank fusion, an exact score of what is on it, one step further by name.

Shortlist: the nearest chunks, the chunks of the nearest sentences (alone and behind their headings) and BM25, fused by
reciprocal rank (Cormack, Clarke and Buettcher, SIGIR 2009: sum over lists of 1 / (60 + rank)). Score: a fact is one
sentence of a chunk, so the best sentence counts most (maximum similarity over parts, as in ColBERT's MaxSim, Khattab
and Zaharia 2020, at the grain of sentences). Of two versions the newer one counts more, unless the question names a
year. Some answers need two passages ("dogs over 25 kg travel in Zone Amber", "Zone Amber has room for six"): a name that
the best sentences bring up and few chunks hold is looked up too, and the best such chunk takes the last place (bridging
entities, as in Asai et al., "Learning to Retrieve Reasoning Paths", ICLR 2020, without training). Weights and limits were
chosen on the example's training questions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from groundtune import registry
from groundtune.config import IndexConfig, RetrievalConfig
from groundtune.dataset.reading import STOP_WORDS
from groundtune.records import Chunk, Source
from groundtune.retrieval.embedding import Embedder
from groundtune.retrieval.restricted import restricted

RRF_K = 60
#: of the chunk's similarity, its best sentence's alone and behind its headings, and BM25 relative to the best
WEIGHTS = {"chunk": 0.25, "sentence": 0.40, "sentence_in_context": 0.35, "text": 0.10}
#: what a chunk loses whose document or headings name another year than the question, or an older one than the newest
OTHER_YEAR = 0.04
#: share of words from which two sentences are versions of one
SAME = 0.6
#: names are taken from so many of the best sentences, and followed where at most so many chunks hold them
HOP_SENTENCES, HOP_CHUNKS = 3, 10
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_NAME = re.compile(r"\b[A-Z][\w'-]*(?: (?:of |the )?(?:[A-Z][\w'-]*|\d+))+\b|\b[A-Z]+-?\d+\b")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a retrieved chunk.

    Attributes:
        text: the sentence.
        chunk: the chunk it stands in.
        relevance: similarity to the question, mean of alone and behind its headings, plus a share of its chunk's score.
        rank: of its chunk among the hits, from 0.
        position: in its chunk, from 0.
    """

    text: str
    chunk: Chunk
    relevance: float
    rank: int
    position: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved chunk with its score and its sentences' similarity to the question, in reading order."""

    chunk: Chunk
    score: float
    sentences: tuple[tuple[str, float], ...]


class Retriever:
    """Finds chunks in a built index.

    Args:
        folder: the artifact ``index``.
        index: how it was built.
        config: how to search.
        embedder: of the questions, the one that the index was made with; default: the registered one of that name.
    """

    def __init__(
        self, folder: Path, index: IndexConfig, config: RetrievalConfig, embedder: Embedder | None = None
    ) -> None:
        self.config = config
        self.embedder: Any = embedder or registry.get("embedders", index.embedder)
        self.store = restricted(registry.get("stores", index.store).Store(folder / "store"), config.where)
        self._vectors: dict[str, Any] = {}

    def embed_all(self, texts: list[str]) -> None:
        """Embed many questions in one go, so that the searches that follow find them done."""
        missing = [t for t in dict.fromkeys(texts) if t not in self._vectors]
        if missing:
            if len(self._vectors) > 10_000:
                self._vectors.clear()
            self._vectors.update(zip(missing, self.embedder.embed(missing), strict=True))

    def retrieve(self, question: str, *, document: str | None = None) -> list[Hit]:
        """The ``top_k`` chunks for a question, best first; only of ``document`` where given."""
        mode, wanted = self.config.mode, self.config.candidates
        lists: list[list[str]] = []
        bm25: dict[str, float] = {}
        self.embed_all([question])
        vector = self._vectors[question]
        if mode in ("hybrid", "vector"):
            lists.append(self.store.near_chunks(vector, wanted, document))
            lists += [self.store.near_sentences(vector, 2 * wanted, document, in_context=c) for c in (False, True)]
        if mode in ("hybrid", "text"):
            bm25 = dict(self.store.text_search(content_words(question), wanted, document))
            lists.append(list(bm25))
        fused: dict[str, float] = {}
        for found in lists:
            for rank, chunk_id in enumerate(found, 1):
                fused[chunk_id] = fused.get(chunk_id, 0.0) + 1.0 / (RRF_K + rank)
        shortlist = sorted(fused, key=lambda i: (-fused[i], i))[: max(wanted, self.config.top_k)]
        entries = self.store.entries(shortlist)
        best = max(bm25.values(), default=1.0)
        hits = _less_for_other_years(
            [self._hit(entries[i], vector, bm25.get(i, 0.0) / best) for i in shortlist], question
        )
        hits = sorted(hits, key=lambda h: (-h.score, h.chunk.id))[: self.config.top_k]
        further = self._one_step_further(hits, question, vector, document) if len(hits) > 2 else None
        return [*hits[: self.config.top_k - 1], further] if further else hits

    def _one_step_further(self, hits: list[Hit], question: str, vector: Any, document: str | None) -> Hit | None:
        """The best chunk that holds a name which the best sentences bring up and the question does not."""
        best = rank_sentences(hits)[:HOP_SENTENCES]
        names = dict.fromkeys(n for s in best for n in names_in(s.text) if n.lower() not in question.lower())
        known = {h.chunk.id for h in hits[: self.config.top_k - 1]}
        found: list[tuple[float, str, Any]] = []
        for name in names:
            entries = self.store.entries([i for i, _ in self.store.text_search(name, 3 * HOP_CHUNKS, document)])
            holding = {i: e for i, e in entries.items() if name in e.chunk.text}
            if len(holding) > HOP_CHUNKS:
                continue
            for id_, entry in holding.items():
                rows = [n for n, s in enumerate(entry.sentences) if name in s]
                if id_ not in known and rows:
                    both = entry.vectors[rows] @ vector + entry.context_vectors[rows] @ vector
                    found.append((float(both.max()), id_, entry))
        if not found:
            return None
        return self._hit(max(found, key=lambda f: f[:2])[2], vector, 0.0)

    def _hit(self, entry: Any, vector: Any, text: float) -> Hit:
        alone, behind = entry.vectors @ vector, entry.context_vectors @ vector
        score = WEIGHTS["text"] * text
        if self.config.mode != "text":
            score += WEIGHTS["chunk"] * float(entry.vector @ vector)
            score += WEIGHTS["sentence"] * float(alone.max()) + WEIGHTS["sentence_in_context"] * float(behind.max())
        sentences = tuple(zip(entry.sentences, ((alone + behind) / 2).tolist(), strict=True))
        return Hit(entry.chunk, score, sentences)


def _less_for_other_years(hits: list[Hit], question: str) -> list[Hit]:
    """The hits with ``OTHER_YEAR`` taken off where it applies; without a year they are as they were."""
    years = [_year(h.chunk) for h in hits]
    asked = _YEAR.findall(question) or [max(years, default="")]
    return [
        replace(h, score=h.score - OTHER_YEAR * bool(y and y not in asked)) for h, y in zip(hits, years, strict=True)
    ]


def _year(chunk: Chunk) -> str:
    return max(_YEAR.findall(f"{chunk.document} {chunk.heading}"), default="")


def valid_versions(ranked: list[Sentence], question: str) -> list[Sentence]:
    """The sentences without those that another says in nearly the same words for the year that counts.

    That is the year that the question names, or else the newer one: of "24 days in 2024" and "27 days in 2026" a reader
    should see one.
    """
    asked = _YEAR.findall(question)
    words = [set(re.findall(r"[^\W\d]+", s.text.lower())) for s in ranked]
    years = [_year(s.chunk) for s in ranked]

    def counts(year: str) -> tuple[bool, str]:
        return year in asked, year

    def replaced(n: int) -> bool:
        return any(
            years[m]
            and counts(years[m]) > counts(years[n])
            and len(words[n] & words[m]) >= SAME * len(words[n] | words[m])
            for m in range(len(ranked))
        )

    return [s for n, s in enumerate(ranked) if not (years[n] and replaced(n))]


def names_in(text: str) -> list[str]:
    """Names of several words, and codes such as K4, without the little word a sentence begins with."""
    found = []
    for match in _NAME.finditer(text):
        words = match[0].split()
        words = words[1:] if words[0].lower() in STOP_WORDS | {"each", "every"} else words
        if len(words) > 1 or any(c.isdigit() for c in "".join(words)):
            found.append(" ".join(words))
    return found


def rank_sentences(hits: list[Hit]) -> list[Sentence]:
    """The sentences of the hits, most relevant first, each text once."""
    found: dict[str, Sentence] = {}
    for rank, hit in enumerate(hits):
        for position, (text, similarity) in enumerate(hit.sentences):
            if any(c.isalnum() for c in text) and not (is_heading(text) and len(hit.sentences) > 1):
                sentence = Sentence(text, hit.chunk, similarity + 0.5 * hit.score, rank, position)
                if text not in found or found[text].relevance < sentence.relevance:
                    found[text] = sentence
    return sorted(found.values(), key=lambda s: -s.relevance)


def is_heading(text: str) -> bool:
    """True for a few words without an end, as headings are; table rows, list items and what holds a number are not."""
    return text[-1].isalpha() and len(text.split()) <= 8 and text[0] not in "|-" and not any(c.isdigit() for c in text)


def to_source(hit: Hit, quote: str) -> Source:
    """A hit as a source that quotes one of its sentences."""
    return Source(hit.chunk.document, hit.chunk.id, hit.score, quote, page=hit.chunk.page, text=hit.chunk.text)


def content_words(text: str) -> str:
    """The words of a text without stop words; all of them where nothing else is left."""
    words = "".join(c if c.isalnum() else " " for c in text).split()
    return " ".join([w for w in words if w.lower() not in STOP_WORDS] or words)
