"""What the server must not lose: one table of objects in SQLite (write-ahead log) or any database by URL.

An object is a row with an id, a kind, the id it belongs to, and its body as JSON. Changes go through
:meth:`Store.change`, which reads and writes in one transaction, so that two processes (server and job) never overwrite each
other. The bytes of files lie beside, in folders (``files``). Tables are made and altered by Alembic (``migrations``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, Index, Integer, String, create_engine, delete, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from groundtune.errors import ConfigError, WorkspaceError
from groundtune.serving.ids import new_id

Body = dict[str, Any]
Order = Literal["asc", "desc"]
#: seconds that a writer waits for another
_PATIENCE = 30
_READS = "groundtune_reads"


class Base(DeclarativeBase):
    """Of all tables."""


class Row(Base):
    """An object of any kind; ``number`` grows with each, so that order never depends on the clock."""

    __tablename__ = "objects"
    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    id: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(40))
    parent: Mapped[str] = mapped_column(String(255), default="")
    state: Mapped[str] = mapped_column(String(40), default="")
    created_at: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[Body] = mapped_column(JSON)

    __table_args__ = (
        Index("objects_by_id", "kind", "parent", "id", unique=True),
        Index("objects_in_order", "kind", "parent", "number"),
    )


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list.

    Attributes:
        items: bodies, in the order asked for.
        has_more: whether there are others behind them.
    """

    items: list[Body]
    has_more: bool


@dataclass(frozen=True, slots=True)
class New:
    """An object to be added along with a change, in the same transaction, unless there is one of that id."""

    kind: str
    id: str
    body: Mapping[str, Any]
    parent: str = ""
    state: str = ""

    def row(self) -> Row:
        """As it is kept."""
        now = int(self.body.get("created_at") or time.time())
        body = {"id": self.id, **self.body, "created_at": now}
        return Row(id=self.id, kind=self.kind, parent=self.parent, state=self.state, created_at=now, body=body)


