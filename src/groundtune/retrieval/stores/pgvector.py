"""PostgreSQL with the extension pgvector: for teams that run one; ``index.database`` is its address.

Three tables an index: chunks, sentences (two vectors each) and terms (how often each stands in a chunk). Vector search
is exact (cosine) up to ``Options.approximate_from`` rows; larger tables get an HNSW graph (Malkov and Yashunin, TPAMI
2020). Full text is BM25 over terms, computed in SQL by the formula that LanceDB and Lucene use, so that both stores rank
alike. The folder holds the address and the tables' name; changes are one transaction. Rows of an index that was made anew
are dropped by :func:`sweep`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from groundtune.errors import ConfigError, InputError
from groundtune.records import Chunk
from groundtune.retrieval.filters import Filter, both, of_document
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

K1, B = 1.2, 0.75
#: rows that an HNSW search keeps in sight: of 100 nearest at least 99 are found (docs/stores.md)
_EF_SEARCH = 400
_PLACE = "postgres.json"
_ROWS = ("chunks", "sentences", "terms")
_KINDS = (*_ROWS, "figures")
#: temporary tables of what is added
_NEW = "gt_new"
#: most dimensions that pgvector makes a graph of; longer vectors are searched exactly
_MOST_GRAPHED = 2000
_TYPES = {"page": "integer", "row": "integer", "position": "integer", "length": "integer"}


def build(folder: Path, batches: Iterable[Sequence[Entry]], dimensions: int, options: Options | None = None) -> int:
    """Write a store of which a folder knows; returns the number of chunks.

    Raises:
        ConfigError: no address. InputError: no such database, or one without the extension.
    """
    options = options or Options()
    if not options.database:
        raise ConfigError(
            "index.store is pgvector, and index.database is not set",
            expected="the address of a PostgreSQL, as in postgresql://user:${PASSWORD}@host/name",
            next_step="add `database:` below `index:` in groundtune.yaml",
        )
    folder.mkdir(parents=True, exist_ok=True)
    _write_place(folder, options.database, options.project, options.approximate_from)
    with _connect(folder) as connection:
        name = _tables(folder)
        _create(connection, name, dimensions, folder)
        total = _add(connection, name, folder, batches)
        _finish(connection, name, options.approximate_from)
    return total


def take_over(folder: Path, target: Path) -> None:
    """A folder for the same tables, to be changed in place: each change is one transaction and may be repeated.

    Tables that another folder has (the project was copied) are left to it, and copied.
    """
    name = _tables(folder)
    with _connect(folder) as connection:
        found = connection.execute("SELECT obj_description(%s::regclass)", [f"{name}_chunks"]).fetchone()
    owner = Path((found or [""])[0] or folder)
    if owner.resolve() != folder.resolve() and _names(owner, name):
        _copy_where(folder, target, None)
    else:
        shutil.copytree(folder, target)


def copy(folder: Path, target: Path) -> None:
    """A copy that may be changed without changing the store."""
    _copy_where(folder, target, None)


def copy_without(folder: Path, target: Path, document_id: str) -> int:
    """Write a store that holds nothing of one document; returns the number of chunks left."""
    return _copy_where(folder, target, document_id)


def change(folder: Path, *, delete: Sequence[str] = (), batches: Iterable[Sequence[Entry]] = ()) -> int:
    """Take documents (by id) out of a store and add entries, in the place of chunks of their ids; returns the chunks held.

    What is new is gathered beside the tables first, which may take long: they are locked only to be changed.
    """
    from psycopg import sql

    name = _tables(folder)
    with _connect(folder) as connection:
        for kind in _ROWS:
            statement = sql.SQL("CREATE TEMP TABLE {} (LIKE {}) ON COMMIT DROP")
            connection.execute(statement.format(_table(_NEW, kind), _table(name, kind)))
        _add(connection, _NEW, folder, batches)
        new = connection.execute(sql.SQL("SELECT chunk_id FROM {}").format(_table(_NEW, "chunks"))).fetchall()
        _drop_indexes(connection, name)
        _delete(connection, name, "document_id", delete)
        _delete(connection, name, "chunk_id", [row[0] for row in new])
        for kind in _ROWS:
            statement = sql.SQL("INSERT INTO {} SELECT * FROM {}")
            connection.execute(statement.format(_table(name, kind), _table(_NEW, kind)))
        _finish(connection, name, int(_place(folder)["approximate_from"]))
        found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(_table(name, "chunks"))).fetchone()
    return int(found[0])


def replace(folder: Path, entries: Sequence[Entry]) -> None:
    """Replace chunks of the same ids in a store."""
    change(folder, batches=[entries])


def remove(folder: Path) -> None:
    """Delete a store: its tables, then its folder."""
    if (folder / _PLACE).exists():
        with _connect(folder) as connection:
            _drop(connection, _tables(folder))
    shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Drop the tables of stores of the same project whose folders are no more."""
    from psycopg import sql

    here, current = _place(folder), _tables(folder)
    with _connect(folder) as connection:
        found = connection.execute(
            "SELECT tablename, obj_description(format('%%I.%%I', schemaname, tablename)::regclass) FROM pg_tables "
            "WHERE schemaname = current_schema() AND tablename LIKE %s",
            [f"gt\\_{here['project']}\\_%\\_chunks"],
        ).fetchall()
        for table, of in found:
            name = table.removesuffix("_chunks")
            if name == current:
                connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(_table(name, "chunks"), sql.Literal(str(folder))))  # fmt: skip
            elif not _names(Path(of or ""), name):
                _drop(connection, name)


