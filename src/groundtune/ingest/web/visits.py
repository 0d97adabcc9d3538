"""The crawl itself: takes the next address, fetches it, keeps it or says why not, and notes where it leads.

Breadth first, a few pages at a time. Everything that is decided is in the frontier before the next page is taken.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from groundtune.config import CrawlConfig
from groundtune.ingest.web import media
from groundtune.ingest.web.addresses import Address, BadAddress, parse
from groundtune.ingest.web.entries import (
    ALIAS,
    KEPT,
    LEFT,
    MOVED,
    NOTHING,
    PAGE,
    SETTLED,
    SITEMAP,
    WAITING,
    Entry,
    Stored,
)
from groundtune.ingest.web.fetching import REDIRECTS, Fetcher, Unfetched, status_text
from groundtune.ingest.web.frontier import Frontier
from groundtune.ingest.web.page import Page, header_directives, read_page
from groundtune.ingest.web.robots import Robots, Rules
from groundtune.ingest.web.sitemap import Sitemaps

if TYPE_CHECKING:
    from scrapy.http import Response

#: pages that are fetched at the same time
CONCURRENCY = 4
#: so many pages of one host in a row without a word from it end the crawl
_SILENT_PAGES = 10
#: addresses tried for each page that may be fetched
_TRIES_PER_PAGE = 10
#: pages from this size are read in a thread
_LARGE_BYTES = 500_000


class Visits:
    """One run of a crawl.

    Args:
        frontier: its state, begun.
        fetcher: fetches pages.
        start: the first address.
        settings: limits.
        report: hears pages fetched, pages known to be fetched in all, and the address.
    """

    def __init__(
        self,
        frontier: Frontier,
        fetcher: Fetcher,
        start: Address,
        settings: CrawlConfig,
        report: Callable[[int, int, str], None],
    ) -> None:
        self._frontier = frontier
        self._fetcher = fetcher
        self._start = start
        self._settings = settings
        self._report = report
        self._robots = Robots(fetcher, frontier, self._on_site)
        self._sitemaps = Sitemaps(frontier, fetcher, self._robots, settings, self._on_site)
        self._busy: dict[int, Entry] = {}
        self._moved_on = asyncio.Event()
        self._reading = asyncio.Lock()
        self._silent: dict[str, list[int]] = {}
        self._delivered = frontier.delivered()
        self._tries = frontier.count(SETTLED, 1 << 30)
        self._failure: BaseException | None = None
        #: why the run ended early; empty where it did not
        self.stopped = ""

    async def run(self) -> None:
        """Fetch until nothing is left within the limits, or the server has gone silent (see ``stopped``)."""
        while True:
            await asyncio.gather(*(self._work() for _ in range(CONCURRENCY)))
            if self._failure:
                raise self._failure
            if self.stopped or not self._restore_aliases():
                return

    # ---- taking the next one

    async def _work(self) -> None:
        while not self.stopped and not self._failure:
            entry = self._next()
            if entry is None:
                if not self._busy:
                    break
                self._moved_on.clear()
                await self._moved_on.wait()
                continue
            self._busy[entry.id] = entry
            try:
                await (self._sitemaps.visit if entry.kind == SITEMAP else self._visit)(entry)
            except Exception as error:  # ours, or a full disk: ends the run
                self._failure = error
            finally:
                del self._busy[entry.id]
                self._moved_on.set()
        self._moved_on.set()

    def _next(self) -> Entry | None:
        depth, pages = self._settings.depth, self._settings.pages
        sitemap = self._frontier.next(depth, self._busy, kind=SITEMAP)
        if sitemap and self._frontier.count(WAITING, depth) + self._delivered < pages:
            return sitemap
        running = sum(entry.kind == PAGE for entry in self._busy.values())
        if self._delivered + running >= pages or self._tries >= _TRIES_PER_PAGE * pages + 100:
            return None
        return self._frontier.next(depth, self._busy)

    @property
    def limited(self) -> bool:
        """Whether pages are left over because of a limit."""
        return self._frontier.count(WAITING, self._settings.depth) > 0

    def _on_site(self, address: Address) -> bool:
        return not self._settings.same_site or address.site == self._start.site

    def _worth(self, address: Address) -> bool:
        return self._on_site(address) and not media.leads_nowhere(address.url)

    # ---- a page

    async def _visit(self, entry: Entry) -> None:
        address = parse(entry.url)
        try:
            rules = await self._robots.rules(address)
            if why := rules.refusal(entry.url):
                self._settle(entry, LEFT, reason=why)
                return
            response = await self._fetcher.get(address, _conditions(entry))
        except Unfetched as failure:
            self._failed(entry, address, failure)
            return
        self._silent.pop(address.host, None)
        if response.status == 304 and entry.stored.file:
            self._unchanged(entry, rules, response)
        elif response.status in REDIRECTS:
            self._redirected(entry, address, response)
        elif response.status in (200, 203):
            await self._came(entry, address, rules, response)
        else:
            gone = ": gone since the last crawl" if response.status in (404, 410) and entry.outcome == KEPT else ""
            self._settle(entry, LEFT, reason=status_text(response.status) + gone)

    def _failed(self, entry: Entry, address: Address, failure: Unfetched) -> None:
        if entry.outcome == KEPT and entry.stored.file and (failure.silent or str(failure).startswith("HTTP 5")):
            kept = f"{failure}; the copy of {entry.stored.fetched_at[:10]} stays"
            self._settle(entry, KEPT, reason=kept, stored=entry.stored, links=None)
        else:
            self._settle(entry, LEFT, reason=str(failure))
        if failure.silent:
            silent = self._silent.setdefault(address.host, [])
            silent.append(entry.id)
            if len(silent) >= _SILENT_PAGES:
                self.stopped = self.stopped or f"{address.host} no longer answers ({failure})"
            if self.stopped:
                self._frontier.put_back(silent)

    def _unchanged(self, entry: Entry, rules: Rules, response: Response) -> None:
        etag, modified = _validators(response)
        stored = replace(
            entry.stored,
            fetched_at=_now(),
            etag=etag or entry.stored.etag,
            last_modified=modified or entry.stored.last_modified,
        )
        if stored.file.endswith(".html"):
            self._sitemaps.name(entry, rules)
        self._settle(entry, KEPT, delivered=True, stored=stored, links=None)

    def _redirected(self, entry: Entry, address: Address, response: Response) -> None:
        location = (response.headers.get(b"Location") or b"").decode("utf-8", errors="replace")
        status = status_text(response.status)
        try:
            target = parse(location, address.url)
        except BadAddress as error:
            self._settle(entry, LEFT, reason=f"{status} to {location[:200]!r}: {error}")
            return
        if target.key == address.key:
            self._settle(entry, LEFT, reason=f"{status} to itself")
        elif not self._on_site(target):
            self._settle(entry, LEFT, reason=f"{status} to another host: {target.url}")
        else:
            self._settle(entry, MOVED, target=target)

    async def _came(self, entry: Entry, address: Address, rules: Rules, response: Response) -> None:
        kind = (response.headers.get(b"Content-Type") or b"").decode("latin-1")
        disposition = (response.headers.get(b"Content-Disposition") or b"").decode("latin-1")
        name = media.file_name(address.url, disposition)
        body = response.body
        suffix = media.suffix_of(kind, name, body[:1024])
        why = ""
        if "download_stopped" in response.flags or (body and not suffix):
            why = f"{media.media_type_of(kind) or 'content of no known type'} is no document"
        elif response.headers.get(b"Content-Encoding"):
            why = "in a compression that is not known"
        elif not body.strip():
            why = "is empty"
        if why:
            self._settle(entry, LEFT, reason=why, delivered=True)
            return
        page = await self._read(body, kind, address) if suffix == ".html" else Page(title=name)
        for value in response.headers.getlist(b"X-Robots-Tag"):
            told = header_directives([value.decode("latin-1")])
            page.directives.noindex |= told.noindex
            page.directives.nofollow |= told.nofollow
        if suffix == ".html":
            self._sitemaps.name(entry, rules)
        self._keep(entry, address, page, _File(body, kind, suffix, *_validators(response)))

    async def _read(self, body: bytes, content_type: str, address: Address) -> Page:
        """Read a page; a large one beside the network, whose clocks go on, and one at a time for the memory's sake."""
        if len(body) < _LARGE_BYTES:
            return read_page(media.decoded(body, content_type), address)
        async with self._reading:
            return await asyncio.to_thread(lambda: read_page(media.decoded(body, content_type), address))

    def _keep(self, entry: Entry, address: Address, page: Page, file: _File) -> None:
        links = [] if page.directives.nofollow else [link for link in page.links if self._worth(link)]
        if page.directives.noindex:
            self._settle(entry, LEFT, reason="asks not to be indexed (noindex)", delivered=True, links=links)
            return
        sha256 = hashlib.sha256(file.body).hexdigest()
        if same := self._frontier.same_content(entry, sha256):
            self._settle(entry, LEFT, reason=f"the same content as {same}", delivered=True, links=links)
            return
        content = media.as_utf8(file.body, file.content_type, file.suffix)
        stored = Stored(
            f"{sha256[:32]}{file.suffix}", sha256, len(content), media.media_type_of(file.content_type), page.title,
            _now(), file.etag, file.last_modified,
        )  # fmt: skip
        self._write(stored, content)
        canonical = page.canonical
        if canonical and canonical.key != address.key and self._worth(canonical):
            self._settle(entry, ALIAS, delivered=True, stored=stored, target=canonical, links=links)
        else:
            self._settle(entry, KEPT, delivered=True, stored=stored, links=links)

    def _write(self, stored: Stored, content: bytes) -> None:
        path = self._frontier.path(stored)
        if path.is_file() and path.stat().st_size == stored.size_bytes:
            return
        half = path.with_name(path.name + ".part")
        half.write_bytes(content)
        half.replace(path)

    def _settle(
        self,
        entry: Entry,
        outcome: str,
        *,
        reason: str = "",
        delivered: bool = False,
        stored: Stored = NOTHING,
        target: Address | None = None,
        links: list[Address] | None = None,
    ) -> None:
        if links is None and outcome != KEPT:
            links = []
        self._frontier.settle(
            entry, outcome, reason=reason, delivered=delivered, stored=stored, target=target, links=links
        )
        self._delivered += delivered
        self._tries += 1
        known = self._delivered + self._frontier.count(WAITING, self._settings.depth)
        self._report(self._delivered, max(self._delivered, min(known, self._settings.pages)), entry.url)

    def _restore_aliases(self) -> bool:
        """Pages that name another as the right one go if that one came and is the same; the others stay after all.

        Returns:
            Whether any stays: its links are to be followed.
        """
        restored = False
        for entry in list(self._frontier.entries(ALIAS, settled=True)):
            target = self._frontier.target_of(entry)
            if target and target.id != entry.id and target.outcome == KEPT and _same_page(entry, target):
                self._frontier.drop(entry, f"the same page as {target.url}, as it says")
            else:
                self._frontier.restore(entry)
                restored = True
        return restored


class _File:
    """A page as it came."""

    def __init__(self, body: bytes, content_type: str, suffix: str, etag: str, last_modified: str) -> None:
        self.body = body
        self.content_type = content_type
        self.suffix = suffix
        self.etag = etag
        self.last_modified = last_modified


def _conditions(entry: Entry) -> dict[str, str]:
    """The headers that ask for a page only if it has changed since."""
    if entry.outcome != KEPT or not entry.stored.file:
        return {}
    conditions = {"If-None-Match": entry.stored.etag, "If-Modified-Since": entry.stored.last_modified}
    return {name: value for name, value in conditions.items() if value}


def _validators(response: Response) -> tuple[str, str]:
    """``ETag`` and ``Last-Modified``, empty where there is none."""
    etag, modified = (response.headers.get(name) or b"" for name in (b"ETag", b"Last-Modified"))
    return etag.decode("latin-1").strip(), modified.decode("latin-1").strip()


def _same_page(entry: Entry, target: Entry) -> bool:
    """Whether to believe a page that says it is another one: many a site names its first page everywhere."""
    if parse(entry.url).path == parse(target.url).path:
        return True
    return entry.stored.title.casefold() == target.stored.title.casefold() != ""


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
