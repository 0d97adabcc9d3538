"""The tables of a crawl's state, and an entry of them as it is passed around. Leaves out what is done with them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

#: kinds of entries, the order in which they are fetched
SITEMAP, PAGE = 0, 1
#: waiting to be fetched in this run, dealt with in it, known from elsewhere only; the numbers stand in the files of crawls
WAITING, SETTLED, KNOWN = 0, 1, 2
#: outcomes: its file is taken, it says that it is another page, it leads to another address, it is not taken, no page
KEPT, ALIAS, MOVED, LEFT, READ = "kept", "alias", "moved", "left", "read"
#: raised when the tables change: older states are made anew
VERSION = 1
#: what makes them where they are not there yet
TABLES = """
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS page (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, url TEXT NOT NULL, kind INTEGER NOT NULL, far INTEGER NOT NULL,
  depth INTEGER NOT NULL, state INTEGER NOT NULL, delivered INTEGER NOT NULL DEFAULT 0,
  outcome TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '', target INTEGER, changed INTEGER NOT NULL DEFAULT 0,
  file TEXT NOT NULL DEFAULT '', sha256 TEXT NOT NULL DEFAULT '', size_bytes INTEGER NOT NULL DEFAULT 0,
  media_type TEXT NOT NULL DEFAULT '', title TEXT NOT NULL DEFAULT '', fetched_at TEXT NOT NULL DEFAULT '',
  etag TEXT NOT NULL DEFAULT '', last_modified TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS page_next ON page (state, kind, depth, far, id);
CREATE INDEX IF NOT EXISTS page_content ON page (sha256) WHERE sha256 != '';
CREATE TABLE IF NOT EXISTS link (page INTEGER, leads_to INTEGER, PRIMARY KEY (page, leads_to)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS robots (origin TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""
#: the file and what is known of it, gone
CLEARED = "file = '', sha256 = '', size_bytes = 0, etag = '', last_modified = '', changed = 0"


@dataclass(frozen=True, slots=True)
class Stored:
    """A page's file and what is known of it: all as in the table ``page``."""

    file: str = ""
    sha256: str = ""
    size_bytes: int = 0
    media_type: str = ""
    title: str = ""
    fetched_at: str = ""
    etag: str = ""
    last_modified: str = ""


#: no file
NOTHING = Stored()
#: its columns
STORED = tuple(field.name for field in fields(Stored))


@dataclass(frozen=True, slots=True)
class Entry:
    """An address with what was known of it when it was read."""

    id: int
    url: str
    kind: int
    depth: int
    outcome: str
    reason: str
    target: int | None
    changed: bool
    stored: Stored


#: the columns of an Entry, in its order
ENTRY = f"id, url, kind, depth, outcome, reason, target, changed, {', '.join(STORED)}"


def entry_of(row: tuple[Any, ...]) -> Entry:
    """The entry that a row of ``ENTRY`` is."""
    page, url, kind, depth, outcome, reason, target, changed, *stored = row
    return Entry(page, url, kind, depth, outcome, reason, target, bool(changed), Stored(*stored))
