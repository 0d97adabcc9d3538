"""Neighbours and sections: what stands beside a hit in its document."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from groundtune.records import Chunk
from groundtune.retrieval.around import SECTION_CHUNKS, around

#: twelve chunks, the section "B" from 2 to 9
CHUNKS = [
    Chunk(f"doc-7-{n}", "doc-7", "d.txt", f"text {n}", heading="A" if n < 2 else "B" if n < 10 else "C")
    for n in range(12)
]


def entries(ids: Sequence[str]) -> dict[str, Any]:
    return {c.id: SimpleNamespace(chunk=c) for c in CHUNKS if c.id in ids}


def beside(number: int, *, neighbours: int = 0, parents: bool = False) -> list[int]:
    found = around(CHUNKS[number], entries, neighbours=neighbours, parents=parents)
    return [int(e.chunk.id.rpartition("-")[2]) for e in found]


@pytest.mark.parametrize(
    ("number", "neighbours", "parents", "expected"),
    [
        (5, 0, False, []),
        (5, 2, False, [3, 4, 6, 7]),
        (0, 2, False, [1, 2]),
        (11, 1, False, [10]),
        (3, 0, True, [2, 4, 5, 6, 7]),
        (9, 1, True, [5, 6, 7, 8, 10]),
    ],
)
def test_what_stands_beside(number: int, neighbours: int, parents: bool, expected: list[int]) -> None:
    assert beside(number, neighbours=neighbours, parents=parents) == expected
    assert SECTION_CHUNKS == 4


def test_an_id_without_a_number_has_no_neighbours() -> None:
    assert around(Chunk("whole", "d", "d", "t"), entries, neighbours=3, parents=True) == []
