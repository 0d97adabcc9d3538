"""Runs of sentences about one thing: cut where neighbouring sentences are least alike, or the chunk is full.

After Kamradt, "5 Levels of Text Splitting" (2023): neighbours' similarities of a section below their lower quartile are
borders. Departs from it: a chunk is first filled to a quarter of its size, so that no border leaves a scrap. Embeds every
sentence once while cutting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from groundtune.dataset.reading import sentences
from groundtune.records import Section
from groundtune.retrieval.chunkers._limits import Limits
from groundtune.retrieval.chunkers.sentence import joined, split_long

#: similarities below this quantile are borders; least share of a chunk that is filled before one counts
QUANTILE, LEAST = 0.25, 0.25


def cut(sections: Iterable[Section], limits: Limits) -> Iterator[Section]:
    """Each section's runs of sentences that are alike."""
    for section in sections:
        pieces = [p for s in sentences(section.text) for p in split_long(s, limits.count, limits.chunk_tokens)]
        if not pieces:
            continue
        vectors = np.asarray(limits.embed(pieces))
        alike = (vectors[:-1] * vectors[1:]).sum(1)
        border = float(np.quantile(alike, QUANTILE)) if len(alike) else -1.0
        run, size = [pieces[0]], limits.count(pieces[0])
        for piece, similarity in zip(pieces[1:], alike, strict=True):
            tokens = limits.count(piece)
            full = size + tokens > limits.chunk_tokens
            if full or (similarity < border and size >= LEAST * limits.chunk_tokens):
                yield replace(section, text=joined(run))
                run, size = [], 0
            run.append(piece)
            size += tokens
        yield replace(section, text=joined(run))
