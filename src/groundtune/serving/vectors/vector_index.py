"""The chunks of a vector store on disk and in memory: vectors of their passages, words for BM25, exact search over both.

A file in a store is one Parquet file: a row a chunk, its text and the vectors of its passages. In memory a store is one
matrix of vectors and one table of word counts; a change reads only what is new, then puts the parts together again.

Legend: N chunks, P passages (each belongs to one chunk, a chunk has one at least), D the embedder's dimensions.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from groundtune.dataset.reading import STOP_WORDS
from groundtune.errors import WorkspaceError
from groundtune.nn.encoders import Vectors
from groundtune.retrieval.bm25 import K1, B

Array = np.ndarray[Any, Any]
_WORD = re.compile(r"\w+")
#: rows written at a time
_ROWS = 256


def words_of(text: str) -> list[str]:
    """What BM25 counts: words in lower case, without stop words."""
    return [word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


def write_shard(path: Path, chunks: Iterable[tuple[str, Vectors]]) -> int:
    """Write the chunks of a file, each with the vectors of its passages (P, D); how many there were.

    The file is on the disk when this returns; whoever calls renames it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("text", pa.string()), ("vectors", pa.binary())])
    count = 0
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, schema) as out:

        def flush() -> None:
            if rows:
                out.write_table(pa.Table.from_pylist(rows, schema))
                rows.clear()

        for text, vectors in chunks:
            count += 1
            rows.append({"text": text, "vectors": np.asarray(vectors, dtype="<f4").tobytes()})
            if len(rows) >= _ROWS:
                flush()
        flush()
    with path.open("rb") as written:
        os.fsync(written.fileno())
    return count


def read_texts(path: Path) -> list[str]:
    """The chunks of a file, in order.

    Raises:
        WorkspaceError: the file is gone or damaged.
    """
    return [str(text) for text in _columns(path, ["text"])[0]]