def _names(folder: Path, name: str) -> bool:
    """Whether a folder is a store with these tables."""
    with suppress(OSError, ValueError, KeyError):
        return _tables(folder) == name
    return False


def _write_place(folder: Path, database: str, project: str, approximate_from: int) -> None:
    tables = f"gt_{re.sub('[^a-z0-9]', '', project.lower())[:16]}_{secrets.token_hex(6)}"
    project = tables.split("_")[1]
    place = {"database": database, "tables": tables, "project": project, "approximate_from": approximate_from}
    write_json(folder / _PLACE, place)
    (folder / _PLACE).chmod(0o600)  # an address may hold a password


def _place(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / _PLACE).read_text(encoding="utf-8"))
    return found


def _tables(folder: Path) -> str:
    return str(_place(folder)["tables"])


def _connect(folder: Path) -> Any:
    """A connection; as a context it is one transaction, closed at its end.

    Raises:
        InputError: psycopg is not installed, or the database cannot be reached. ConfigError: a variable is not set.
    """
    try:
        import psycopg
    except ImportError:
        raise InputError("the store pgvector needs psycopg", next_step='pip install "groundtune[pg]"') from None
    address = re.sub(r"\$\{(\w+)\}", _variable, str(_place(folder)["database"]))
    try:
        return psycopg.connect(address.replace("postgresql+psycopg://", "postgresql://", 1), connect_timeout=20)
    except psycopg.Error as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"index.database: no connection: {reason}",
            expected="a running PostgreSQL that lets you in",
            next_step="check `index.database` in groundtune.yaml",
        ) from None


def _variable(match: re.Match[str]) -> str:
    value = os.environ.get(match[1])
    if value is None:
        raise ConfigError(f"index.database names ${{{match[1]}}}, which is not set", next_step=f"export {match[1]}=...")
    return value


def _create(connection: Any, name: str, dimensions: int, folder: Path) -> None:
    import psycopg
    from psycopg import sql

    try:
        with connection.transaction():
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"index.database: no extension pgvector: {reason}",
            expected="a PostgreSQL with pgvector 0.8 or newer",
            next_step="install it, or let its administrator say CREATE EXTENSION vector",
        ) from None

    def make(kind: str, columns: Sequence[str], *more: str) -> None:
        parts = [sql.SQL("{} {}").format(sql.Identifier(c), sql.SQL(_TYPES.get(c, "text"))) for c in columns]
        parts += [sql.Composed([sql.SQL(m)]) for m in more]
        connection.execute(sql.SQL("CREATE TABLE {} ({})").format(_table(name, kind), sql.SQL(", ").join(parts)))

    vector = f"vector({int(dimensions)})"
    make("chunks", [*CHUNK_COLUMNS, "search_text", "length"], f"vector {vector} NOT NULL", "PRIMARY KEY (chunk_id)")
    make("sentences", [*PLACE_COLUMNS, "position", "sentence"], f"vector {vector}", f"context_vector {vector}")
    make("terms", ["term", "chunk_id", "document_id"], "times integer NOT NULL")
    make("figures", [], "chunks bigint", "mean_length double precision")
    connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(_table(name, "chunks"), sql.Literal(str(folder))))
    for kind, column in (("sentences", "chunk_id"), ("terms", "term"), ("terms", "chunk_id")):
        connection.execute(sql.SQL("CREATE INDEX ON {} ({})").format(_table(name, kind), sql.Identifier(column)))


