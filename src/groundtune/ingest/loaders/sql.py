"""Rows of a database: a .sql file whose first line names the database and whose one SELECT says which rows.

    -- groundtune: postgresql+psycopg://reader:${DB_PASSWORD}@host/shop
    SELECT name, price FROM products

The address is SQLAlchemy's; ``${NAME}`` is read from the environment, and the path of an SQLite file counts from the
folder of the .sql file. Leaves out everything that is not one SELECT. The rows change without the file: ``VOLATILE``.
"""

from __future__ import annotations

import contextlib
import os
import re
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
    r"load_extension|pg_read_file|lo_import|lo_export)\b",
    re.IGNORECASE,
)
#: a quote that only some databases take as escaped, and a comment that MySQL runs: what is quoted cannot be told
_AMBIGUOUS = re.compile(r"\\['\"]|/\*!")
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]\n]*\]|--[^\n]*|/\*.*?\*/", re.DOTALL)


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a row of the query's result, as from CSV; ``row`` counts from 1. Streamed, 500 rows at a time.

    SQLite and PostgreSQL are opened for reading only, so that a query that slips past the check cannot write either.

    Raises:
        InputError: missing, empty, no text, no first line with an address, a variable that is not set, not one SELECT,
            a driver that is not installed, a database that refuses, no rows. No message holds a password.
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
    write = _WRITES.search(body) or _AMBIGUOUS.search(query)
    if too_long or not re.match(r"(?:select|with)\b", body, re.IGNORECASE) or ";" in body or write:
        found = f"{write[0].upper()} stands in it" if write else "it is another statement, or more than one"
        raise InputError(f"{path} is not one SELECT: {found if not too_long else 'over 100,000 characters'}", expected=_HOW,
                         next_step="write a query that only reads")  # fmt: skip
    return query.strip().rstrip("; \n\t\r") if not query.rstrip().endswith("*/") else query


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

    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
        with contextlib.ExitStack() as stack:
            stack.callback(engine.dispose)
            connection = stack.enter_context(engine.connect())
            if url.get_backend_name() == "postgresql":
                connection = connection.execution_options(postgresql_readonly=True)
            # as written: neither a colon nor a percent sign in the query is a parameter
            connection = connection.execution_options(yield_per=_BATCH_ROWS, no_parameters=True)
            result = connection.exec_driver_sql(query)
            names = _different(rows.named(list(result.keys())))
            for row in result:
                yield dict(zip(names, row, strict=True))
    except (ImportError, sqlalchemy.exc.SQLAlchemyError, OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:300] or type(error).__name__
        for secret in filter(None, (*secrets, url.password, url.query.get("password"))):
            reason = reason.replace(str(secret), "***")
        missing = isinstance(error, ImportError | sqlalchemy.exc.NoSuchModuleError)
        database = unquote(url.database or "").removeprefix("file:")
        raise InputError(f"{path}: {url.get_backend_name()} database {database!r}: {reason}",
                         expected="a database that answers the query",
                         next_step="pip install the driver that the address names" if missing else
                         "try the query in the database's own client") from None  # fmt: skip


def _different(names: list[str]) -> list[str]:
    """Columns of the same name told apart: "id", "id 2"."""
    out: list[str] = []
    for name in names:
        out.append(name if name not in out else f"{name} {sum(n == name for n in names[: len(out) + 1])}")
    return out
