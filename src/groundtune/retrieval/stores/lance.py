"""LanceDB embedded: vectors and full text in one folder, no server; the folder may lie on object storage.

Two tables: ``chunks`` (text, full-text index, one vector a chunk) and ``sentences`` (two vectors a sentence: alone, and
with its headings in front). Vector search is exact (cosine): at the sizes a laptop holds an approximate index costs
recall and saves nothing. Full text is BM25 over stemmed words.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundtune.records import Chunk

_COLUMNS = ["chunk_id", "document_id", "document", "text", "page", "row", "heading"]
_SENTENCE_COLUMNS = ["chunk_id", "position", "sentence", "vector", "context_vector"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What the store holds of one chunk.

    Attributes:
        chunk: the chunk.
        search_text: what full text searches.
        vector: of ``search_text``, (dimensions,).
        sentences: the chunk's sentences.
        vectors: of the sentences alone, (sentences, dimensions).
        context_vectors: of the sentences behind their headings, (sentences, dimensions).
    """

    chunk: Chunk
    search_text: str
    vector: Any
    sentences: Sequence[str]
    vectors: Any
    context_vectors: Any


def _connect(folder: Path) -> Any:
    os.environ.setdefault("LANCEDB_LOG", "error")
    os.environ.setdefault("RUST_LOG", "error")
    import lancedb

    return lancedb.connect(str(folder))


def build(folder: Path, batches: Iterable[Sequence[Entry]], dimensions: int) -> int:
    """Write a store into an empty folder, one batch at a time; returns the number of chunks."""
    import pyarrow as pa

    whole, vector = pa.int32(), pa.list_(pa.float32(), dimensions)
    chunk_schema = pa.schema(
        [(name, whole if name in {"page", "row"} else pa.string()) for name in _COLUMNS]
        + [("search_text", pa.string()), ("vector", vector)]
    )
    sentence_schema = pa.schema(
        [
            ("chunk_id", pa.string()),
            ("position", whole),
            ("sentence", pa.string()),
            ("document", pa.string()),
            ("vector", vector),
            ("context_vector", vector),
        ]
    )
    database = _connect(folder)
    chunks = database.create_table("chunks", schema=chunk_schema, mode="overwrite")
    sentences = database.create_table("sentences", schema=sentence_schema, mode="overwrite")
    total = 0
    for entries in batches:
        _add(chunks, sentences, entries)
        total += len(entries)
    _text_index(chunks)
    return total


def replace(folder: Path, entries: Sequence[Entry]) -> None:
    """Replace chunks of the same ids in a built store and bring its full-text index up to date."""
    database = _connect(folder)
    chunks, sentences = database.open_table("chunks"), database.open_table("sentences")
    where = _among([e.chunk.id for e in entries])
    chunks.delete(where)
    sentences.delete(where)
    _add(chunks, sentences, entries)
    chunks.optimize()


def copy_without(folder: Path, target: Path, document_id: str) -> int:
    """Write a store that holds nothing of one document into an empty folder; returns the number of chunks left.

    A new store rather than a deletion: LanceDB keeps what it deletes in the files of earlier versions.
    """
    old, new = _connect(folder), _connect(target)
    quoted = document_id.replace("'", "''")
    left = 0
    for name in ("chunks", "sentences"):
        table = old.open_table(name)
        where = f"starts_with(chunk_id, '{quoted}-')"
        kept = new.create_table(name, schema=table.schema, mode="overwrite")
        for batch in table.search().where(f"NOT {where}").limit(None).to_batches(1024):
            kept.add(batch)
        left = left or kept.count_rows()
    _text_index(new.open_table("chunks"))
    return left


def _text_index(table: Any) -> None:
    from lancedb.index import FTS

    table.create_index("search_text", config=FTS())


