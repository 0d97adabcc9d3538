"""The document's own units: a section below one heading, or several short ones; a long one is cut between paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

from groundtune.records import Section
from groundtune.retrieval.chunkers._limits import Limits
from groundtune.retrieval.chunkers.sentence import chunk_text


def cut(sections: Iterable[Section], limits: Limits) -> Iterator[Section]:
    """Paragraphs of one heading and page, as many as fit; a row of a table stays alone; a long paragraph is cut between sentences."""
    for (page, row, heading), group in groupby(sections, key=lambda s: (s.page, s.row, s.heading)):
        place = Section("", page, row, heading)
        if row is not None:
            for section in group:
                yield from _pieces(section, limits)
            continue
        waiting, size = "", 0
        for paragraph in (p for section in group for p in re.split(r"\n\s*\n", section.text) if p.strip()):
            tokens = limits.count(paragraph)
            if waiting and size + tokens > limits.chunk_tokens:
                yield replace(place, text=waiting)
                waiting, size = "", 0
            if tokens > limits.chunk_tokens:
                yield from _pieces(replace(place, text=paragraph), limits)
            else:
                waiting, size = f"{waiting}\n\n{paragraph}" if waiting else paragraph, size + tokens
        if waiting:
            yield replace(place, text=waiting)


def _pieces(section: Section, limits: Limits) -> Iterator[Section]:
    """A section in runs of sentences without overlap."""
    for text in chunk_text(section.text, count=limits.count, chunk_tokens=limits.chunk_tokens, overlap_tokens=0):
        yield replace(section, text=text)
