"""robots.txt: which pages may be fetched, how fast, and which sitemaps there are (RFC 9309, Crawl-delay besides).

Read with Protego, Scrapy's own parser. Kept for one run of a crawl.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from groundtune.ingest.web.addresses import Address, BadAddress, parse
from groundtune.ingest.web.fetching import REDIRECTS, Fetcher, Unfetched, status_text
from groundtune.ingest.web.frontier import Frontier

if TYPE_CHECKING:
    from protego import Protego

#: the name that rules are for
AGENT = "groundtune"
#: as much as RFC 9309 wants to be read
_MAX_BYTES = 500 * 1024
_REDIRECTS = 5


class Rules:
    """The rules of one origin."""

    def __init__(self, body: bytes) -> None:
        from protego import Protego

        self._rules: Protego = Protego.parse(body[:_MAX_BYTES].decode("utf-8-sig", errors="ignore"))

    def refusal(self, url: str) -> str:
        """Why a page may not be fetched; empty where it may."""
        return "" if self._rules.can_fetch(url, AGENT) else "robots.txt asks not to fetch it"

    @property
    def delay_seconds(self) -> float:
        """The pause between requests that it asks for; 0 where it asks for none."""
        delay = self._rules.crawl_delay(AGENT) or 0.0
        rate = self._rules.request_rate(AGENT)
        if rate is not None and rate.requests > 0:
            delay = max(delay, rate.seconds / rate.requests)
        return float(delay) if 0 <= delay < float("inf") else 0.0

    @property
    def sitemaps(self) -> list[str]:
        """The sitemaps that it names."""
        return list(self._rules.sitemaps)


class Robots:
    """The rules of every origin that a crawl comes to, each fetched once a run.

    Args:
        fetcher: fetches them.
        frontier: keeps them.
        on_site: whether a redirect may be followed.
    """

    def __init__(self, fetcher: Fetcher, frontier: Frontier, on_site: Callable[[Address], bool]) -> None:
        self._fetcher = fetcher
        self._frontier = frontier
        self._on_site = on_site
        self._rules: dict[str, asyncio.Task[Rules]] = {}

    async def rules(self, address: Address) -> Rules:
        """The rules for an address.

        Raises:
            Unfetched: they cannot be had now, so that nothing may be fetched.
        """
        if address.origin not in self._rules:
            self._rules[address.origin] = asyncio.ensure_future(self._load(address))
        return await asyncio.shield(self._rules[address.origin])

    async def _load(self, address: Address) -> Rules:
        kept = self._frontier.robots(address.origin)
        rules = Rules(kept) if kept is not None else await self._fetch(address)
        if rules.delay_seconds:
            self._fetcher.set_delay(address.host, rules.delay_seconds)
        return rules

    async def _fetch(self, address: Address) -> Rules:
        at = parse(f"{address.origin}/robots.txt")
        body = b""
        for _ in range(_REDIRECTS + 1):
            try:
                response = await self._fetcher.get(at, {}, only_documents=False)
                if response.status >= 500:
                    raise Unfetched(status_text(response.status))
            except Unfetched as failure:
                if not str(failure).startswith("HTTP"):
                    raise
                why = f"robots.txt answers {failure}, so that nothing may be fetched"
                raise Unfetched(why, silent=True) from failure
            if response.status in REDIRECTS:
                location = (response.headers.get(b"Location") or b"").decode("utf-8", errors="replace")
                try:
                    at = parse(location, at.url)
                except BadAddress:
                    break
                if not self._on_site(at):
                    break
                continue
            body = response.body if response.status == 200 else b""
            break
        self._frontier.set_robots(address.origin, body)
        return Rules(body)
