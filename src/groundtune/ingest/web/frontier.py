"""What a crawl knows, in one SQLite file: every address found, what became of it, and which page links to which.

One transaction settles a page together with the addresses it leads to, so that a kill at any moment leaves a state to
go on from. Memory holds none of it. Leaves out fetching, and which links are followed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

from groundtune.ingest.web.addresses import Address
from groundtune.ingest.web.entries import (
    ALIAS,
    CLEARED,
    ENTRY,
    KEPT,
    KNOWN,
    LEFT,
    MOVED,
    NOTHING,
    PAGE,
    SETTLED,
    SITEMAP,
    STORED,
    TABLES,
    VERSION,
    WAITING,
    Entry,
    Stored,
    entry_of,
)

FILE = "crawl.sqlite"
PAGES = "pages"


class Frontier:
    """The state of one crawl.

    Args:
        folder: where the state and the folder of pages are.
        near: which pages come first among those of one depth.

    Raises:
        sqlite3.DatabaseError: the file is damaged or cannot be written.
    """

    def __init__(self, folder: Path, near: Callable[[Address], bool] = lambda _: True) -> None:
        self.folder = folder
        self._near = near
        folder.joinpath(PAGES).mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / FILE, timeout=30, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(TABLES)
        if self.fact("version", str(VERSION)) != str(VERSION):
            self._db.executescript("DROP TABLE page; DROP TABLE link; DROP TABLE robots; DELETE FROM fact;" + TABLES)
        self.set_fact("version", str(VERSION))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # ---- runs

    def begin(self, start: Address, settings: str) -> bool:
        """Go on with an unfinished run, or start the next one, in which every page is asked for again.

        Args:
            start: the first address.
            settings: what makes a page's links count; where it changed, no page is asked for conditionally.

        Returns:
            Whether this goes on with a run.
        """
        going_on = self.fact("finished", "yes") == "no"
        with self._transaction():
            if not going_on:
                self._db.execute("UPDATE page SET state = ?, changed = 0, delivered = 0, reason = ''", (KNOWN,))
                self._db.execute("DELETE FROM robots")
                self.set_fact("finished", "no")
            if self.fact("settings", settings) != settings:
                self._db.execute("UPDATE page SET etag = '', last_modified = ''")
            self.set_fact("settings", settings)
            for entry in list(self.entries(KEPT)) + list(self.entries(ALIAS)):
                path = self.path(entry.stored)
                if not path.is_file() or path.stat().st_size != entry.stored.size_bytes:
                    self._db.execute(
                        "UPDATE page SET outcome = '', file = '', sha256 = '', etag = '', last_modified = '',"
                        " delivered = 0, state = CASE state WHEN ? THEN ? ELSE state END WHERE id = ?",
                        (SETTLED, WAITING, entry.id),
                    )
            self._find([self._id_of(start)], 0)
        return going_on

    def finish(self, missing: str) -> None:
        """End the run: pages of earlier runs that were not found again go, and files that no page has.

        Args:
            missing: why such a page goes.
        """
        with self._transaction():
            self._db.execute(
                f"UPDATE page SET outcome = ?, reason = ?, state = ?, {CLEARED} WHERE state = ? AND outcome = ?",
                (LEFT, missing, SETTLED, KNOWN, KEPT),
            )
            self.set_fact("finished", "yes")
        held = {row[0] for row in self._db.execute("SELECT file FROM page WHERE file != ''")}
        for path in self.folder.joinpath(PAGES).iterdir():
            if path.name not in held:
                path.unlink(missing_ok=True)

    def put_back(self, ids: Iterable[int]) -> None:
        """Let these be fetched again when the run goes on."""
        with self._transaction():
            self._db.executemany(
                "UPDATE page SET state = ?, delivered = 0, outcome = CASE file WHEN '' THEN '' ELSE outcome END,"
                " reason = '' WHERE id = ?",
                [(WAITING, page) for page in ids],
            )

    # ---- what is next, what became of it

    def next(self, depth: int, busy: Collection[int], *, kind: int = PAGE) -> Entry | None:
        """The next entry to be fetched: the least deep first; None where there is none but the busy ones."""
        rows = self._db.execute(
            f"SELECT {ENTRY} FROM page WHERE state = ? AND kind = ? AND depth <= ? ORDER BY depth, far, id LIMIT ?",
            (WAITING, kind, depth, len(busy) + 1),
        )
        return next((entry for entry in map(entry_of, rows) if entry.id not in busy), None)

    def settle(
        self,
        entry: Entry,
        outcome: str,
        *,
        reason: str = "",
        delivered: bool = False,
        stored: Stored = NOTHING,
        target: Address | None = None,
        links: Iterable[Address] | None = (),
    ) -> None:
        """Write down what became of an entry, and what it leads to, in one transaction.

        Args:
            delivered: the server sent a page, which counts against the limit of pages.
            stored: its file, for what is kept.
            target: where it moved to, or which page it says it is.
            links: where it leads; None for the links it had last time. Those of an alias wait until it is restored.
        """
        with self._transaction():
            to = None if target is None else self._id_of(target)
            names = ", ".join(f"{name} = ?" for name in STORED)
            changed = bool(stored.sha256) and stored.sha256 != entry.stored.sha256
            self._db.execute(
                f"UPDATE page SET state = ?, outcome = ?, reason = ?, delivered = ?, target = ?, changed = ?, {names}"
                " WHERE id = ?",
                (SETTLED, outcome, reason, delivered, to, changed, *astuple(stored), entry.id),
            )
            if links is not None:
                pairs = {(entry.id, self._id_of(link)): None for link in links}
                self._db.execute("DELETE FROM link WHERE page = ?", (entry.id,))
                self._db.executemany("INSERT OR IGNORE INTO link VALUES (?, ?)", pairs)
            depth = self._db.execute("SELECT depth FROM page WHERE id = ?", (entry.id,)).fetchone()[0]
            if to is not None:
                self._find([to], depth)
            if outcome in (KEPT, LEFT):
                self._find(self._led_to(entry.id), depth + 1)

    def found(self, addresses: Iterable[Address], depth: int, *, kind: int = PAGE) -> None:
        """Addresses that something else than a link named."""
        with self._transaction():
            pages = [self._id_of(address, kind) for address in addresses]
            if kind == SITEMAP:  # which a page may have linked to
                self._db.executemany(
                    "UPDATE page SET kind = ? WHERE id = ? AND state != ?", [(kind, page, SETTLED) for page in pages]
                )
            self._find(pages, depth)

    def restore(self, entry: Entry) -> None:
        """Keep an alias after all, and follow its links."""
        with self._transaction():
            self._db.execute("UPDATE page SET outcome = ?, target = NULL WHERE id = ?", (KEPT, entry.id))
            self._find(self._led_to(entry.id), entry.depth + 1)

    def drop(self, entry: Entry, reason: str) -> None:
        """Let a kept page or an alias go; what it led to stays."""
        self._db.execute(f"UPDATE page SET outcome = ?, reason = ?, {CLEARED} WHERE id = ?", (LEFT, reason, entry.id))

    def end_of(self, entry: Entry) -> Entry | None:
        """Where redirects from an entry end; None where they go in a circle."""
        seen = set()
        while entry.outcome == MOVED and entry.target is not None:
            if entry.id in seen:
                return None
            seen.add(entry.id)
            entry = self._entry_of(entry.target)
        return entry

    def target_of(self, entry: Entry) -> Entry | None:
        """Where an alias leads in the end; None where that is nowhere."""
        return None if entry.target is None else self.end_of(self._entry_of(entry.target))

    def same_content(self, entry: Entry, sha256: str) -> str:
        """The address of a page kept in this run with the same bytes; empty where there is none."""
        row = self._db.execute(
            "SELECT url FROM page WHERE sha256 = ? AND state = ? AND outcome = ? AND id != ? LIMIT 1",
            (sha256, SETTLED, KEPT, entry.id),
        ).fetchone()
        return row[0] if row else ""

    # ---- reading

    def entries(self, outcome: str, *, settled: bool = False) -> Iterator[Entry]:
        """Entries with an outcome, by address; ``settled``: only of this run."""
        where = f"outcome = ?{f' AND state = {SETTLED}' if settled else ''}"
        return map(entry_of, self._db.execute(f"SELECT {ENTRY} FROM page WHERE {where} ORDER BY key", (outcome,)))

    def start_entry(self) -> Entry:
        """The entry of the first address."""
        return self._entry_of(1)

    def path(self, stored: Stored) -> Path:
        """Where a page's file is."""
        return self.folder / PAGES / stored.file

    def delivered(self) -> int:
        """Pages that the server sent in this run."""
        return int(self._db.execute("SELECT TOTAL(delivered) FROM page WHERE state = ?", (SETTLED,)).fetchone()[0])

    def count(self, state: int, depth: int) -> int:
        """Pages in a state, no deeper than this."""
        row = self._db.execute(
            "SELECT COUNT(*) FROM page WHERE state = ? AND kind = ? AND depth <= ?", (state, PAGE, depth)
        ).fetchone()
        return int(row[0])

    def fact(self, name: str, default: str) -> str:
        """A fact about the crawl."""
        row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else default

    def set_fact(self, name: str, value: str) -> None:
        """Write a fact about the crawl."""
        self._db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    def robots(self, origin: str) -> bytes | None:
        """The robots.txt of an origin, where it was fetched in this run."""
        row = self._db.execute("SELECT body FROM robots WHERE origin = ?", (origin,)).fetchone()
        return bytes(row[0]) if row else None

    def set_robots(self, origin: str, body: bytes) -> None:
        """Keep an origin's robots.txt for this run."""
        self._db.execute("INSERT OR REPLACE INTO robots VALUES (?, ?)", (origin, body))

    # ---- inside

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _entry_of(self, page: int) -> Entry:
        return entry_of(self._db.execute(f"SELECT {ENTRY} FROM page WHERE id = ?", (page,)).fetchone())

    def _id_of(self, address: Address, kind: int = PAGE) -> int:
        row = self._db.execute("SELECT id FROM page WHERE key = ?", (address.key,)).fetchone()
        if row is None:
            row = self._db.execute(
                "INSERT INTO page (key, url, kind, far, depth, state) VALUES (?, ?, ?, ?, 0, ?) RETURNING id",
                (address.key, address.url, kind, not self._near(address), KNOWN),
            ).fetchone()
        return int(row[0])

    def _led_to(self, page: int) -> list[int]:
        return [
            row[0] for row in self._db.execute("SELECT leads_to FROM link WHERE page = ? ORDER BY leads_to", (page,))
        ]

    def _find(self, pages: Iterable[int], depth: int) -> None:
        """These are at most so deep: they are to be fetched, and what lies behind comes nearer with them."""
        waiting = [(page, depth) for page in pages]
        while waiting:
            page, new = waiting.pop()
            state, old, outcome, to = self._db.execute(
                "SELECT state, depth, outcome, target FROM page WHERE id = ?", (page,)
            ).fetchone()
            if state == KNOWN:
                self._db.execute("UPDATE page SET state = ?, depth = ? WHERE id = ?", (WAITING, new, page))
            elif new < old:
                self._db.execute("UPDATE page SET depth = ? WHERE id = ?", (new, page))
                if state == SETTLED:
                    if to is not None:
                        waiting.append((to, new))
                    if outcome in (KEPT, LEFT):
                        waiting.extend((behind, new + 1) for behind in self._led_to(page))
