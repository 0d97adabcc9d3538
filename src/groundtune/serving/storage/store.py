"""What the server must not lose: one table of objects in SQLite (write-ahead log) or any database by URL.

An object is a row with an id, a kind, the id it belongs to, whose it is, and its body as JSON. Changes go through
:meth:`Store.change`, which reads and writes in one transaction, so that two processes (server and job) never overwrite each
other. :meth:`Store.of` is the store as somebody sees it (``owners``). The bytes of files lie beside, in folders (``files``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, Index, Integer, Select, String, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from groundtune.serving.ids import new_id
from groundtune.serving.storage.database import READS, open_database
from groundtune.serving.storage.owners import SERVER, Scope, servers_own

Body = dict[str, Any]
Order = Literal["asc", "desc"]
#: letters of an id
_LONGEST_ID = 255


class Base(DeclarativeBase):
    """Of all tables."""


class Row(Base):
    """An object of any kind; ``number`` grows with each, so that order never depends on the clock."""

    __tablename__ = "objects"
    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    id: Mapped[str] = mapped_column(String(_LONGEST_ID))
    kind: Mapped[str] = mapped_column(String(40))
    parent: Mapped[str] = mapped_column(String(_LONGEST_ID), default="")
    state: Mapped[str] = mapped_column(String(40), default="")
    owner: Mapped[str] = mapped_column(String(255), default="", server_default="")
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

    def row(self, owner: str) -> Row:
        """As it is kept."""
        now = int(self.body.get("created_at") or time.time())
        body = {"id": self.id, **self.body, "created_at": now}
        how: dict[str, Any] = {"kind": self.kind, "parent": self.parent, "state": self.state, "owner": owner}
        return Row(id=self.id, **how, created_at=now, body=body)


class Store:
    """Objects in a database.

    Args:
        url: of SQLAlchemy, such as ``sqlite:////path/serving.db`` or ``postgresql+psycopg://user@host/name``.

    Raises:
        ConfigError: no such kind of database, or no driver for it. WorkspaceError: it cannot be opened.

    Attributes:
        scope: what is seen of them here.
        server: the whole.
    """

    def __init__(self, url: str) -> None:
        self.engine = open_database(url)
        self._reading = self.engine.execution_options(**{READS: True})
        self.scope: Scope = SERVER
        self.server: Store = self

    def of(self, scope: Scope) -> Store:
        """The same as somebody sees it: what is another's is not there, what is made is theirs."""
        view = copy(self)
        view.scope = scope
        return view

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()

    @contextmanager
    def session(self, *, reads: bool = False) -> Iterator[Session]:
        """A transaction: committed at the end, undone by an exception; one that only reads waits for no writer."""
        with Session(self._reading if reads else self.engine) as session, session.begin():
            yield session

    def find(self, session: Session, kind: str, id: str, parent: str = "", *, to_change: bool = False) -> Row | None:
        """An object's row, as far as it is seen here.

        Args:
            to_change: held until the transaction ends.

        Raises:
            ApiError: it is to be changed by somebody who may only see it.
        """
        if not _may_be_id(id) or not _may_be_id(parent):
            return None
        query = self._seen(select(Row).where(Row.kind == kind, Row.id == id, Row.parent == parent))
        row: Row | None = session.scalar(query.with_for_update() if to_change else query)
        if row is not None and to_change and not self.scope.may_change(row.owner):
            raise servers_own(id)
        return row

    def _seen(self, query: Select[Any]) -> Select[Any]:
        return query if self.scope.everything else query.where(Row.owner.in_(self.scope.seen))

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
        owner = self.scope.owner
        row = Row(id=made["id"], kind=kind, parent=parent, state=state, owner=owner, created_at=now, body=made)
        try:
            with self.session() as session:
                session.add(row)
        except IntegrityError:
            raise KeyError(made["id"]) from None
        return made

    def add_all(self, objects: Sequence[New]) -> None:
        """Keep several new objects in one transaction; those that are there already stay as they are."""
        with self.session() as session:
            _add_missing(session, objects, self.scope.owner)

    def get(self, kind: str, id: str, *, parent: str = "") -> Body | None:
        """An object's body."""
        with self.session(reads=True) as session:
            row = self.find(session, kind, id, parent)
            return dict(row.body) if row else None

    def owned(self, kind: str, id: str, *, parent: str = "") -> Body | None:
        """The body of an object that something is to be done with.

        Raises:
            ApiError: it may only be seen.
        """
        with self.session(reads=True) as session:
            row = self.find(session, kind, id, parent)
            if row is not None and not self.scope.may_change(row.owner):
                raise servers_own(id)
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
            also: added in the same transaction, unless ``change`` returns None, and of the same owner.

        Raises:
            ApiError: it may only be seen.
        """
        with self.session() as session:
            row = self.find(session, kind, id, parent, to_change=True)
            if row is None:
                return None
            changes = change(dict(row.body))
            if changes:
                row.body = {**row.body, **changes}
                row.state = str(changes.get("status", row.state))
            if changes is not None:
                _add_missing(session, also, row.owner)
            return dict(row.body)

    def remove(self, kind: str, id: str, *, parent: str = "") -> bool:
        """Take an object out; whether there was one.

        Raises:
            ApiError: it may only be seen.
        """
        with self.session() as session:
            row = self.find(session, kind, id, parent, to_change=True)
            if row is None:
                return False
            session.delete(row)
            return True

    def remove_all(self, kind: str, *, parent: str) -> int:
        """Take out everything of a kind that belongs to an object, as far as it may be changed; how many there were."""
        gone_ones = delete(Row).where(Row.kind == kind, Row.parent == parent)
        if not self.scope.everything:
            gone_ones = gone_ones.where(Row.owner == self.scope.owner, Row.owner != "")
        with self.session() as session:
            gone: Any = session.execute(gone_ones)
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
            query = self._seen(select(Row).where(Row.kind == kind, Row.parent == parent))
            for cursor, later in ((after, not down), (before, down)):
                mark = self.find(session, kind, cursor, parent) if cursor else None
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
        query = self._seen(select(Row.body).where(Row.kind == kind)).order_by(Row.number)
        if parent is not None:
            query = query.where(Row.parent == parent)
        if states:
            query = query.where(Row.state.in_(states))
        with self.session(reads=True) as session:
            return [dict(body) for body in session.scalars(query)]

    def count(self, kind: str, *, parent: str | None = None, states: Sequence[str] = ()) -> int:
        """How many there are."""
        query = self._seen(select(func.count()).select_from(Row).where(Row.kind == kind))
        if parent is not None:
            query = query.where(Row.parent == parent)
        if states:
            query = query.where(Row.state.in_(states))
        with self.session(reads=True) as session:
            return int(session.scalar(query) or 0)


def _add_missing(session: Session, objects: Sequence[New], owner: str) -> None:
    for new in objects:
        there = select(Row.number).where(Row.kind == new.kind, Row.id == new.id, Row.parent == new.parent)
        if session.scalar(there) is None:
            try:
                with session.begin_nested():
                    session.add(new.row(owner))
                    session.flush()  # numbers follow the order given
            except IntegrityError:  # another process was faster
                continue


def _may_be_id(id: str) -> bool:
    """Whether an id could be in the table: databases differ in what they say of others (too long, half characters, NUL)."""
    return len(id) <= _LONGEST_ID and id.isprintable()
