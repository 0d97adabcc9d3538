"""API keys: made, looked up, revoked; what each may spend. A key is shown once; what is kept is its SHA-256.

A key belongs to at most one group, whose budget its members share. A revoked key stays as a row, so that its usage keeps a
name, and so that a server whose keys are all revoked does not stand open. What was spent is in ``usage``.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy.exc import IntegrityError

from groundtune.errors import ConfigError, UnknownNameError
from groundtune.serving.ids import new_id
from groundtune.serving.storage.store import Body, Row, Store

PREFIX = "gt-"
#: letters of a name
LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key, or a group, may spend. None: without bounds.

    Attributes:
        requests_per_minute: generating requests, in any 60 seconds.
        tokens_per_minute: prompt and completion tokens, in any 60 seconds.
        budget_tokens: prompt and completion tokens, in all.
        budget_usd: US dollars by the prices of ``serve.aliases``, in all.
        models: patterns of model names (``fnmatch``); empty: every model.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    budget_tokens: int | None = None
    budget_usd: float | None = None
    models: tuple[str, ...] = ()

    @property
    def body(self) -> Body:
        """As it is stored."""
        return {**asdict(self), "models": list(self.models)}

    @classmethod
    def of(cls, body: Body) -> Limits:
        """From a stored body."""
        found = body["limits"]
        return cls(**{**found, "models": tuple(found["models"])})


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be made.

    Attributes:
        name: of whom it is for; no two keys in force share one, whatever the case.
        group: that it belongs to; must be there.
        admin: sees everybody's usage, sees and changes everybody's objects.
        expires_at: seconds since 1970; None: never.
    """

    name: str
    limits: Limits = field(default_factory=Limits)
    group: str | None = None
    admin: bool = False
    expires_at: int | None = None


def check_name(name: str) -> str:
    """A name without spaces around it, in Unicode's composed form.

    Raises:
        ConfigError: empty, too long, unprintable, or beginning with what a spreadsheet takes for a formula.
    """
    clean = unicodedata.normalize("NFC", name.strip())
    if not clean or len(clean) > LONGEST_NAME or not clean.isprintable() or not clean[0].isalnum():
        raise ConfigError(
            f"name {name[:LONGEST_NAME]!r} cannot be a key's or a group's",
            expected=f"1 to {LONGEST_NAME} printable characters, the first a letter or a digit",
        )
    return clean


def digest_of(key: str) -> str:
    """The SHA-256 that stands for a key. Keys have 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def in_part(key: str) -> str:
    """A key as it may be shown: its first four and last two characters."""
    return f"{key[:4]}...{key[-2:]}" if len(key) >= 12 else "***"


def make_keys(store: Store, wanted: Sequence[NewKey]) -> list[tuple[Body, str]]:
    """Make keys, all or none; each body with the key itself, which is nowhere else.

    Raises:
        ConfigError: a name that another key has. UnknownNameError: no such group.
    """
    now = int(time.time())
    made: list[tuple[Body, str]] = []
    groups = {body["id"] for body in store.all("key_group")}
    for new in wanted:
        if new.group is not None and new.group not in groups:
            raise UnknownNameError("group of keys", new.group, groups)
        key = PREFIX + secrets.token_urlsafe(32)
        body: Body = {
            "id": new_id("key"), "name": check_name(new.name), "digest": digest_of(key), "shown": in_part(key),
            "group": new.group, "admin": new.admin, "limits": new.limits.body, "created_at": now,
            "expires_at": new.expires_at, "revoked_at": None,
        }  # fmt: skip
        made.append((body, key))
    taken = {body["id"] for body in store.all("key_name")}
    for body, _ in made:
        name = body["name"].casefold()
        if name in taken:
            raise _name_taken(body["name"])
        taken.add(name)
    try:
        with store.session() as session:
            for body, _ in made:
                session.add(Row(id=body["id"], kind="key", parent=body["digest"], created_at=now, body=body))
                name = body["name"].casefold()
                session.add(Row(id=name, kind="key_name", created_at=now, body={"id": name, "key": body["id"]}))
    except IntegrityError:  # another process was faster
        raise _name_taken(", ".join(body["name"] for body, _ in made)) from None
    return made


def _name_taken(name: str) -> ConfigError:
    return ConfigError(
        f"there is a key of the name {name!r} already",
        expected="one key a name",
        next_step=f"groundtune serve keys revoke {name!r}, or another name",
    )


def find_key(store: Store, key: str) -> Body | None:
    """The key's body, also where it is revoked or expired; None for one that was never made."""
    digest = digest_of(key)
    for body in store.all("key", parent=digest):
        if hmac.compare_digest(str(body["digest"]), digest):
            return body
    return None


def in_force(body: Body, now: float) -> bool:
    """Whether a key opens anything."""
    return body["revoked_at"] is None and (body["expires_at"] is None or body["expires_at"] > now)


def any_key(store: Store) -> bool:
    """Whether a key was ever made: from then on the server is not open, whatever becomes of its keys."""
    return store.count("key") > 0


def all_keys(store: Store) -> list[Body]:
    """Every key, oldest first, revoked ones too."""
    return store.all("key")


def revoke_key(store: Store, name_or_id: str) -> Body:
    """Put a key out of force, from its next request on; its name is free again.

    Raises:
        UnknownNameError: there is no such key in force.
    """
    keys = [body for body in all_keys(store) if body["revoked_at"] is None]
    given = unicodedata.normalize("NFC", name_or_id.strip())
    found = next((b for b in keys if b["id"] == given or b["name"].casefold() == given.casefold()), None)
    if found is None:
        raise UnknownNameError("key", name_or_id, [body["name"] for body in keys])
    revoked = store.change("key", found["id"], lambda _: {"revoked_at": int(time.time())}, parent=found["digest"])
    store.remove("key_name", found["name"].casefold())
    return revoked or found


# ---------------------------------------------------------------- groups


def set_group(store: Store, name: str, *, budget_tokens: int | None, budget_usd: float | None) -> Body:
    """Make a group, or give it another budget, which holds from the next request on."""
    clean = check_name(name)
    limits = Limits(budget_tokens=budget_tokens, budget_usd=budget_usd).body
    try:
        return store.add("key_group", {"limits": limits}, id=clean)
    except KeyError:
        changed = store.change("key_group", clean, lambda _: {"limits": limits})
        return changed or {"id": clean, "limits": limits}


def find_group(store: Store, name: str) -> Body | None:
    """A group's body."""
    return store.get("key_group", name)


def all_groups(store: Store) -> list[Body]:
    """Every group, oldest first."""
    return store.all("key_group")


def shown_key(body: Body) -> dict[str, Any]:
    """A key as lists show it: neither the key nor its digest."""
    return {name: value for name, value in body.items() if name != "digest"}