def _add(connection: Any, name: str, folder: Path, batches: Iterable[Sequence[Entry]]) -> int:
    from psycopg import sql

    terms, total = Terms(folder), 0
    for batch in batches:
        said = [terms.of_chunk(e).split() for e in batch]
        rows: dict[str, Iterable[Sequence[Any]]] = {
            "chunks": (
                (*column_values(e.chunk), e.search_text, len(t), _vector(e.vector))
                for e, t in zip(batch, said, strict=True)
            ),
            "sentences": (
                (*place_values(e.chunk), n, s, _vector(v), _vector(c))
                for e in batch
                for n, (s, v, c) in enumerate(zip(e.sentences, e.vectors, e.context_vectors, strict=True))
            ),
            "terms": (
                (term, e.chunk.id, e.chunk.document_id, times)
                for e, t in zip(batch, said, strict=True)
                for term, times in Counter(t).items()
            ),
        }
        with connection.cursor() as cursor:
            for kind, values in rows.items():
                with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(_table(name, kind))) as out:
                    for row in values:
                        out.write_row([v.replace("\0", "") if isinstance(v, str) else v for v in row])
        total += len(batch)
    return total


def _delete(connection: Any, name: str, column: str, ids: Sequence[str]) -> None:
    from psycopg import sql

    for kind in _ROWS:
        statement = sql.SQL("DELETE FROM {} WHERE {} = ANY(%s)").format(_table(name, kind), sql.Identifier(column))
        connection.execute(statement, [list(ids)])


def _finish(connection: Any, name: str, approximate_from: int) -> None:
    """What BM25 has to know of all chunks, graphs of vectors from a size on, and the planner's statistics."""
    from psycopg import sql

    figures, chunks = _table(name, "figures"), _table(name, "chunks")
    connection.execute(sql.SQL("DELETE FROM {}").format(figures))
    connection.execute(
        sql.SQL("INSERT INTO {} SELECT count(*), coalesce(avg(length), 1) FROM {}").format(figures, chunks)
    )
    for kind, columns in (("chunks", ("vector",)), ("sentences", ("vector", "context_vector"))):
        rows = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(_table(name, kind))).fetchone()[0]
        graphs = approximate_from and rows >= approximate_from and _dimensions(connection, name) <= _MOST_GRAPHED
        for column in columns if graphs else ():
            connection.execute(
                sql.SQL("CREATE INDEX {} ON {} USING hnsw ({} vector_cosine_ops)").format(
                    sql.Identifier(f"{name}_{kind}_{column}_hnsw"), _table(name, kind), sql.Identifier(column)
                )
            )
        connection.execute(sql.SQL("ANALYZE {}").format(_table(name, kind)))
    connection.execute(sql.SQL("ANALYZE {}").format(_table(name, "terms")))


def _dimensions(connection: Any, name: str) -> int:
    found = connection.execute(
        "SELECT atttypmod FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'vector'", [f"{name}_chunks"]
    ).fetchone()
    return int(found[0])


def _drop_indexes(connection: Any, name: str) -> None:
    """Take graphs away before many rows change: building one anew costs less than keeping it."""
    from psycopg import sql

    for kind, column in (("chunks", "vector"), ("sentences", "vector"), ("sentences", "context_vector")):
        index = sql.Identifier(f"{name}_{kind}_{column}_hnsw")
        connection.execute(sql.SQL("DROP INDEX IF EXISTS {}").format(index))


def _copy_where(folder: Path, target: Path, without: str | None) -> int:
    from psycopg import sql

    place, old = _place(folder), _tables(folder)
    shutil.copytree(folder, target, dirs_exist_ok=True)
    _write_place(target, place["database"], place["project"], place["approximate_from"])
    new = _tables(target)
    with _connect(target) as connection:
        _create(connection, new, _dimensions(connection, old), target)
        for kind in _ROWS:
            statement = sql.SQL("INSERT INTO {} SELECT * FROM {} WHERE document_id IS DISTINCT FROM %s")
            connection.execute(statement.format(_table(new, kind), _table(old, kind)), [without])
        _finish(connection, new, int(place["approximate_from"]))
        return int(connection.execute(sql.SQL("SELECT chunks FROM {}").format(_table(new, "figures"))).fetchone()[0])


def _drop(connection: Any, name: str) -> None:
    from psycopg import sql

    for kind in _KINDS:
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(_table(name, kind)))


def _table(name: str, kind: str) -> Any:
    from psycopg import sql

    return sql.Identifier(f"{name}_{kind}")


def _vector(values: Any) -> str:
    return "[" + ",".join(map(repr, values.tolist())) + "]"


def _array(text: str) -> Any:
    import numpy as np

    return np.array(json.loads(text), dtype=np.float32)


def _condition(document: str | None, where: Filter | None, alias: str = "") -> Any:
    """`` WHERE ...`` as SQL; values are literals that psycopg quotes."""
    from psycopg import sql

    found = both(None if document is None else of_document(document), where)
    if found is None:
        return sql.SQL("")
    text = found.sql(lambda c: f'{alias}"{c}"', lambda v: sql.Literal(v).as_string())
    return sql.SQL(" WHERE ") + sql.SQL(text.replace("%", "%%"))  # type: ignore[arg-type,unused-ignore]


