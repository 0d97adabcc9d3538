"""What is handed on around a hit: the chunks before and after it, or the whole section it stands in.

Small chunks are found best, larger passages are understood best ("small to big", as LlamaIndex calls it). A chunk's id
ends in its number within the document, so its neighbours are known without a search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from groundtune.records import Chunk

#: chunks of a section on each side of a hit; a longer section is handed on in part
SECTION_CHUNKS = 4

#: ids -> what the store holds of them; ids that are none are left out
Entries = Callable[[Sequence[str]], Mapping[str, Any]]


def around(chunk: Chunk, entries: Entries, *, neighbours: int, parents: bool) -> list[Any]:
    """The store's entries around a chunk, in reading order, without the chunk's own.

    Args:
        chunk: the hit's.
        entries: looks ids up.
        neighbours: chunks before and after it.
        parents: every chunk of its section, too: those next to it of the same page and headings.
    """
    stem, _, number = chunk.id.rpartition("-")
    if not number.isdigit() or not (neighbours or parents):
        return []
    at, reach = int(number), max(neighbours, SECTION_CHUNKS if parents else 0)
    wanted = {at + step * way: f"{stem}-{at + step * way}" for way in (-1, 1) for step in range(1, reach + 1)}
    found = entries([id_ for n, id_ in wanted.items() if n >= 0])
    kept: list[tuple[int, Any]] = []
    for way in (-1, 1):
        same = True
        for step in range(1, reach + 1):
            entry = found.get(wanted[at + step * way])
            if entry is None or entry.chunk.document_id != chunk.document_id:
                break
            same = same and (entry.chunk.heading, entry.chunk.page) == (chunk.heading, chunk.page)
            if step <= neighbours or (parents and same):
                kept.append((at + step * way, entry))
    return [entry for _, entry in sorted(kept, key=lambda k: k[0])]
