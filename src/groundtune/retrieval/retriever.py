"""Questions to chunks: a shortlist by reciprocal rank fusion, an exact score of what is on it, one step further by name.

Shortlist: the nearest chunks, the chunks of the nearest sentences (alone and behind their headings) and BM25, of the
question and of every further wording of it (:mod:`groundtune.retrieval.fusion`). Score: a fact is one sentence of a chunk,
so the best sentence counts most (maximum similarity over parts, as in ColBERT's MaxSim, Khattab and Zaharia 2020, at the
grain of sentences), and words that question and chunk share count beside it. Of two versions the newer one counts more,
unless the question names a year. By choice: feedback and smoothing (:mod:`.feedback`), a reranker (:mod:`.reranking`),
diversity (:mod:`.diversity`), chunks around a hit (:mod:`.around`), and refusal (:mod:`.refusal`).

Some answers need two passages ("dogs over 25 kg travel in Zone Amber", "Zone Amber has room for six"): a name that
the best sentences bring up and few chunks hold is looked up too, and the best such chunk takes the last place (bridging
entities, as in Asai et al., "Learning to Retrieve Reasoning Paths", ICLR 2020, without training). Weights and limits were
chosen on the example's training questions and on questions mined from other documents: docs/retrieval.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from groundtune import registry
from groundtune.config import IndexConfig, RetrievalConfig
from groundtune.retrieval.around import around
from groundtune.retrieval.diversity import diverse
from groundtune.retrieval.embedding import Embedder
from groundtune.retrieval.feedback import likeness, nearer, smoothed
from groundtune.retrieval.fusion import best_first, reciprocal_rank, relative
from groundtune.retrieval.hits import (
    Hit,
    Sentence,
    is_heading,
    less_for_other_years,
    rank_sentences,
    to_source,
    valid_versions,
)
from groundtune.retrieval.refusal import Calibration
from groundtune.retrieval.reranking import Reranker, reranked
from groundtune.retrieval.restricted import restricted
from groundtune.retrieval.stores._entry import Terms
from groundtune.retrieval.words import content_words, is_stop, spoken

__all__ = [
    "Hit",
    "Retriever",
    "Sentence",
    "content_words",
    "is_heading",
    "names_in",
    "rank_sentences",
    "to_source",
    "valid_versions",
]

#: share of the best sentence alone in what sentences count (1 - `retrieval.chunk_weight`); the rest is behind its headings
ALONE = 0.40 / 0.75
#: names are taken from so many of the best sentences, and followed where at most so many chunks hold them
HOP_SENTENCES, HOP_CHUNKS = 3, 10
_NAME = re.compile(r"\b[A-Z][\w'-]*(?: (?:of |the )?(?:[A-Z][\w'-]*|\d+))+\b|\b[A-Z]+-?\d+\b")


@dataclass(frozen=True, slots=True)
class _Wording:
    """One text that is searched for.

    Attributes:
        vector: its vector, (dimensions,).
        bm25: chunks found by its words, with their score as a share of the best one's.
        weight: of that share.
    """

    vector: Any
    bm25: Mapping[str, float]
    weight: float = 0.0


class Retriever:
    """Finds chunks in a built index.

    Args:
        folder: the artifact ``index``.
        index: how it was built.
        config: how to search.
        embedder: of the questions, the one that the index was made with; default: the registered one of that name.
        reranker: what ``config.reranker`` names; :func:`groundtune.retrieval.reranking.open_reranker` opens it.
        calibration: what makes a confidence of scores, and from which one on a question is answered; default: the
            shipped weights, which refuse nothing.
    """

    def __init__(
        self,
        folder: Path,
        index: IndexConfig,
        config: RetrievalConfig,
        embedder: Embedder | None = None,
        *,
        reranker: Reranker | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.config = config
        self.embedder: Any = embedder or registry.get("embedders", index.embedder)
        self.store = restricted(registry.get("stores", index.store).Store(folder / "store"), config.where)
        self.reranker = reranker
        self.calibration = calibration or Calibration()
        self._vectors: dict[str, Any] = {}
        self._terms = Terms(folder / "store")
        self._languages = self._terms.words.languages

    def embed_all(self, texts: Sequence[str]) -> dict[str, Any]:
        """Embed many questions in one go, so that the searches that follow find them done; each text's vector, (dimensions,)."""
        found = {t: v for t in texts if (v := self._vectors.get(t)) is not None}
        missing = [t for t in dict.fromkeys(texts) if t not in found]
        if missing:
            if len(self._vectors) > 10_000:  # a search under way in another thread has its own in hand
                self._vectors.clear()
            fresh = dict(zip(missing, self.embedder.embed(missing), strict=True))
            self._vectors.update(fresh)
            found |= fresh
        return found

    def retrieve(
        self, question: str, *, document: str | None = None, also: Sequence[str] = (), without: Collection[str] = ()
    ) -> list[Hit]:
        """The ``top_k`` chunks for a question, best first, then what the settings hand on around them.

        Args:
            question: the user's words.
            document: look only in this one.
            also: further wordings, or texts such as an answer might stand in; a chunk's score is the mean over all.
            without: ids of chunks that count as not there.
        """
        texts = list(dict.fromkeys([question, *also]))
        vectors = self.embed_all(texts)
        found = self._scored(texts, vectors, document, frozenset(without))
        hits = [hit for hit, _ in found[: self.config.top_k]]
        if self.config.diversity and len(found) > 1:
            scores, of_hits = [h.score for h, _ in found], [e.vector for _, e in found]
            hits = [found[n][0] for n in diverse(scores, of_hits, self.config.top_k, self.config.diversity)]
        vector = vectors[question]
        further = self._one_step_further(hits, question, vector, document, without) if len(hits) > 2 else None
        hits = [*hits[: self.config.top_k - 1], further] if further else hits
        return [*hits, *self._around(hits, vector, without)]

    def confidence(self, question: str, hits: Sequence[Hit]) -> float:
        """How likely it is, from 0 to 1, that the hits answer the question; see :mod:`groundtune.retrieval.refusal`."""
        return self.calibration.confidence(question, hits)

    def refuses(self, question: str, hits: Sequence[Hit]) -> bool:
        """True when the documents seem not to answer: ``retrieval.refuse_below``, or else the calibration, decides."""
        least = self.config.refuse_below
        least = self.calibration.refuse_below if least is None else least
        return least > 0 and self.confidence(question, hits) < least

    def _scored(
        self, texts: Sequence[str], vectors: Mapping[str, Any], document: str | None, without: Collection[str]
    ) -> list[tuple[Hit, Any]]:
        """Every candidate with the store's entry of it, best first; the first of the texts is the question."""
        wanted = self.config.candidates
        lists: list[list[str]] = []
        wordings: list[_Wording] = []
        for text in texts:
            wording, found = self._searched(text, vectors[text], document, without)
            wordings.append(wording)
            lists += found
        shortlist = best_first(reciprocal_rank(lists), max(wanted, self.config.top_k))
        entries = self.store.entries(shortlist)
        if self.config.feedback and self.config.mode != "text":
            first = sorted(shortlist, key=lambda i: -self._score(entries[i], wordings))[: self.config.feedback]
            moved = [nearer(w.vector, [entries[i].vector for i in first]) for w in wordings]
            lists += [self._kept(self.store.near_chunks(v, wanted + len(without), document), without) for v in moved]
            shortlist = best_first(reciprocal_rank(lists), max(wanted, self.config.top_k))
            entries |= self.store.entries([i for i in shortlist if i not in entries])
        else:
            moved = [w.vector for w in wordings]
        scores = [self._score(entries[i], wordings, moved) for i in shortlist]
        if self.config.smoothing:
            listed = [entries[i] for i in shortlist]
            near = likeness([e.vector for e in listed], [self._terms.of_chunk(e) for e in listed])
            scores = smoothed(scores, near, self.config.smoothing)
        hits = [_hit(entries[i], wordings[0].vector, score) for i, score in zip(shortlist, scores, strict=True)]
        hits = sorted(less_for_other_years(hits, texts[0]), key=lambda h: (-h.score, h.chunk.id))
        if self.reranker is not None:
            hits = reranked(self.reranker, texts[0], hits, self.config.rerank_candidates, self.config.rerank_weight)
        return [(hit, entries[hit.chunk.id]) for hit in hits]

    def _searched(
        self, text: str, vector: Any, document: str | None, without: Collection[str]
    ) -> tuple[_Wording, list[list[str]]]:
        """A wording with the ranked lists that it finds."""
        mode, wanted = self.config.mode, self.config.candidates
        lists: list[list[str]] = []
        bm25: dict[str, float] = {}
        if mode in ("hybrid", "vector"):
            lists.append(self.store.near_chunks(vector, wanted + len(without), document))
            lists += [
                self.store.near_sentences(vector, 2 * wanted + 8 * len(without), document, in_context=c)
                for c in (False, True)
            ]
        if mode in ("hybrid", "text"):
            found = self.store.text_search(text, wanted + len(without), document)
            bm25 = relative({id_: score for id_, score in found if id_ not in without})
            lists.append(list(bm25))
        return _Wording(vector, bm25, self._text_weight(text)), [self._kept(found, without) for found in lists]

    def _text_weight(self, text: str) -> float:
        """What shared words weigh: more in a language that the embedder was not trained on."""
        knows = getattr(self.embedder, "LANGUAGES", self._languages)
        asked = self._languages if set(self._languages) <= set(knows) else spoken(text, self._languages)
        return self.config.text_weight if set(asked) & set(knows) else self.config.text_weight_foreign

    @staticmethod
    def _kept(ids: Sequence[str], without: Collection[str]) -> list[str]:
        return [i for i in ids if i not in without]

    def _score(self, entry: Any, wordings: Sequence[_Wording], moved: Sequence[Any] | None = None) -> float:
        """The mean over wordings of what a chunk is worth; ``moved`` are their vectors after feedback."""
        total = 0.0
        for n, wording in enumerate(wordings):
            text = wording.bm25.get(entry.chunk.id, 0.0)
            if self.config.mode == "text":
                total += text
                continue
            alone, behind = entry.vectors @ wording.vector, entry.context_vectors @ wording.vector
            sentence = ALONE * float(alone.max()) + (1 - ALONE) * float(behind.max())
            whole, share = float(entry.vector @ (moved[n] if moved else wording.vector)), self.config.chunk_weight
            total += share * whole + (1 - share) * sentence + wording.weight * text
        return total / len(wordings)

    def _around(self, hits: Sequence[Hit], vector: Any, without: Collection[str]) -> list[Hit]:
        """Neighbours and sections of the hits, each chunk once, at its hit's score."""
        known = {h.chunk.id for h in hits} | set(without)
        out: list[Hit] = []
        for hit in hits:
            for entry in around(
                hit.chunk, self.store.entries, neighbours=self.config.neighbours, parents=self.config.parents
            ):
                if entry.chunk.id not in known:
                    known.add(entry.chunk.id)
                    out.append(replace(_hit(entry, vector, hit.score), beside=hit.chunk.id))
        return out

    def _one_step_further(
        self, hits: list[Hit], question: str, vector: Any, document: str | None, without: Collection[str]
    ) -> Hit | None:
        """The best chunk that holds a name which the best sentences bring up and the question does not."""
        best = rank_sentences(hits)[:HOP_SENTENCES]
        names = dict.fromkeys(
            n for s in best for n in names_in(s.text, self._languages) if n.lower() not in question.lower()
        )
        known = {h.chunk.id for h in hits[: self.config.top_k - 1]} | set(without)
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
        entry = max(found, key=lambda f: f[:2])[2]
        return _hit(entry, vector, self._score(entry, [_Wording(vector, {})]))


def _hit(entry: Any, vector: Any, score: float) -> Hit:
    similarities = (entry.vectors @ vector + entry.context_vectors @ vector) / 2
    return Hit(entry.chunk, score, tuple(zip(entry.sentences, similarities.tolist(), strict=True)))


def names_in(text: str, languages: Sequence[str] = ("en",)) -> list[str]:
    """Names of several words, and codes such as K4, without the little word of these languages a sentence begins with."""
    found = []
    for match in _NAME.finditer(text):
        words = match[0].split()
        first = words[0].lower()
        words = words[1:] if first in {"each", "every"} or any(is_stop(first, code) for code in languages) else words
        if len(words) > 1 or any(c.isdigit() for c in "".join(words)):
            found.append(" ".join(words))
    return found
