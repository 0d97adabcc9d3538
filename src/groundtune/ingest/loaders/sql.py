"""Rows of a database: a .sql file whose first line names the database and whose one SELECT says which rows.

    -- groundtune: postgresql+psycopg://reader:${DB_PASSWORD}@host/shop
    SELECT name, price FROM products

The address is SQLAlchemy's; ``${NAME}`` is read from the environment, and the path of an SQLite file counts from the
folder of the .sql file. Leaves out everything that is not one SELECT. The rows change without the file: ``VOLATILE``.

SQLite and PostgreSQL are opened for reading only. With MySQL and all others only the check of the statement stands
between a query and the data, and a check can be got round: use an account that may only read.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from groundtune.errors import InputError
from groundtune.ingest import reading, rows
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.records import Section

EXTENSIONS = (".sql",)
#: what it yields does not depend on the file alone, so that it is read again each time
VOLATILE = True

_MARK = re.compile(r"--\s*groundtune:\s*(\S.*?)\s*$")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_MAX_CHARACTERS = 100_000
_BATCH_ROWS = 500
_HOW = "a first line `-- groundtune: <SQLAlchemy URL>` and one SELECT below it"
#: what cannot stand in a query that only reads, as words outside quotes and comments
_WRITES = re.compile(
    r"\b(insert|update|delete|merge|into|drop|alter|create|truncate|grant|revoke|attach|detach|pragma|copy|outfile|"
    r"dumpfile|commit|rollback|exec|execute|xp_\w+|openrowset|openquery|opendatasource)\b",
    re.IGNORECASE,
)
#: functions that read or write files, open connections, run a query given as text or change settings; also in quotes
_REACHES_OUT = re.compile(
    r"\b(pg_read_\w+|pg_ls_\w+|pg_stat_file|pg_(?:terminate|cancel)_backend|lo_\w+|dblink\w*|query_to_xml\w*|set_config|"
    r"load_extension|load_file|readfile|writefile|sys_exec|sys_eval|utl_\w+)\b|\bu&\"",
    re.IGNORECASE,
)
#: quotes and comments that databases read differently, so that what is quoted cannot be told: an escaped quote, a
#: comment that MySQL runs, the dollar quotes of PostgreSQL
_AMBIGUOUS = re.compile(r"\\['\"]|/\*M?!|\$\w*\$")
#: marks that are quotes or comments in some databases only; refused where something to refuse is quoted in the query
_UNLIKE = re.compile(r"[\[`#\\]|--(?!\s)|\b(?:e|n?q|u&)'", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]\n]*\]|--[^\n]*|/\*.*?\*/", re.DOTALL)
#: longest time that the database may work on a query, in seconds
_SECONDS = 60.0
#: how many steps of SQLite's machine (about 1 ms) pass between two looks at the clock
_STEPS = 10_000


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a row of the query's result, as from CSV; ``row`` counts from 1. Streamed, 500 rows at a time.

    SQLite and PostgreSQL are opened for reading only, so that a query that slips past the check cannot write either.
    The database may work on it for 60 seconds in all, without what is done with the rows; SQLite, PostgreSQL, MySQL and
    MariaDB are stopped then, of others the time is looked at between rows.

    Raises:
        InputError: missing, empty, no text, no first line with an address, a variable that is not set, not one SELECT,
            a driver that is not installed, a database that refuses or takes too long, no rows. No message holds a password.
    """
    reading.check_file(path, "an SQL file")
    with reading.open_text(path) as stream:
        text = stream.read(_MAX_CHARACTERS + 1)
    first, _, query = text.partition("\n")
    mark = _MARK.match(first)
    if not mark:
        raise InputError(f"{path}:1: the first line does not name a database", expected=_HOW,
                         next_step="write that line, or leave the file out of `documents:`")  # fmt: skip
    query = _checked(path, query, too_long=len(text) > _MAX_CHARACTERS)
    address = _address(path, mark[1], os.environ)
    number = 0
    secrets = [os.environ[name] for name in _VARIABLE.findall(mark[1])]
    for number, row in enumerate(_rows(path, address, query, secrets), start=1):
        yield from rows.record(row, number)
    if not number:
        raise InputError(f"{path}: the query gives no rows", expected="rows", next_step="check its conditions")


def _checked(path: Path, query: str, *, too_long: bool) -> str:
    """The query without a semicolon at its end, if it is one that only reads."""
    bare = _QUOTED.sub(lambda match: " " if match[0].startswith(("--", "/*")) else " x ", query).strip()
    body = bare.rstrip("; \n\t\r")
    write = _WRITES.search(body) or _AMBIGUOUS.search(query) or _REACHES_OUT.search(_names(query)) or _nested(query)
    if not write and (_WRITES.search(query) or ";" in query.rstrip("; \n\t\r")):
        write = _UNLIKE.search(query)
    if too_long or not re.match(r"(?:select|with)\b", body, re.IGNORECASE) or ";" in body or write:
        found = f"{write[0].upper()} stands in it" if write else "it is another statement, or more than one"
        raise InputError(f"{path} is not one SELECT: {found if not too_long else 'over 100,000 characters'}", expected=_HOW,
                         next_step="write a query that only reads")  # fmt: skip
    return query.strip().rstrip("; \n\t\r") if not query.rstrip().endswith("*/") else query


def _names(query: str) -> str:
    """The query without its texts and comments; names in quotes stay."""
    return _QUOTED.sub(lambda match: " " if match[0].startswith(("'", "--", "/*")) else match[0], query)


