"""LanceDB embedded: vectors and full text in one folder, no server; the folder may lie on object storage.

Two tables: ``chunks`` (text, terms with a full-text index, one vector a chunk) and ``sentences`` (two vectors a sentence:
alone, and with its headings in front). Vector search is exact (cosine) and in memory as far as
``_held.MOST_BYTES`` goes, else up to ``Options.approximate_from`` rows; larger tables get a graph over numbers of 8 bits whose best are scored again exactly (HNSW, Malkov and Yashunin, TPAMI 2020), and
very large ones an inverted file, which is built sooner (IVF, Jegou et al., TPAMI 2011). Full text is BM25 over terms. Every change of a finished store is made in a copy.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from groundtune.records import Chunk
from groundtune.retrieval.filters import Filter, Test, Value, both, of_document
from groundtune.retrieval.stores._entry import (
    CHUNK_COLUMNS,
    PLACE_COLUMNS,
    Entry,
    Options,
    Terms,
    as_chunk,
    column_values,
    place_values,
)
from groundtune.retrieval.stores._held import Held, fits
from groundtune.workspace import write_json

__all__ = [
    "Entry",
    "Options",
    "Store",
    "build",
    "change",
    "copy",
    "copy_without",
    "remove",
    "replace",
    "sweep",
    "take_over",
]

_OPTIONS = "options.json"
_SENTENCE_COLUMNS = ["chunk_id", "position", "sentence", "vector", "context_vector"]
#: chunks written at once: a table is slower with many small fragments
_WRITE = 1024
#: of the lists of an inverted file, whose number is the square root of the rows, a search reads a tenth and at least so many
_LISTS_READ, _LEAST_LISTS = 0.1, 20
#: most rows of a graph, since building one takes longest; rows that its search keeps in sight, and takes again exactly, as times k
_GRAPH_ROWS, _EF, _REFINE = 200_000, 200, 3


def build(folder: Path, batches: Iterable[Sequence[Entry]], dimensions: int, options: Options | None = None) -> int:
    """Write a store into a folder without one, one batch at a time; returns the number of chunks."""
    folder.mkdir(parents=True, exist_ok=True)
    options = options or Options()
    write_json(folder / _OPTIONS, {"approximate_from": options.approximate_from})
    database = _connect(folder)
    for name, schema in _schemas(dimensions).items():
        database.create_table(name, schema=schema, mode="overwrite")
    total = _add(folder, batches)
    _finish(folder)
    return total


def copy(folder: Path, target: Path) -> None:
    """A copy that may be changed without changing the store; files, which are never written twice, are shared by links."""

    def linked(source: str, copied: str) -> None:
        try:
            os.link(source, copied)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, copied)

    shutil.copytree(folder, target, copy_function=linked)


def take_over(folder: Path, target: Path) -> None:
    """A store to be changed that takes this one's place afterwards: a copy, since the folder is exchanged as a whole."""
    copy(folder, target)


def change(folder: Path, *, delete: Sequence[str] = (), batches: Iterable[Sequence[Entry]] = ()) -> int:
    """Take documents (by id) out of a store and add entries, of ids that it does not hold; returns the chunks held."""
    database = _connect(folder)
    for name in ("chunks", "sentences"):
        table = database.open_table(name)
        for start in range(0, len(delete), 500):
            table.delete(_sql(Test("document_id", "IN", tuple(delete[start : start + 500]))))
    _add(folder, batches)
    _finish(folder)
    return int(_connect(folder).open_table("chunks").count_rows())


def replace(folder: Path, entries: Sequence[Entry]) -> None:
    """Replace chunks of the same ids in a store and bring its indexes up to date."""
    database = _connect(folder)
    for name in ("chunks", "sentences"):
        table = database.open_table(name)
        for start in range(0, len(entries), 500):
            table.delete(_among([e.chunk.id for e in entries[start : start + 500]]))
    _add(folder, [entries])
    _finish(folder)