def _columns(path: Path, names: list[str]) -> list[list[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=names)
    except (OSError, pa.ArrowException) as error:
        raise WorkspaceError(
            f"a file of a vector store cannot be read: {path}: {error}", next_step="put the file into the store again"
        ) from None
    return [table.column(name).to_pylist() for name in names]


@dataclass(frozen=True, slots=True)
class _Shard:
    """One file's part of an index.

    Attributes:
        texts: of its N chunks.
        vectors_PD: of their passages.
        passages: how many each chunk has, (N,).
        words: numbers of the words of all chunks, one behind the other; counts: how often each is there;
        spans: how many words, counted once, each chunk has, (N,); lengths: how many in all, (N,).
    """

    texts: list[str]
    vectors_PD: Vectors
    passages: Array
    words: Array
    counts: Array
    spans: Array
    lengths: Array


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A store's chunks as they were at one moment; searched without a lock.

    Attributes:
        texts: of the N chunks.
        owners: the file of each chunk, as its number in ``files``, (N,).
        files: ids.
    """

    texts: list[str]
    owners: Array
    files: list[str]
    vectors_PD: Vectors
    firsts: Array
    words: Any
    lengths: Array
    vocabulary: Mapping[str, int]

    def likeness(self, query_D: Vectors) -> Array:
        """Cosine of every chunk's best passage with a query, from 0 to 1, (N,)."""
        if not self.texts:
            return np.zeros(0, dtype=np.float32)
        return np.clip(np.maximum.reduceat(self.vectors_PD @ query_D, self.firsts), 0, 1)

    def shared_words(self, query: str) -> Array | None:
        """BM25 of every chunk as a share of what a chunk full of the query's words could reach, from 0 to 1, (N,).

        BM25 as in :mod:`groundtune.retrieval.bm25`. None where the query has no words but stop words.
        """
        asked, total = set(words_of(query)), len(self.texts)
        scores = np.zeros(total, dtype=np.float64)
        reachable = 0.0
        norm = K1 * (1 - B + B * self.lengths / max(float(self.lengths.mean()), 1e-9)) if total else self.lengths
        for word in asked:
            number = self.vocabulary.get(word)
            start, end = (0, 0) if number is None else (self.words.indptr[number], self.words.indptr[number + 1])
            idf = float(np.log(1 + (total - (end - start) + 0.5) / (end - start + 0.5)))
            reachable += idf * (K1 + 1)
            rows, counts = self.words.indices[start:end], self.words.data[start:end]
            scores[rows] += idf * counts * (K1 + 1) / (counts + norm[rows])
        return scores / reachable if reachable else None


class Index:
    """The chunks of one store in memory.

    Args:
        dimensions: D.
    """

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._lock = threading.Lock()
        self._vocabulary: dict[str, int] = {}
        self._shards: dict[Path, _Shard] = {}
        self._of: tuple[tuple[str, Path], ...] | None = None
        self._snapshot: Snapshot | None = None

    def snapshot(self, files: Sequence[tuple[str, Path]]) -> Snapshot:
        """The chunks of these files (id, where they are); reads those that are new, forgets those that are gone.

        Raises:
            WorkspaceError: a file is damaged or gone.
        """
        wanted = tuple(files)
        with self._lock:
            if self._snapshot is None or wanted != self._of:
                kept = {path: self._shards[path] for _, path in wanted if path in self._shards}
                self._shards = {path: kept.get(path) or self._read(path) for _, path in wanted}
                self._snapshot, self._of = self._together([id for id, _ in wanted]), wanted
            return self._snapshot

    def _read(self, path: Path) -> _Shard:
        texts, blobs = _columns(path, ["text", "vectors"])
        vectors = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(-1, self.dimensions)
        passages = np.asarray([len(blob) // (4 * self.dimensions) for blob in blobs], dtype=np.int64)
        words: list[int] = []
        counts: list[int] = []
        spans: list[int] = []
        for text in texts:
            found = Counter(words_of(text))
            words += [self._vocabulary.setdefault(word, len(self._vocabulary)) for word in found]
            counts += found.values()
            spans.append(len(found))
        sums = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        ends = np.cumsum(spans, dtype=np.int64)
        lengths = sums[ends] - sums[ends - np.asarray(spans, dtype=np.int64)]
        return _Shard(
            texts, np.asarray(vectors, dtype=np.float32), passages, np.asarray(words, dtype=np.int32),
            np.asarray(counts, dtype=np.float32), np.asarray(spans, dtype=np.int64), lengths,
        )  # fmt: skip

    def _together(self, files: list[str]) -> Snapshot:
        from scipy.sparse import csr_matrix  # type: ignore[import-untyped,unused-ignore]

        shards = list(self._shards.values())
        texts = [text for shard in shards for text in shard.texts]

        def all_of(name: str, kind: Any) -> Array:
            parts = [getattr(shard, name) for shard in shards]
            return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)

        passages, spans = all_of("passages", np.int64), all_of("spans", np.int64)
        starts = np.concatenate([[0], np.cumsum(spans)])
        by_chunk = csr_matrix(
            (all_of("counts", np.float32), all_of("words", np.int32), starts), shape=(len(texts), len(self._vocabulary))
        )
        vectors = np.zeros((int(passages.sum()), self.dimensions), dtype=np.float32)
        start = 0
        for path, shard in self._shards.items():  # from here on they lie in the one matrix only
            end = start + len(shard.vectors_PD)
            vectors[start:end] = shard.vectors_PD
            self._shards[path] = replace(shard, vectors_PD=vectors[start:end])
            start = end
        return Snapshot(
            texts=texts,
            owners=np.repeat(np.arange(len(shards)), [len(shard.texts) for shard in shards]),
            files=files,
            vectors_PD=vectors,
            firsts=np.concatenate([[0], np.cumsum(passages)[:-1]]) if len(passages) else passages,
            words=by_chunk.tocsc(),
            lengths=all_of("lengths", np.float32),
            vocabulary=dict(self._vocabulary),
        )