class Store:
    """A built store, opened for reading.

    Args:
        folder: what :func:`build` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._name = folder, _tables(folder)
        self._terms = Terms(folder)
        self._connection = self._open()

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
        from psycopg import sql

        words = self._terms.of_question(text)
        if not words:
            return []
        statement = sql.SQL(
            "WITH held AS (SELECT term, chunk_id, times FROM {terms} WHERE term = ANY(%(words)s)), "
            "weights AS (SELECT term, ln(1 + (f.chunks - count(*) + 0.5) / (count(*) + 0.5)) AS idf "
            "FROM held, {figures} f GROUP BY term, f.chunks) "
            "SELECT c.chunk_id, sum(w.idf * h.times * (%(k1)s + 1) / (h.times + %(k1)s * "
            "(1 - %(b)s + %(b)s * c.length / f.mean_length))) AS score "
            "FROM held h JOIN weights w USING (term) JOIN {chunks} c USING (chunk_id) CROSS JOIN {figures} f"
        ).format(**{kind: _table(self._name, kind) for kind in _KINDS if kind != "sentences"})
        statement += _condition(document, where, "c.")
        statement += sql.SQL(" GROUP BY c.chunk_id ORDER BY score DESC, c.chunk_id LIMIT %(k)s")
        rows = self._rows(statement, {"words": words, "k1": K1, "b": B, "k": k})
        return [(id_, float(score)) for id_, score in rows]

    def entries(self, ids: Sequence[str]) -> dict[str, Entry]:
        """What is held of these chunks, vectors included, by id."""
        import numpy as np
        from psycopg import sql

        if not ids:
            return {}
        columns = sql.SQL("chunk_id, sentence, vector::text, context_vector::text")
        statement = sql.SQL("SELECT {} FROM {} WHERE chunk_id = ANY(%(ids)s) ORDER BY chunk_id, position")
        of_chunk: dict[str, list[Any]] = {}
        for row in self._rows(statement.format(columns, _table(self._name, "sentences")), {"ids": list(ids)}):
            of_chunk.setdefault(row[0], []).append(row)
        names = sql.SQL(", ").join(map(sql.Identifier, [*CHUNK_COLUMNS, "search_text"]))
        statement = sql.SQL("SELECT {}, vector::text FROM {} WHERE chunk_id = ANY(%(ids)s)")
        out = {}
        for row in self._rows(statement.format(names, _table(self._name, "chunks")), {"ids": list(ids)}):
            vector = _array(row[-1])
            of_it = of_chunk.get(row[0], [])
            both_kinds = [
                np.array([_array(r[n]) for r in of_it], dtype=np.float32).reshape(-1, len(vector)) for n in (2, 3)
            ]
            chunk = as_chunk(dict(zip(CHUNK_COLUMNS, row, strict=False)))
            out[row[0]] = Entry(chunk, row[-2], vector, [r[1] for r in of_it], *both_kinds)
        return out

    def chunks(self) -> Iterator[Chunk]:
        """Every chunk."""
        from psycopg import sql

        names = sql.SQL(", ").join(map(sql.Identifier, CHUNK_COLUMNS))
        statement = sql.SQL("SELECT {} FROM {} ORDER BY chunk_id").format(names, _table(self._name, "chunks"))
        for row in self._rows(statement, {}):
            yield as_chunk(dict(zip(CHUNK_COLUMNS, row, strict=True)))

    def _near(
        self, kind: str, column: str, vector: Any, k: int, document: str | None, where: Filter | None
    ) -> list[str]:
        from psycopg import sql

        statement = sql.SQL("SELECT chunk_id FROM {}").format(_table(self._name, kind)) + _condition(document, where)
        statement += sql.SQL(" ORDER BY {} <=> %(vector)s::vector LIMIT %(k)s").format(sql.Identifier(column))
        rows = self._rows(statement, {"vector": _vector(vector), "k": k})
        return list(dict.fromkeys(id_ for (id_,) in rows))

    def _open(self) -> Any:
        connection = _connect(self._folder)
        connection.autocommit = True
        connection.execute(f"SET hnsw.ef_search = {_EF_SEARCH}")
        connection.execute("SET hnsw.iterative_scan = strict_order")  # where a condition leaves few rows, look further
        return connection

    def _rows(self, statement: Any, values: dict[str, Any]) -> list[Any]:
        """The rows of a query; a connection that the server ended is opened once more."""
        import psycopg

        try:
            found: list[Any] = self._connection.execute(statement, values).fetchall()
        except psycopg.OperationalError:
            if not self._connection.closed:
                raise
            self._connection = self._open()
            found = self._connection.execute(statement, values).fetchall()
        return found