class Store:
    """Objects in a database.

    Args:
        url: of SQLAlchemy, such as ``sqlite:////path/serving.db`` or ``postgresql+psycopg://user@host/name``.

    Raises:
        ConfigError: no such kind of database, or no driver for it. WorkspaceError: it cannot be opened.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            sqlite = parsed.get_backend_name() == "sqlite"
            if sqlite and parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            self.engine = create_engine(
                parsed, connect_args={"timeout": _PATIENCE} if sqlite else {}, pool_pre_ping=not sqlite
            )
        except (ArgumentError, ImportError, ModuleNotFoundError) as error:
            raise ConfigError(
                f"serve.database: {url}: {error}",
                expected="sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME",
                next_step="pip install 'groundtune[pg]' for PostgreSQL",
            ) from None
        if sqlite:
            event.listen(self.engine, "connect", _sqlite_settings)
            event.listen(self.engine, "begin", _begin)
        self._reading = self.engine.execution_options(**{_READS: True})
        try:
            from groundtune.serving.migrations import upgrade

            upgrade(self.engine)
        except OperationalError as error:
            raise WorkspaceError(
                f"the server's database cannot be opened: {parsed.render_as_string(hide_password=True)}: {error.orig}",
                next_step="see that it is there, that it may be written to, and that the disk is not full",
            ) from None

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()

    @contextmanager
    def session(self, *, reads: bool = False) -> Iterator[Session]:
        """A transaction: committed at the end, undone by an exception; one that only reads waits for no writer."""
        with Session(self._reading if reads else self.engine) as session, session.begin():
            yield session

    # ---------------------------------------------------------------- one object

    def add(
        self, kind: str, body: Mapping[str, Any], *, id: str | None = None, parent: str = "", state: str = ""
    ) -> Body:
        """Keep a new object; its body with ``id`` and ``created_at`` put in.

        Raises:
            KeyError: there is one of that id.
        """
        now = int(body.get("created_at") or time.time())
        made = {"id": id or new_id(kind), **body, "created_at": now}
        row = Row(id=made["id"], kind=kind, parent=parent, state=state, created_at=now, body=made)
        try:
            with self.session() as session:
                session.add(row)
        except IntegrityError:
            raise KeyError(made["id"]) from None
        return made

    def add_all(self, objects: Sequence[New]) -> None:
        """Keep several new objects in one transaction; those that are there already stay as they are."""
        with self.session() as session:
            _add_missing(session, objects)

    def get(self, kind: str, id: str, *, parent: str = "") -> Body | None:
        """An object's body."""
        with self.session(reads=True) as session:
            row = _find(session, kind, id, parent)
            return dict(row.body) if row else None

    def change(
        self,
        kind: str,
        id: str,
        change: Callable[[Body], Mapping[str, Any] | None],
        *,
        parent: str = "",
        also: Sequence[New] = (),
    ) -> Body | None:
        """Change an object in one transaction; its body afterwards, None where there is no such object.

        Args:
            change: gets a copy of the body, returns what is to be other in it; None changes nothing. What it raises
                undoes the transaction. ``state`` among the changes is the row's, too.
            also: added in the same transaction, unless ``change`` returns None.
        """
        with self.session() as session:
            row = _find(session, kind, id, parent, lock=True)
            if row is None:
                return None
            changes = change(dict(row.body))
            if changes:
                row.body = {**row.body, **changes}
                row.state = str(changes.get("status", row.state))
            if changes is not None:
                _add_missing(session, also)
            return dict(row.body)

    def remove(self, kind: str, id: str, *, parent: str = "") -> bool:
        """Take an object out; whether there was one."""
        with self.session() as session:
            row = _find(session, kind, id, parent, lock=True)
            if row is None:
                return False
            session.delete(row)
            return True

    def remove_all(self, kind: str, *, parent: str) -> int:
        """Take out everything of a kind that belongs to an object; how many there were."""
        with self.session() as session:
            gone: Any = session.execute(delete(Row).where(Row.kind == kind, Row.parent == parent))
            return int(gone.rowcount)

    # ---------------------------------------------------------------- many

    def page(
        self,
        kind: str,
        *,
        parent: str = "",
        after: str | None = None,
        before: str | None = None,
        limit: int = 20,
        order: Order = "desc",
        fits: Callable[[Body], bool] | None = None,
    ) -> Page:
        """Objects of a kind in the order they were made in.

        Args:
            after, before: ids that the page begins behind, or ends before, in that order; unknown ones leave it whole.
            fits: keeps only bodies of which it is true.
        """
        down = order == "desc"
        with self.session(reads=True) as session:
            query = select(Row).where(Row.kind == kind, Row.parent == parent)
            for cursor, later in ((after, not down), (before, down)):
                mark = _find(session, kind, cursor, parent) if cursor else None
                if mark is not None:
                    query = query.where(Row.number > mark.number if later else Row.number < mark.number)
            query = query.order_by(Row.number.desc() if down else Row.number)
            if fits is None:
                rows: Sequence[Row] = session.scalars(query.limit(limit + 1)).all()
            else:
                rows = []
                for row in session.scalars(query.execution_options(yield_per=200)):
                    if fits(row.body):
                        rows = [*rows, row]
                        if len(rows) > limit:
                            break
            return Page([dict(row.body) for row in rows[:limit]], len(rows) > limit)

    def all(self, kind: str, *, parent: str | None = None, states: Sequence[str] = ()) -> list[Body]:
        """Every object of a kind, oldest first; of any parent where none is named."""
        query = select(Row.body).where(Row.kind == kind).order_by(Row.number)
        if parent is not None:
            query = query.where(Row.parent == parent)
        if states:
            query = query.where(Row.state.in_(states))
        with self.session(reads=True) as session:
            return [dict(body) for body in session.scalars(query)]

    def count(self, kind: str, *, parent: str | None = None, states: Sequence[str] = ()) -> int:
        """How many there are."""
        query = select(func.count()).select_from(Row).where(Row.kind == kind)
        if parent is not None:
            query = query.where(Row.parent == parent)
        if states:
            query = query.where(Row.state.in_(states))
        with self.session(reads=True) as session:
            return int(session.scalar(query) or 0)


def _add_missing(session: Session, objects: Sequence[New]) -> None:
    for new in objects:
        if _find(session, new.kind, new.id, new.parent) is None:
            session.add(new.row())
            session.flush()  # numbers follow the order given


def _find(session: Session, kind: str, id: str, parent: str, *, lock: bool = False) -> Row | None:
    if not _is_text(id) or not _is_text(parent):
        return None
    query = select(Row).where(Row.kind == kind, Row.id == id, Row.parent == parent)
    return session.scalar(query.with_for_update() if lock else query)


def _is_text(id: str) -> bool:
    """Whether a database can hold it: no half characters (JSON's \\ud83d alone), no NUL, which PostgreSQL takes in no text."""
    try:
        id.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in id


def _begin(connection: Any) -> None:
    """A transaction that will write takes SQLite's lock at once: taken later, it could be refused without waiting."""
    reads = connection.get_execution_options().get(_READS)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _sqlite_settings(connection: Any, _: Any) -> None:
    """Write-ahead log; SQLAlchemy, not the driver, begins transactions."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # what was answered is on disk, even if the machine dies
    cursor.execute(f"PRAGMA busy_timeout={_PATIENCE * 1000}")
    cursor.close()
