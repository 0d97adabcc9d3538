"""What keys and groups have used: kept for each key, model and day, and summed up for each key and group.

A request is written down when it ends, all its rows in one transaction: a server that is killed loses what the requests in
flight had used, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from groundtune.serving.storage.store import Body, Row, Store

#: different models that one key has rows of on one day; what comes after them is counted together
MODELS_A_DAY, OTHER = 50, "(other)"
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Total:
    """What was used.

    Attributes:
        last_seen: seconds since 1970; 0: never.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    last_seen: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Entry:
    """A request that ended.

    Attributes:
        key: its id, "anonymous" where none was needed.
        group: its name; None where the key has none.
        model: as the client named it.
        at: seconds since 1970, when it ended.
    """

    key: str
    group: str | None
    model: str
    prompt_tokens: int
    completion_tokens: int
    usd: float
    at: float

    @property
    def accounts(self) -> list[str]:
        """Ids of the totals that it counts towards."""
        return [self.key, *([group_account(self.group)] if self.group else [])]


def group_account(name: str) -> str:
    """Id of a group's total."""
    return f"group:{name}"


def record(store: Store, entries: Sequence[Entry]) -> dict[str, Total]:
    """Write requests down in one transaction; the totals of their keys and groups afterwards."""
    for attempt in range(_ATTEMPTS):
        try:
            with store.session() as session:
                return _record(session, entries)
        except IntegrityError:  # another process made the same row first: now it is there
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("at least one attempt")


def _record(session: Session, entries: Sequence[Entry]) -> dict[str, Total]:
    totals: dict[str, Total] = {}
    for entry in entries:
        day = datetime.fromtimestamp(entry.at, UTC).date().isoformat()
        model = _model(session, entry, day)
        _add(session, "usage", f"{day} {model}", entry.key, entry, {"day": day, "model": model, "key": entry.key})
        for account in sorted(entry.accounts):  # the same order everywhere: no two writers wait for each other
            totals[account] = _total(_add(session, "usage_total", account, "", entry, {}))
    return totals


def _model(session: Session, entry: Entry, day: str) -> str:
    """The model's name, or a name for many: clients may name models without end (``gpt-*``)."""
    name = entry.model[:120]
    known = session.scalars(
        select(Row.id).where(Row.kind == "usage", Row.parent == entry.key, Row.id.startswith(f"{day} "))
    ).all()
    return name if f"{day} {name}" in known or len(known) < MODELS_A_DAY else OTHER


def _add(session: Session, kind: str, id: str, parent: str, entry: Entry, more: Body) -> Body:
    row = session.scalar(select(Row).where(Row.kind == kind, Row.id == id, Row.parent == parent).with_for_update())
    held = _total(row.body) if row else Total()
    body = {
        "id": id, **more, "requests": held.requests + 1, "prompt_tokens": held.prompt_tokens + entry.prompt_tokens,
        "completion_tokens": held.completion_tokens + entry.completion_tokens, "usd": held.usd + entry.usd,
        "last_seen": max(held.last_seen, int(entry.at)),
    }  # fmt: skip
    if row is None:
        session.add(Row(id=id, kind=kind, parent=parent, created_at=int(entry.at), body=body))
        session.flush()
    else:
        row.body = body
    return body


def _total(body: Body) -> Total:
    return Total(**{name: body[name] for name in asdict(Total())})


def total_of(store: Store, account: str) -> Total:
    """What a key (by its id) or a group (:func:`group_account`) has used in requests that ended."""
    body = store.get("usage_total", account)
    return _total(body) if body else Total()


def totals(store: Store) -> dict[str, Total]:
    """Of every key and group that has used anything."""
    return {body["id"]: _total(body) for body in store.all("usage_total")}


def rows(store: Store, key: str | None = None) -> list[dict[str, Any]]:
    """Use for each key, model and day (UTC), oldest day first: ``key``, ``model``, ``day`` and a :class:`Total`'s values."""
    found = store.all("usage", parent=key)
    return sorted(
        ({name: value for name, value in body.items() if name != "id"} for body in found),
        key=lambda body: (body["day"], body["key"], body["model"]),
    )