def _nested(query: str) -> re.Match[str] | None:
    """A comment that begins in a comment: it ends here in some databases and there in others."""
    comments = (match for match in _QUOTED.finditer(query) if match[0].startswith("/*"))
    return next((found for c in comments if (found := re.search(r"/\*", c[0][2:]))), None)


def _address(path: Path, written: str, environment: Mapping[str, str]) -> Any:
    """The parsed address, with variables filled in and a relative SQLite path made absolute."""
    from sqlalchemy.engine import make_url

    missing = [name for name in _VARIABLE.findall(written) if name not in environment]
    if missing:
        raise InputError(f"{path}:1: the environment has no {missing[0]}", expected=f"a value for ${{{missing[0]}}}",
                         next_step=f"export {missing[0]}=... and run it again")  # fmt: skip
    whole = _VARIABLE.fullmatch(written)
    filled = environment[whole[1]] if whole else _VARIABLE.sub(lambda m: quote(environment[m[1]], safe=""), written)
    try:
        url = make_url(filled)
    except Exception:  # its message may hold the password
        raise InputError(f"{path}:1: the address cannot be read", expected="dialect+driver://user:password@host/database",
                         next_step="see https://docs.sqlalchemy.org/core/engines.html") from None  # fmt: skip
    if url.get_backend_name() == "sqlite":
        name = url.database or ""
        if not name or name == ":memory:":
            raise InputError(f"{path}:1: an SQLite database in memory is empty", expected="a database file",
                             next_step="write sqlite:///file.db")  # fmt: skip
        file = (path.parent / name).resolve()
        if not file.is_file():
            raise InputError(f"{path}:1: there is no database {file}", expected="an SQLite file",
                             next_step="check the path; it counts from the folder of the .sql file")  # fmt: skip
        url = url.set(database=f"file:{quote(file.as_posix())}", query={**url.query, "mode": "ro", "uri": "true"})
    return url


def _rows(path: Path, url: Any, query: str, secrets: list[str]) -> Iterator[Mapping[str, Any]]:
    import sqlalchemy

    clock = _Clock(_SECONDS)
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
        sqlalchemy.event.listen(engine, "connect", lambda raw, _: _guard(raw, url.get_backend_name(), clock))
        with contextlib.ExitStack() as stack:
            stack.callback(engine.dispose)
            connection = stack.enter_context(engine.connect())
            if url.get_backend_name() == "postgresql":
                connection = connection.execution_options(postgresql_readonly=True)
            # as written: neither a colon nor a percent sign in the query is a parameter
            connection = connection.execution_options(yield_per=_BATCH_ROWS, no_parameters=True)
            with clock:
                result = connection.exec_driver_sql(query)
            names = _different(rows.named(list(result.keys())))
            while True:
                with clock:
                    row = result.fetchone()
                if row is None:
                    break
                yield dict(zip(names, row, strict=True))
    except (ImportError, sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:300] or type(error).__name__
        for secret in filter(None, (*secrets, url.password, url.query.get("password"))):
            reason = reason.replace(str(secret), "***")
        if clock.over():
            raise InputError(f"{path}: the query takes too long", expected=f"an answer in {_SECONDS:.0f} seconds",
                             next_step="ask for fewer rows, or write the rows to a CSV file and ingest that") from None  # fmt: skip
        missing = isinstance(error, ImportError | sqlalchemy.exc.NoSuchModuleError)
        database = unquote(url.database or "").removeprefix("file:")
        raise InputError(f"{path}: {url.get_backend_name()} database {database!r}: {reason}",
                         expected="a database that answers the query",
                         next_step="pip install the driver that the address names" if missing else
                         "try the query in the database's own client") from None  # fmt: skip


class _Clock:
    """Counts the time spent within ``with``; TimeoutError at the end of a piece where it is over the limit."""

    def __init__(self, limit: float) -> None:
        self._left = limit
        self._since: float | None = None

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        if self._since is not None:
            self._left -= time.monotonic() - self._since
        self._since = None
        if self._left <= 0:
            raise TimeoutError("over its time")

    def over(self) -> bool:
        """No time is left."""
        return self._left - (time.monotonic() - self._since if self._since is not None else 0) <= 0


def _guard(raw: Any, backend: str, clock: _Clock) -> None:
    """Makes a new connection one that only reads, and ends what takes too long, where the database can do that."""
    if backend == "sqlite":
        raw.set_progress_handler(clock.over, _STEPS)
        return
    milliseconds = int(_SECONDS * 1000)
    statements = {
        "postgresql": ("SET default_transaction_read_only = on", f"SET statement_timeout = {milliseconds}"),
        "mysql": (f"SET SESSION max_execution_time = {milliseconds}", f"SET SESSION max_statement_time = {_SECONDS}"),
        "mariadb": (f"SET SESSION max_statement_time = {_SECONDS}",),
    }
    cursor = raw.cursor()
    for statement in statements.get(backend, ()):
        # MySQL and MariaDB know one of theirs each, and both answer to the same address
        with contextlib.suppress(Exception) if backend != "postgresql" else contextlib.nullcontext():
            cursor.execute(statement)
    cursor.close()
    if backend == "postgresql":
        raw.commit()


def _different(names: list[str]) -> list[str]:
    """Columns of the same name told apart: "id", "id 2"."""
    out: list[str] = []
    for name in names:
        out.append(name if name not in out else f"{name} {sum(n == name for n in names[: len(out) + 1])}")
    return out
