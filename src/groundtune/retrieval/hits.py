"""What retrieval gives: hits, and their sentences in the order of relevance. Searches nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from groundtune.records import Chunk, Source

#: what a chunk loses whose document or headings name another year than the question, or an older one than the newest
OTHER_YEAR = 0.04
#: share of words from which two sentences are versions of one
SAME = 0.6
#: of a hit's score, added to the similarity of its sentences
CHUNK_SHARE = 0.5
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")


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
    """A retrieved chunk.

    Attributes:
        chunk: the chunk.
        score: what it was ranked by.
        sentences: its sentences with their similarity to the question, in reading order.
        reranked: the reranker's own score, on its own scale; None where none looked at it.
        beside: id of the hit that it was handed on with, as its neighbour or of its section; empty for what was found.
    """

    chunk: Chunk
    score: float
    sentences: tuple[tuple[str, float], ...]
    reranked: float | None = None
    beside: str = ""


def less_for_other_years(hits: list[Hit], question: str) -> list[Hit]:
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


def rank_sentences(hits: list[Hit]) -> list[Sentence]:
    """The sentences of the hits, most relevant first, each text once."""
    found: dict[str, Sentence] = {}
    for rank, hit in enumerate(hits):
        for position, (text, similarity) in enumerate(hit.sentences):
            if any(c.isalnum() for c in text) and not (is_heading(text) and len(hit.sentences) > 1):
                sentence = Sentence(text, hit.chunk, similarity + CHUNK_SHARE * hit.score, rank, position)
                if text not in found or found[text].relevance < sentence.relevance:
                    found[text] = sentence
    return sorted(found.values(), key=lambda s: -s.relevance)


def is_heading(text: str) -> bool:
    """True for a few words without an end, as headings are; table rows, list items and what holds a number are not."""
    return text[-1].isalpha() and len(text.split()) <= 8 and text[0] not in "|-" and not any(c.isdigit() for c in text)


def to_source(hit: Hit, quote: str) -> Source:
    """A hit as a source that quotes one of its sentences."""
    return Source(hit.chunk.document, hit.chunk.id, hit.score, quote, page=hit.chunk.page, text=hit.chunk.text)