def copy_without(folder: Path, target: Path, document_id: str) -> int:
    """Write a store that holds nothing of one document into an empty folder; returns the number of chunks left.

    A new store rather than a deletion: LanceDB keeps what it deletes in the files of earlier versions.
    """
    target.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.json"):
        shutil.copyfile(file, target / file.name)
    old, new = _connect(folder), _connect(target)
    left = 0
    for name in ("chunks", "sentences"):
        table = old.open_table(name)
        kept = new.create_table(name, schema=table.schema, mode="overwrite")
        where = _sql(Test("document_id", "<>", (document_id,)))
        for batch in table.search().where(where).limit(None).to_batches(1024):
            kept.add(batch)
        left = left or kept.count_rows()
    _finish(target)
    return left


def remove(folder: Path) -> None:
    """Delete a store."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Delete what stores that are no more have left elsewhere: nothing, since all of a store is in its folder."""


def _connect(folder: Path) -> Any:
    os.environ.setdefault("LANCEDB_LOG", "error")
    os.environ.setdefault("RUST_LOG", "error")
    import lancedb

    return lancedb.connect(str(folder))


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop on which vectors are searched: LanceDB's own calls go to one and back six times a search."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="lancedb", daemon=True).start()
    return loop


def _waited(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


def _opened(folder: Path) -> dict[str, Any]:
    """Both tables, for searches on that loop."""
    import lancedb

    async def opened() -> dict[str, Any]:
        database = await lancedb.connect_async(str(folder))
        return {name: await database.open_table(name) for name in ("chunks", "sentences")}

    tables: dict[str, Any] = _waited(opened())
    return tables


def _schemas(dimensions: int) -> dict[str, Any]:
    import pyarrow as pa

    vector = pa.list_(pa.float32(), dimensions)

    def columns(names: Sequence[str]) -> list[tuple[str, Any]]:
        return [(name, pa.int32() if name in {"page", "row", "position"} else pa.string()) for name in names]

    chunks = [*columns([*CHUNK_COLUMNS, "search_text", "terms"]), ("vector", vector)]
    sentences = [*columns([*PLACE_COLUMNS, "position", "sentence"]), ("vector", vector), ("context_vector", vector)]
    return {"chunks": pa.schema(chunks), "sentences": pa.schema(sentences)}


def _add(folder: Path, batches: Iterable[Sequence[Entry]]) -> int:
    """Append entries, many batches at once; returns how many there were."""
    database, terms = _connect(folder), Terms(folder)
    tables = [database.open_table(name) for name in ("chunks", "sentences")]
    waiting: list[Entry] = []
    total = 0

    def write() -> None:
        for table, rows in zip(tables, (_chunk_rows(waiting, terms), _sentence_rows(waiting)), strict=True):
            if rows[0]:
                table.add(_arrow(table.schema, rows))
        waiting.clear()

    for batch in batches:
        waiting.extend(batch)
        total += len(batch)
        if len(waiting) >= _WRITE:
            write()
    if waiting:
        write()
    return total


def _chunk_rows(entries: Sequence[Entry], terms: Terms) -> list[Any]:
    """Columns of the table ``chunks``."""
    rows = [(*column_values(e.chunk), e.search_text, terms.of_chunk(e)) for e in entries]
    return [*map(list, zip(*rows, strict=True)), [e.vector for e in entries]]


def _sentence_rows(entries: Sequence[Entry]) -> list[Any]:
    """Columns of the table ``sentences``."""
    rows = [(*place_values(e.chunk), n, s) for e in entries for n, s in enumerate(e.sentences)]
    columns = [*map(list, zip(*rows, strict=True))] if rows else [[] for _ in (*PLACE_COLUMNS, "position", "sentence")]
    return [*columns, [v for e in entries for v in e.vectors], [v for e in entries for v in e.context_vectors]]


def _arrow(schema: Any, columns: Sequence[Any]) -> Any:
    import numpy as np
    import pyarrow as pa

    arrays = []
    for column, wanted in zip(columns, schema, strict=True):
        if pa.types.is_fixed_size_list(wanted.type):
            values = pa.array(np.asarray(column, dtype=np.float32).reshape(-1))
            arrays.append(pa.FixedSizeListArray.from_arrays(values, wanted.type.list_size))
        else:
            arrays.append(pa.array(column, wanted.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _finish(folder: Path) -> None:
    """One fragment a table, nothing of earlier versions, the full-text index, and from a size on those of vectors."""
    from lancedb.index import FTS, HnswSq, IvfFlat

    database = _connect(folder)
    approximate_from = int(json.loads((folder / _OPTIONS).read_text(encoding="utf-8"))["approximate_from"])
    for name, columns in (("chunks", ("vector",)), ("sentences", ("vector", "context_vector"))):
        table = database.open_table(name)
        for made in table.list_indices():
            table.drop_index(made.name)
        table.optimize()  # before the indexes: they would have to be moved
        rows = table.count_rows()
        if name == "chunks":
            words = FTS(base_tokenizer="whitespace", max_token_length=None, lower_case=False, stem=False, remove_stop_words=False, ascii_folding=False)  # fmt: skip
            table.create_index("terms", config=words)
        for column in columns if approximate_from and rows >= approximate_from else ():
            if not fits(rows, table.schema.field(column).type.list_size):
                lists: dict[str, Any] = {"distance_type": "cosine", "sample_rate": 64, "max_iterations": 20}
                graph = HnswSq(num_partitions=1, **lists)
                file = IvfFlat(num_partitions=math.isqrt(rows), **lists)
                table.create_index(column, config=graph if rows <= _GRAPH_ROWS else file)
        table.optimize(cleanup_older_than=timedelta(milliseconds=1), delete_unverified=True)


def _column(name: str) -> str:
    return f"`{name}`"


def _literal(value: Value) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def _sql(where: Filter) -> str:
    return where.sql(_column, _literal)


def _among(ids: Sequence[str]) -> str:
    return _sql(Test("chunk_id", "IN", tuple(ids)))


class Store:
    """A built store, opened for reading.

    Args:
        folder: what :func:`build` wrote.
    """

    def __init__(self, folder: Path) -> None:
        database = _connect(folder)
        self._searched = _opened(folder)
        self._chunks: Any = database.open_table("chunks")
        self._sentences: Any = database.open_table("sentences")
        self._terms = Terms(folder)
        self._columns: dict[tuple[str, str], Held | None] = {}
        self._lock = threading.Lock()
        self._indexed = {
            (name, column): (
                str(made.index_type),
                max(_LEAST_LISTS, round(_LISTS_READ * math.isqrt(table.count_rows()))),
            )
            for name, table in (("chunks", self._chunks), ("sentences", self._sentences))
            for made in table.list_indices()
            for column in made.columns
            if column != "terms"
        }

    def near_chunks(
        self, vector: Any, k: int, document: str | None = None, *, where: Filter | None = None
    ) -> list[str]:
        """Ids of the ``k`` chunks nearest to a vector, nearest first; only of ``document`` and ``where`` if given."""
        return self._near("chunks", "vector", vector, k, document, where)

    def near_sentences(
        self, vector: Any, k: int, document: str | None = None, *, in_context: bool = False, where: Filter | None = None
    ) -> list[str]:
        """Ids of the chunks of the ``k`` nearest sentences, nearest first, each once."""
        return self._near("sentences", "context_vector" if in_context else "vector", vector, k, document, where)

    def text_search(
        self, text: str, k: int, document: str | None = None, *, where: Filter | None = None
    ) -> list[tuple[str, float]]:
        """Ids of the ``k`` best chunks by BM25 over the terms of a text, with their score, best first."""
        words = self._terms.of_question(text)
        if not words:
            return []
        query = self._chunks.search(" ".join(words), query_type="fts", fts_columns="terms")
        rows = self._where(query, document, where).select(["chunk_id", "_score"]).limit(k).to_list()
        return [(r["chunk_id"], float(r["_score"])) for r in rows]

    def entries(self, ids: Sequence[str]) -> dict[str, Entry]:
        """What is held of these chunks, vectors included, by id."""
        import numpy as np

        if not ids:
            return {}
        rows = self._sentences.search().where(_among(ids)).select(_SENTENCE_COLUMNS).limit(None).to_arrow()
        of_chunk: dict[str, list[tuple[int, int, str]]] = {}
        for at, (id_, position, sentence) in enumerate(zip(*(rows[n].to_pylist() for n in _SENTENCE_COLUMNS[:3]), strict=True)):  # fmt: skip
            of_chunk.setdefault(id_, []).append((position, at, sentence))
        alone, behind = (_matrix(rows[name]) for name in ("vector", "context_vector"))
        found = self._chunks.search().where(_among(ids)).select([*CHUNK_COLUMNS, "search_text", "vector"]).limit(None)
        table = found.to_arrow()
        vectors = _matrix(table["vector"])
        out = {}
        for row, vector in zip(table.drop_columns(["vector"]).to_pylist(), vectors, strict=True):
            of_it = sorted(of_chunk.get(row["chunk_id"], []))
            places = np.array([n for _, n, _ in of_it], dtype=int)
            sentences = [s for _, _, s in of_it]
            out[row["chunk_id"]] = Entry(
                as_chunk(row), row["search_text"], vector, sentences, alone[places], behind[places]
            )
        return out

    def chunks(self) -> Iterator[Chunk]:
        """Every chunk."""
        for row in self._chunks.search().select(list(CHUNK_COLUMNS)).limit(None).to_list():
            yield as_chunk(row)

    def _near(
        self, name: str, column: str, vector: Any, k: int, document: str | None, where: Filter | None
    ) -> list[str]:
        found = both(None if document is None else of_document(document), where)
        held = None if found else self._held(name, column)
        if held is not None:
            return held.nearest(vector, k)
        query = self._searched[name].query().nearest_to(vector).column(column).distance_type("cosine")
        kind, lists = self._indexed.get((name, column), ("", 0))
        if "hnsw" in kind.lower():
            query = query.nprobes(1).ef(max(_EF, 2 * k)).refine_factor(_REFINE)
        elif lists:
            query = query.nprobes(lists)
        query = query.where(_sql(found)) if found else query  # the condition first, then the nearest
        rows = _waited(query.select(["chunk_id", "_distance"]).limit(k).to_arrow())
        return list(dict.fromkeys(rows["chunk_id"].to_pylist()))

    def _held(self, name: str, column: str) -> Held | None:
        """The vectors of a column in memory, or None where it has an index or is too large."""
        with self._lock:
            if (name, column) not in self._columns:
                table = self._chunks if name == "chunks" else self._sentences
                size = table.schema.field(column).type.list_size
                self._columns[name, column] = None
                if (name, column) not in self._indexed and fits(table.count_rows(), size):
                    rows = table.search().select(["chunk_id", column]).limit(None).to_arrow()
                    self._columns[name, column] = Held(rows["chunk_id"].to_pylist(), _matrix(rows[column]))
            return self._columns[name, column]

    @staticmethod
    def _where(query: Any, document: str | None, where: Filter | None) -> Any:
        found = both(None if document is None else of_document(document), where)
        return query.where(_sql(found), prefilter=True) if found else query


def _matrix(column: Any) -> Any:
    """A column of vectors as an array (rows, dimensions)."""
    import numpy as np

    joined = column.combine_chunks()
    return np.asarray(joined.flatten()).reshape(len(joined), joined.type.list_size)