def _add(chunks: Any, sentences: Any, entries: Sequence[Entry]) -> None:
    chunks.add(
        [
            {
                "chunk_id": e.chunk.id, "document_id": e.chunk.document_id, "document": e.chunk.document, "text": e.chunk.text,
                "page": e.chunk.page, "row": e.chunk.row, "heading": e.chunk.heading, "search_text": e.search_text, "vector": e.vector.tolist(),
            }
            for e in entries
        ]
    )  # fmt: skip
    rows = [
        {
            "chunk_id": e.chunk.id,
            "position": n,
            "sentence": s,
            "document": e.chunk.document,
            "vector": v.tolist(),
            "context_vector": c.tolist(),
        }
        for e in entries
        for n, (s, v, c) in enumerate(zip(e.sentences, e.vectors, e.context_vectors, strict=True))
    ]
    if rows:
        sentences.add(rows)


def _among(ids: Iterable[str]) -> str:
    quoted = ", ".join("'" + i.replace("'", "''") + "'" for i in ids)
    return f"chunk_id IN ({quoted})"


def _of_document(document: str | None) -> str | None:
    return None if document is None else "document = '" + document.replace("'", "''") + "'"


class Store:
    """A built store, opened for reading.

    Args:
        folder: what :func:`build` wrote.
    """

    def __init__(self, folder: Path) -> None:
        database = _connect(folder)
        self._chunks: Any = database.open_table("chunks")
        self._sentences: Any = database.open_table("sentences")

    def near_chunks(self, vector: Any, k: int, document: str | None = None) -> list[str]:
        """Ids of the ``k`` chunks nearest to a vector, nearest first; only of ``document`` where given."""
        return self._near(self._chunks, "vector", vector, k, document)

    def near_sentences(
        self, vector: Any, k: int, document: str | None = None, *, in_context: bool = False
    ) -> list[str]:
        """Ids of the chunks of the ``k`` nearest sentences, nearest first, each once."""
        return self._near(self._sentences, "context_vector" if in_context else "vector", vector, k, document)

    def text_search(self, text: str, k: int, document: str | None = None) -> list[tuple[str, float]]:
        """Ids of the ``k`` best chunks by BM25 with their score, best first."""
        words = " ".join("".join(ch if ch.isalnum() else " " for ch in text).split())
        if not words:
            return []
        query = self._chunks.search(words, query_type="fts", fts_columns="search_text")
        rows = self._where(query, document).select(["chunk_id", "_score"]).limit(k).to_list()
        return [(r["chunk_id"], float(r["_score"])) for r in rows]

    def entries(self, ids: Sequence[str]) -> dict[str, Entry]:
        """What is held of these chunks, vectors included, by id."""
        import numpy as np

        if not ids:
            return {}
        sentences: dict[str, list[Any]] = {}
        for row in self._sentences.search().where(_among(ids)).select(_SENTENCE_COLUMNS).limit(None).to_list():
            sentences.setdefault(row["chunk_id"], []).append(row)
        out = {}
        for row in (
            self._chunks.search().where(_among(ids)).select([*_COLUMNS, "search_text", "vector"]).limit(None).to_list()
        ):
            of_it = sorted(sentences.get(row["chunk_id"], []), key=lambda r: r["position"])
            vectors = [np.array([r[name] for r in of_it], dtype=np.float32) for name in ("vector", "context_vector")]
            vector = np.array(row["vector"], dtype=np.float32)
            out[row["chunk_id"]] = Entry(
                _chunk(row), row["search_text"], vector, [r["sentence"] for r in of_it], *vectors
            )
        return out

    def chunks(self) -> Iterator[Chunk]:
        """Every chunk."""
        for row in self._chunks.search().select(_COLUMNS).limit(None).to_list():
            yield _chunk(row)

    def _near(self, table: Any, column: str, vector: Any, k: int, document: str | None) -> list[str]:
        query = table.search(vector, vector_column_name=column).distance_type("cosine")
        rows = self._where(query, document).select(["chunk_id", "_distance"]).limit(k).to_list()
        return list(dict.fromkeys(r["chunk_id"] for r in rows))

    @staticmethod
    def _where(query: Any, document: str | None) -> Any:
        where = _of_document(document)
        return query.where(where, prefilter=True) if where else query


def _chunk(row: Any) -> Chunk:
    return Chunk(
        row["chunk_id"], row["document_id"], row["document"], row["text"], row["page"], row["row"], row["heading"]
    )
