"""An index of signatures, to find the earlier texts that a new one is like; for a million texts and more.

rensa's own index takes about 1,500 bytes a text, so the banded index (Leskovec et al., Mining of Massive Datasets,
section 3.4) is ours, about 500 bytes a text: signatures in one array, and for each band a table of chains through it.
Every candidate is verified by its signature. Shapes: Q texts looked up, N texts held, B bands, S slots.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from groundtune.dedup.signatures import SLOTS, Signature, signature_of

Key = TypeVar("Key", bound=Hashable)
Left = TypeVar("Left", bound=Hashable)

_BATCH = 1024
#: most earlier texts looked at in one bucket; one that is fuller is counted as crowded
_DEPTH = 24
_RECALL = 0.99
_ODD = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Near(Generic[Key, Left]):
    """A text that is like an earlier one.

    Attributes:
        key: the text's key.
        earlier: the key of the most similar earlier text; of equal ones, the first.
        similarity: estimated Jaccard similarity (standard error at most 0.035 at 0.8); 1.0 where ``exact``.
        exact: their normalised texts are equal.
        same_numbers: they have the same numbers in the same order. Where not, they may be near twins, such as last
            year's rules and this year's, and no duplicates.
    """

    key: Key
    earlier: Left
    similarity: float
    exact: bool
    same_numbers: bool


def rows_for(threshold: float) -> int:
    """Slots in a band: the most with which a pair at the threshold shares a band with a chance of 99 %.

    Raises:
        ValueError: the threshold is not above 0 and at most 1.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold {threshold} is not above 0 and at most 1")
    fitting = (r for r in range(16, 1, -1) if 1 - (1 - threshold**r) ** (SLOTS // r) >= _RECALL)
    return next(fitting, 1)


class NearDuplicates(Generic[Key]):
    """Texts by which later ones are judged.

    Similarities are estimated: of pairs within 0.05 of the threshold some fall to the other side; above that, 99 % and
    more are found.

    Args:
        threshold: least Jaccard similarity of word 3-shingles (of 4-character shingles for texts under 16 words).
            A lower one takes more memory: about 500 bytes a text at 0.8, 1,000 at 0.5.

    Attributes:
        crowded: look-ups that met a bucket of more than 24 texts and left its oldest out. Many of them say that most
            texts share a long template, which is better not handed in.
    """

    def __init__(self, threshold: float = 0.8) -> None:
        self.threshold = threshold
        self.crowded = 0
        self._index = _Index(rows_for(threshold))
        self._keys: list[Key] = []

    def __len__(self) -> int:
        """Texts held."""
        return len(self._keys)

    @property
    def size_bytes(self) -> int:
        """Memory of the index, without the keys themselves."""
        return self._index.size_bytes + 8 * len(self._keys)

    def add(self, key: Key, text: str) -> Near[Key, Key] | None:
        """The earlier text that this one is like; where there is none, the text is held and None is returned."""
        return self.add_signature(key, signature_of(text))

    def add_signature(self, key: Key, signature: Signature) -> Near[Key, Key] | None:
        """As :meth:`add`, for a text whose signature is known."""
        return next(self._add([(key, signature)]), None)

    def add_all(self, items: Iterable[tuple[Key, str]]) -> Iterator[Near[Key, Key]]:
        """As :meth:`add` for each item in turn, faster: yields those like an earlier one, holds the others."""
        for batch in _batches(items):
            yield from self._add(batch)

    def hold(self, items: Iterable[tuple[Key, str]], *, every: bool = False) -> None:
        """Hold every item, whether or not it is like an earlier one.

        Args:
            every: exact duplicates too; else of those in a row only the first.
        """
        for batch in _batches(items):
            if every:
                self._insert(batch)
                continue
            unlike = dict.fromkeys(signature.exact for _, signature in batch)
            first = {s.exact: (k, s) for k, s in reversed(batch)}
            self._insert([first[exact] for exact in unlike])

    def like(self, items: Iterable[tuple[Left, str]], *, every: bool = False) -> Iterator[Near[Left, Key]]:
        """The items that are like a held text; holds none of them.

        Args:
            every: each item with every held text that it is like, the most similar first; else with that one only.
        """
        for batch in _batches(items):
            found = self._index.nearest([s for _, s in batch], self.threshold)
            self.crowded += found.crowded
            for at, matches in sorted(found.matches.items()):
                for match in matches if every else matches[:1]:
                    yield self._near(batch[at][0], batch[at][1], self._index, match, self._keys.__getitem__)

    def similar(self, key: Left, signature: Signature) -> list[Near[Left, Key]]:
        """Every held text that this one is like, the most similar first; it is not held."""
        found = self._index.nearest([signature], self.threshold)
        self.crowded += found.crowded
        return [
            self._near(key, signature, self._index, match, self._keys.__getitem__) for match in found.matches.get(0, ())
        ]

    def hold_signature(self, key: Key, signature: Signature) -> None:
        """Hold a text whose signature is known, whether or not it is like an earlier one."""
        self._insert([(key, signature)])

    def _near(
        self, key: Left, signature: Signature, index: _Index, match: tuple[float, int], name: Callable[[int], Key]
    ) -> Near[Left, Key]:
        similarity, row = match
        exact, numbers = index.keys_of(row)
        return Near(key, name(row), similarity, exact == signature.exact, numbers == signature.numbers)

    def _add(self, batch: Sequence[tuple[Key, Signature]]) -> Iterator[Near[Key, Key]]:
        signatures = [s for _, s in batch]
        found = self._index.nearest(signatures, self.threshold)
        self.crowded += found.crowded
        local = _Index(self._index.rows, capacity=len(batch), spread=8)
        inside: dict[int, list[tuple[float, int]]] = {}
        if len(batch) > 1:
            local.insert(signatures)
            inside = local.nearest(signatures, self.threshold, earlier_only=True).matches
        kept: dict[int, tuple[Key, Signature]] = {}
        for at, (key, signature) in enumerate(batch):
            held = found.matches.get(at, ())[:1]
            fresh = next(((s, r) for s, r in inside.get(at, ()) if r in kept), None)
            if held and (fresh is None or held[0][0] >= fresh[0]):
                yield self._near(key, signature, self._index, held[0], self._keys.__getitem__)
            elif fresh is not None:
                yield self._near(key, signature, local, fresh, lambda row: batch[row][0])
            else:
                kept[at] = (key, signature)
        self._insert(list(kept.values()))

    def _insert(self, items: Sequence[tuple[Key, Signature]]) -> None:
        self._index.insert([s for _, s in items])
        self._keys += [k for k, _ in items]


def between(
    left: Iterable[tuple[Left, str]], right: Iterable[tuple[Key, str]], *, threshold: float = 0.8
) -> Iterator[Near[Key, Left]]:
    """The items of ``right`` that are like one of ``left``, each with the most similar one, in the order of ``right``.

    Memory grows with ``left`` only: put the smaller of the two there, such as the held-out questions.
    """
    index: NearDuplicates[Left] = NearDuplicates(threshold)
    index.hold(left)
    yield from index.like(right)


def _batches(items: Iterable[tuple[Left, str]]) -> Iterator[list[tuple[Left, Signature]]]:
    stream = iter(items)
    while batch := [(key, signature_of(text)) for key, text in islice(stream, _BATCH)]:
        yield batch


@dataclass(frozen=True, slots=True)
class _Found:
    """For each text looked up that has matches: (similarity, row), best first, then oldest; and crowded look-ups."""

    matches: dict[int, list[tuple[float, int]]]
    crowded: int


class _Index:
    """Signatures by row, and a table of chains for each band and for the exact key.

    ``_heads[band, bucket]`` is the newest row of a bucket and ``_next[row, band]`` the one before it; -1 ends a chain.
    """

    def __init__(self, rows: int, capacity: int = _BATCH, spread: int = 1) -> None:
        import numpy as np

        self.rows = rows
        self._bands = SLOTS // rows
        self._count = 0
        self._slots = np.zeros((capacity, SLOTS), dtype=np.uint16)
        self._next = np.full((capacity, self._bands + 1), -1, dtype=np.int32)
        self._keys = np.zeros((capacity, 2), dtype=np.uint64)  # exact, numbers
        self._odd = np.arange(1, rows + 1, dtype=np.uint64) * np.uint64(2 * _ODD % 2**64) + np.uint64(_ODD)
        self._clear_heads(capacity * spread)

    @property
    def size_bytes(self) -> int:
        return int(self._slots.nbytes + self._next.nbytes + self._keys.nbytes + self._heads.nbytes)

    def keys_of(self, row: int) -> tuple[int, int]:
        """(exact key, numbers) of a row."""
        return int(self._keys[row, 0]), int(self._keys[row, 1])

    def _clear_heads(self, capacity: int) -> None:
        import numpy as np

        self._bits = max(4, (capacity - 1).bit_length())
        self._heads = np.full((self._bands + 1) << self._bits, -1, dtype=np.int32)

    def _buckets(self, slots_QS: Any, exact_Q: Any) -> Any:
        """Where each text's bands and exact key stand in ``_heads``: int64 [Q, B + 1]."""
        import numpy as np

        banded = slots_QS[:, : self._bands * self.rows].reshape(-1, self._bands, self.rows).astype(np.uint64)
        hashes = np.concatenate([(banded * self._odd).sum(axis=2), exact_Q[:, None]], axis=1)
        hashes ^= hashes >> np.uint64(31)
        hashes *= np.uint64(_ODD)
        buckets = (hashes >> np.uint64(64 - self._bits)).astype(np.int64)
        return buckets + (np.arange(self._bands + 1, dtype=np.int64) << self._bits)

    def insert(self, signatures: Sequence[Signature]) -> None:
        """Append them as the next rows."""
        if not signatures:
            return
        self._grow(self._count + len(signatures))
        end = self._count + len(signatures)
        self._slots[self._count : end] = _folded([s.slots for s in signatures])
        self._keys[self._count : end, 0] = [s.exact for s in signatures]
        self._keys[self._count : end, 1] = [s.numbers for s in signatures]
        self._link(self._count, end)
        self._count = end

    def _grow(self, needed: int) -> None:
        """Room for so many rows, by a quarter more each time; the tables double, and are then filled anew."""
        if needed > len(self._slots):
            room = max(needed, len(self._slots) * 5 // 4)
            for array in (self._slots, self._next, self._keys):  # in place: no second copy in memory
                array.resize((room, array.shape[1]), refcheck=False)
        if needed > 1 << self._bits:
            self._clear_heads(needed)
            for start in range(0, self._count, 4 * _BATCH):
                self._link(start, min(start + 4 * _BATCH, self._count))

    def _link(self, start: int, end: int) -> None:
        """Put rows into the chains of their buckets."""
        import numpy as np

        buckets = self._buckets(self._slots[start:end], self._keys[start:end, 0])
        size = buckets.size
        ordered = np.sort(buckets.ravel() * size + np.arange(size))  # by bucket, then row: faster than a stable argsort
        sorted_buckets, order = ordered // size, ordered % size
        rows = (start + order // buckets.shape[1]).astype(np.int32)
        before = self._heads[sorted_buckets]
        same = sorted_buckets[1:] == sorted_buckets[:-1]
        before[1:][same] = rows[:-1][same]
        self._next[rows, order % buckets.shape[1]] = before
        last = np.append(~same, True)
        self._heads[sorted_buckets[last]] = rows[last]

    def nearest(self, signatures: Sequence[Signature], threshold: float, *, earlier_only: bool = False) -> _Found:
        """The rows at least so similar to each signature.

        Args:
            earlier_only: the signatures are the rows themselves: only rows before its own count for each.
        """
        import numpy as np

        if not self._count:
            return _Found({}, 0)
        queries = [(at, s.slots, s.exact) for at, s in enumerate(signatures)]
        queries += [(at, s.other, s.exact) for at, s in enumerate(signatures) if s.other]
        at_Q = np.array([q[0] for q in queries], dtype=np.int64)
        slots_QS = _folded([q[1] for q in queries])
        exact_Q = np.array([q[2] for q in queries], dtype=np.uint64)
        pairs, crowded = self._candidates(slots_QS, exact_Q)
        query, row = pairs // self._count, pairs % self._count
        if earlier_only:
            query, row = query[row < at_Q[query]], row[row < at_Q[query]]
        similarity = np.empty(len(query))
        for start in range(0, len(query), 8 * _BATCH):
            part = slice(start, start + 8 * _BATCH)
            equal = self._slots[row[part]] == slots_QS[query[part]]
            similarity[part] = np.einsum("pS->p", equal.view(np.uint8), dtype=np.int64) / SLOTS
        similarity[self._keys[row, 0] == exact_Q[query]] = 1.0
        enough = similarity >= threshold
        matches: dict[int, list[tuple[float, int]]] = {}
        for at, value, found in zip(at_Q[query][enough].tolist(), similarity[enough].tolist(), row[enough].tolist(),
                                    strict=True):  # fmt: skip
            matches.setdefault(at, []).append((value, found))
        for found_rows in matches.values():
            found_rows.sort(key=lambda match: (-match[0], match[1]))
        return _Found(matches, crowded)

    def _candidates(self, slots_QS: Any, exact_Q: Any) -> tuple[Any, int]:
        """Rows that share a bucket with a query, as ``query * count + row``, each once; and how many were crowded."""
        import numpy as np

        here = self._heads[self._buckets(slots_QS, exact_Q)]
        pairs = []
        for _ in range(_DEPTH):
            query, band = np.nonzero(here >= 0)
            if not len(query):
                break
            row = here[query, band]
            pairs.append(query * np.int64(self._count) + row)
            here[query, band] = self._next[row, band]
        crowded = int((here >= 0).any(axis=1).sum())
        if not pairs:
            return np.empty(0, dtype=np.int64), crowded
        ordered = np.sort(np.concatenate(pairs))
        return ordered[np.append(True, ordered[1:] != ordered[:-1])], crowded


def _folded(sketches: Sequence[bytes]) -> Any:
    """Sketches as uint16 [Q, S]: two unlike slots are taken for alike once in 65,536."""
    import numpy as np

    wide = np.frombuffer(b"".join(sketches), dtype="<u4").reshape(-1, SLOTS)
    return (wide ^ (wide >> 16)).astype(np.uint16)
