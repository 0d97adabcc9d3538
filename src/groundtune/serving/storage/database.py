"""The server's database, opened: SQLite with a write-ahead log, or any other by its URL, brought to the newest tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

from groundtune.errors import ConfigError, WorkspaceError

#: seconds that a writer waits for another
_PATIENCE = 30
#: execution option of transactions that only read
READS = "groundtune_reads"


def open_database(address: str) -> Engine:
    """A database with the tables of the day.

    Args:
        address: of SQLAlchemy, such as ``sqlite:////path/serving.db`` or ``postgresql+psycopg://user@host/name``.

    Raises:
        ConfigError: no such kind of database, or no driver for it. WorkspaceError: it cannot be opened.
    """
    url: URL | None = None
    try:
        url = make_url(address)
        engine = _engine(url)
    except (ArgumentError, ImportError, ModuleNotFoundError) as error:
        shown = url.render_as_string(hide_password=True) if url is not None else address
        raise ConfigError(
            f"serve.database: {shown}: {error}",
            expected="sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME",
            next_step="pip install 'groundtune[pg]' for PostgreSQL",
        ) from None
    try:
        from groundtune.serving.storage.migrations import upgrade

        upgrade(engine)
    except DatabaseError as error:
        raise WorkspaceError(
            f"the server's database cannot be opened: {url.render_as_string(hide_password=True)}: {error.orig}",
            next_step="see that it is there, that it may be written to, and that the disk is not full",
        ) from None
    return engine


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _PATIENCE})
    event.listen(engine, "connect", _settings)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Any) -> None:
    """A transaction that will write takes SQLite's lock at once: taken later, it could be refused without waiting."""
    reads = connection.get_execution_options().get(READS)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _settings(connection: Any, _: Any) -> None:
    """Write-ahead log; SQLAlchemy, not the driver, begins transactions."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # what was answered is on disk, even if the machine dies
    cursor.execute(f"PRAGMA busy_timeout={_PATIENCE * 1000}")
    cursor.close()
