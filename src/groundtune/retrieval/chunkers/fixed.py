"""Windows of a fixed number of tokens, cut between words wherever they fall, with overlap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from groundtune.records import Section
from groundtune.retrieval.chunkers._limits import Limits
from groundtune.retrieval.chunkers.sentence import split_long


def cut(sections: Iterable[Section], limits: Limits) -> Iterator[Section]:
    """Each section's windows; the last one may be shorter."""
    overlap = min(limits.overlap_tokens, limits.chunk_tokens // 2)
    for section in sections:
        words = [
            (piece, limits.count(piece))
            for word in section.text.split()
            for piece in split_long(word, limits.count, limits.chunk_tokens)
        ]
        start = 0
        while start < len(words):
            end, size = start, 0
            while end < len(words) and size + words[end][1] <= limits.chunk_tokens:
                size += words[end][1]
                end += 1
            yield replace(section, text=" ".join(word for word, _ in words[start:end]))
            if end == len(words):
                break
            start, back = end, 0
            while start > 0 and back + words[start - 1][1] <= overlap:
                start -= 1
                back += words[start][1]
