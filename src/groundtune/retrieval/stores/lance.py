"""LanceDB embedded: vectors and full text in one folder, no server; the folder may lie on object storage.

Vector search is exact (cosine): at the sizes a laptop holds an approximate index costs recall and saves nothing.
Full text is BM25 over stemmed words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from groundtune.records import Chunk

TABLE = "chunks"
_COLUMNS = ["chunk_id", "document_id", "document", "text", "page", "row", "heading"]


def build(folder: Path, batches: Iterator[tuple[Sequence[Chunk], Sequence[str], Any]], dimensions: int) -> int:
    """Write a store into an empty folder.

    Args:
        folder: where.
        batches: (chunks, their search texts, their vectors (n, dimensions)); consumed one at a time.
        dimensions: of the vectors.

    Returns:
        The number of chunks.
    """
    import lancedb
    import pyarrow as pa
    from lancedb.index import FTS

    whole = pa.int32()
    schema = pa.schema(
        [(name, whole if name in {"page", "row"} else pa.string()) for name in _COLUMNS]
        + [("search_text", pa.string()), ("vector", pa.list_(pa.float32(), dimensions))]
    )
    table = lancedb.connect(str(folder)).create_table(TABLE, schema=schema, mode="overwrite")
    total = 0
    for chunks, search_texts, vectors in batches:
        rows = _rows(chunks, search_texts, vectors)
        table.add(rows)
        total += len(rows)
    table.create_index("search_text", config=FTS())
    return total


class Store:
    """A built store, opened for reading.

    Args:
        folder: what :func:`build` wrote.
    """

    def __init__(self, folder: Path) -> None:
        import lancedb

        self._table: Any = lancedb.connect(str(folder)).open_table(TABLE)

    def vector_search(self, vector: Any, k: int, document: str | None = None) -> list[tuple[Chunk, float]]:
        """The k nearest chunks with their cosine similarity, nearest first; only of ``document`` where given."""
        query = self._table.search(vector, vector_column_name="vector").distance_type("cosine")
        return [(c, 1.0 - float(r["_distance"])) for c, r in self._run(query, k, document, "_distance")]

    def text_search(self, text: str, k: int, document: str | None = None) -> list[tuple[Chunk, float]]:
        """The k best chunks by BM25 with their score, best first."""
        words = " ".join("".join(ch if ch.isalnum() else " " for ch in text).split())
        if not words:
            return []
        query = self._table.search(words, query_type="fts", fts_columns="search_text")
        return [(c, float(r["_score"])) for c, r in self._run(query, k, document, "_score")]

    def chunks(self) -> list[Chunk]:
        """Every chunk, in the order of the documents."""
        return [_chunk(row) for row in self._table.search().limit(None).select(_COLUMNS).to_list()]

    def _run(self, query: Any, k: int, document: str | None, score: str) -> list[tuple[Chunk, Any]]:
        if document is not None:
            query = query.where("document = '" + document.replace("'", "''") + "'", prefilter=True)
        return [(_chunk(row), row) for row in query.select([*_COLUMNS, score]).limit(k).to_list()]


def _rows(chunks: Sequence[Chunk], search_texts: Sequence[str], vectors: Any) -> list[dict[str, Any]]:
    return [
        {
            "chunk_id": c.id, "document_id": c.document_id, "document": c.document, "text": c.text, "page": c.page,
            "row": c.row, "heading": c.heading, "search_text": s, "vector": v.tolist(),
        }
        for c, s, v in zip(chunks, search_texts, vectors, strict=True)
    ]  # fmt: skip


def _chunk(row: Any) -> Chunk:
    return Chunk(row["chunk_id"], row["document_id"], row["document"], row["text"], row["page"], row["row"], row["heading"])


def replace_chunks(folder: Path, chunks: Sequence[Chunk], search_texts: Sequence[str], vectors: Any) -> None:
    """Replace chunks of the same ids in a built store and bring its full-text index up to date."""
    import lancedb

    table: Any = lancedb.connect(str(folder)).open_table(TABLE)
    ids = ", ".join("'" + c.id.replace("'", "''") + "'" for c in chunks)
    table.delete(f"chunk_id IN ({ids})")
    table.add(_rows(chunks, search_texts, vectors))
    table.optimize()
