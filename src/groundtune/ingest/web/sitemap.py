"""Sitemaps: addresses of pages and of further sitemaps, from XML, gzip or plain text.

Read once the first page turns out to be HTML; what they name is as deep as a link of that page. A sitemap of another
host is not read where the crawl stays on its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from groundtune.config import CrawlConfig
from groundtune.ingest.web import media
from groundtune.ingest.web.addresses import Address, BadAddress, parse
from groundtune.ingest.web.entries import LEFT, PAGE, READ, SITEMAP, Entry
from groundtune.ingest.web.fetching import REDIRECTS, Fetcher, Unfetched, status_text
from groundtune.ingest.web.frontier import Frontier
from groundtune.ingest.web.robots import Robots, Rules

if TYPE_CHECKING:
    from scrapy.http import Response

#: most entries read of one sitemap, as sitemaps.org has it
MAX_ENTRIES = 50_000


def read_sitemap(body: bytes, limit_bytes: int) -> tuple[list[str], list[str]]:
    """The pages and the further sitemaps that a sitemap names.

    Args:
        body: the file, gzip or not.
        limit_bytes: most bytes of it unpacked.

    Raises:
        ValueError: it is no sitemap, damaged, or too large; the text says which.
    """
    if body.startswith(b"\x1f\x8b"):
        body = _unpacked(body, limit_bytes)
    head = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith(b"<"):
        lines = body.decode("utf-8-sig", errors="replace").splitlines()
        pages = [line.strip() for line in lines[:MAX_ENTRIES] if line.strip().startswith(("http://", "https://"))]
        if not pages:
            raise ValueError("is no sitemap")
        return pages, []
    pages = []
    sitemaps: list[str] = []
    for kind, location in _entries(head):
        (sitemaps if kind == "sitemap" else pages).append(location)
        if len(pages) + len(sitemaps) >= MAX_ENTRIES:
            break
    return pages, sitemaps


def _entries(xml: bytes) -> Iterator[tuple[str, str]]:
    from scrapy.utils.sitemap import Sitemap

    try:
        entries = Sitemap(xml)
        kind = {"urlset": "page", "sitemapindex": "sitemap"}.get(entries.type)
    except Exception:
        kind = None
    if kind is None:
        raise ValueError("is no sitemap")
    for entry in entries:
        if entry["loc"]:
            yield kind, entry["loc"]


def _unpacked(body: bytes, limit_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(body, limit_bytes)
    except zlib.error:
        raise ValueError("is damaged gzip") from None
    if unpacker.unconsumed_tail:
        raise ValueError(f"has more than {limit_bytes:,} bytes when unpacked")
    return unpacked


class Sitemaps:
    """The sitemaps of a crawl.

    Args:
        frontier: takes what they name.
        fetcher, robots: as for pages.
        settings: the depth; the largest size.
        on_site: whether an address may be fetched at all.
    """

    def __init__(
        self,
        frontier: Frontier,
        fetcher: Fetcher,
        robots: Robots,
        settings: CrawlConfig,
        on_site: Callable[[Address], bool],
    ) -> None:
        self._frontier = frontier
        self._fetcher = fetcher
        self._robots = robots
        self._settings = settings
        self._on_site = on_site

    def name(self, entry: Entry, rules: Rules) -> None:
        """Take note of the site's sitemaps, for a first page that is HTML."""
        if self._settings.depth == 0 or entry.depth > 0:
            return
        origin = parse(entry.url).origin
        named = _addresses(rules.sitemaps or ["/sitemap.xml"], origin)
        self._frontier.found(filter(self._on_site, named), 1, kind=SITEMAP)

    async def visit(self, entry: Entry) -> None:
        """Fetch one and take what it names; one that was only guessed and is not there is not worth a word."""
        address = parse(entry.url)
        guessed = False
        try:
            rules = await self._robots.rules(address)
            guessed = address.path == "/sitemap.xml" and not rules.sitemaps
            reason = rules.refusal(entry.url)
            if not reason:
                reason = self._take(address, await self._fetcher.get(address, {}, only_documents=False))
        except Unfetched as failure:
            reason = str(failure)
        told = bool(reason) and not guessed
        self._frontier.settle(entry, LEFT if told else READ, reason=f"sitemap: {reason}" if told else "")

    def _take(self, address: Address, response: Response) -> str:
        """What is wrong with it, or nothing."""
        pages: list[str] = []
        if response.status in REDIRECTS:
            sitemaps = [(response.headers.get(b"Location") or b"").decode("utf-8", errors="replace")]
        elif response.status != 200:
            return status_text(response.status)
        else:
            try:
                pages, sitemaps = read_sitemap(response.body, self._settings.page_megabytes * 1_000_000)
            except ValueError as error:
                return str(error)
        found = (at for at in _addresses(pages, address.url) if self._on_site(at) and not media.leads_nowhere(at.url))
        self._frontier.found(found, 1, kind=PAGE)
        self._frontier.found(filter(self._on_site, _addresses(sitemaps, address.url)), 1, kind=SITEMAP)
        return ""


def _addresses(locations: list[str], base: str) -> Iterator[Address]:
    for location in locations:
        try:
            yield parse(location, base)
        except BadAddress:
            continue
