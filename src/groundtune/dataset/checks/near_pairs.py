"""Every pair of nearly equal texts of a large set, found at once: sketches in one array, sorted band by band.

``dedup.NearDuplicates`` keeps the first of each kind only, which is right for dropping later ones; what belongs together
must be found between any two rows. Sketches and thresholds are ``dedup``'s; 280 bytes a text.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

from groundtune.dedup.near import rows_for
from groundtune.dedup.signatures import SLOTS, Signature, signature_of

_BATCH = 1024
_PART = 16_384


class NearPairs:
    """Takes texts in, row by row, and then gives the pairs.

    Args:
        threshold: least Jaccard similarity, as in ``dedup.NearDuplicates``.
    """

    def __init__(self, threshold: float = 0.8) -> None:
        self._threshold = threshold
        self._exact, self._numbers = array("Q"), array("Q")
        self._owners = array("I")  # the row that a sketch is of: a text at the border of short and long has two
        self._sketches = bytearray()  # grows in place, where joined arrays would need twice the memory
        self._waiting: list[bytes] = []

    def __len__(self) -> int:
        return len(self._exact)

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        return len(self._exact) * 16 + len(self._owners) * (4 + 2 * SLOTS)

    def add(self, text: str) -> None:
        """The text of the next row."""
        self.add_signature(signature_of(text))

    def add_signature(self, signature: Signature) -> None:
        """The same, for a text whose signature is known."""
        row = len(self._exact)
        self._exact.append(signature.exact)
        self._numbers.append(signature.numbers)
        for sketch in (signature.slots, signature.other):
            if sketch:
                self._owners.append(row)
                self._waiting.append(sketch)
        if len(self._waiting) >= _BATCH:
            self._fold()

    def _fold(self) -> None:
        """The waiting sketches at 16 bits a slot."""
        import numpy as np

        if self._waiting:
            wide = np.frombuffer(b"".join(self._waiting), dtype="<u4").reshape(-1, SLOTS)
            self._sketches += (wide ^ (wide >> 16)).astype("<u2").tobytes()
            self._waiting = []

    def pairs(self) -> tuple[Any, Any, Any, Any]:
        """Arrays (row, earlier row, similarity, exact): a later row with an earlier one that has the same numbers.

        Of a set of alike rows not every pair is given, but enough to link them all: each with the first of its band
        and with the one before it.
        """
        import numpy as np

        self._fold()
        if not self._sketches:
            nothing = np.zeros(0, dtype=np.int64)
            return nothing, nothing, nothing.astype(np.float64), nothing.astype(np.bool_)
        sketches = np.frombuffer(self._sketches, dtype="<u2").reshape(-1, SLOTS)
        codes = np.zeros(0, dtype=np.int64)  # row * count + earlier row
        alike = np.zeros(0)
        for left, right in self._candidates(sketches):
            for start in range(0, len(left), _PART):
                new = self._judged(sketches, left[start : start + _PART], right[start : start + _PART])
                codes, at = np.unique(np.concatenate([codes, new[0]]), return_index=True)
                alike = np.concatenate([alike, new[1]])[at]
        later, earlier = codes // len(self), codes % len(self)
        exact = np.frombuffer(self._exact, dtype="u8")
        return later, earlier, alike, exact[later] == exact[earlier]

    def _candidates(self, sketches: Any) -> Iterator[tuple[Any, Any]]:
        """Sketches that share a band: each with the first of the band's run and with its predecessor there."""
        import numpy as np

        rows = rows_for(self._threshold)
        odd = np.arange(1, rows + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) | np.uint64(1)
        for band in range(SLOTS // rows):
            keys = np.zeros(len(sketches), dtype=np.uint64)
            for slot in range(rows):
                keys = (keys ^ sketches[:, band * rows + slot]) * odd[slot]
                keys ^= keys >> np.uint64(29)
            order = np.argsort(keys, kind="stable")
            ordered = keys[order]
            same = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1  # places that continue a run
            if not len(same):
                continue
            starts = np.ones(len(ordered), dtype=np.bool_)
            starts[same] = False
            first = np.maximum.accumulate(np.where(starts, np.arange(len(ordered)), 0))
            yield order[same], order[same - 1]
            further = same[first[same] != same - 1]
            yield order[further], order[first[further]]

    def _judged(self, sketches: Any, left: Any, right: Any) -> tuple[Any, Any]:
        """Of pairs of sketches those that are alike: (row * count + earlier row, similarity)."""
        import numpy as np

        owners = np.frombuffer(self._owners, dtype="u4")
        numbers = np.frombuffer(self._numbers, dtype="u8")
        a, b = owners[left].astype(np.int64), owners[right].astype(np.int64)
        kept = (a != b) & (numbers[a] == numbers[b])
        left, right, a, b = left[kept], right[kept], a[kept], b[kept]
        similarity = (sketches[left] == sketches[right]).mean(axis=1)
        enough = similarity >= self._threshold
        return np.maximum(a, b)[enough] * len(self) + np.minimum(a, b)[enough], similarity[enough]
