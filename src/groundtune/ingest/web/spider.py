"""The process that crawls: ``python -m groundtune.ingest.web.spider``, started by ``groundtune.ingest.crawl``.

Its own process because Twisted's reactor runs once in a process. Reads one line of JSON (the job) from standard input
and ends when that closes, so that it never outlives its parent; writes lines of JSON: progress, then the end.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TextIO
from urllib.request import getproxies

import scrapy

from groundtune import __version__
from groundtune.config import CrawlConfig
from groundtune.ingest.web.addresses import Address, parse
from groundtune.ingest.web.entries import KEPT
from groundtune.ingest.web.fetching import Fetcher
from groundtune.ingest.web.frontier import Frontier
from groundtune.ingest.web.guard import Guard
from groundtune.ingest.web.visits import CONCURRENCY, Visits

USER_AGENT = f"groundtune/{__version__} (reads pages for their user; obeys robots.txt)"
_LOCK_SECONDS = 10
_REPORT_SECONDS = 0.1
#: what headers and chunk lines may add to a page
_HEADER_BYTES = 1 << 20


def main() -> None:
    """Do the job; every failure is one line of JSON too."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing else may write between the lines
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and ends this process
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    end: dict[str, Any]
    try:
        end = {"end": _crawl(Path(job["folder"]), parse(job["address"]), CrawlConfig(**job["settings"]), out)}
    except _Busy:
        end = {"error": "busy"}
    except (sqlite3.Error, OSError) as error:
        end = {"error": "state", "text": str(error)}
    _say(out, end)
    out.close()
    os._exit(0)  # threads that still look up a name would hold it up


class _Busy(Exception):
    """Another process crawls into the same folder."""


def _crawl(folder: Path, start: Address, settings: CrawlConfig, out: TextIO) -> dict[str, Any]:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "crawl.lock")
    try:
        lock.acquire(timeout=_LOCK_SECONDS)
    except Timeout:
        raise _Busy from None
    begun = time.monotonic()
    near = start.path[: start.path.rindex("/") + 1]
    frontier = Frontier(folder, lambda address: address.path.startswith(near))
    going_on = frontier.begin(start, json.dumps({"same_site": settings.same_site}))
    work = _Work(frontier, start, settings, out)
    work.run()
    assert work.visits is not None
    assert work.fetcher is not None
    came = next(frontier.entries(KEPT), None) is not None
    last = frontier.end_of(frontier.start_entry())
    reason = last.reason if last else "its redirects go in a circle"
    if not came or not work.visits.stopped:
        limited = work.visits.limited
        frontier.finish(f"not found within {settings.pages} pages" if limited else "nothing leads to it any more")
    return {
        "came": came,
        "start_reason": reason,
        "stopped": work.visits.stopped,
        "resumed": going_on,
        "requests": work.fetcher.requests,
        "delay_seconds": work.fetcher.delay_seconds,
        "seconds": time.monotonic() - begun,
    }


class _Work:
    """A Scrapy crawler whose spider does one run of visits."""

    def __init__(self, frontier: Frontier, start: Address, settings: CrawlConfig, out: TextIO) -> None:
        self.frontier = frontier
        self.start = start
        self.settings = settings
        self.out = out
        self.visits: Visits | None = None
        self.fetcher: Fetcher | None = None
        self.failure: BaseException | None = None
        self._said_at = 0.0

    def run(self) -> None:
        """Run the reactor until the visits end.

        Raises:
            Exception: whatever ended the visits.
        """
        from scrapy.crawler import AsyncCrawlerProcess

        _trust_roots()
        process = AsyncCrawlerProcess(_scrapy_settings(self.settings), install_root_handler=False)
        process.crawl(_Spider, work=self)
        process.start(install_signal_handlers=False)
        if self.failure:
            raise self.failure

    async def visit(self, crawler: scrapy.crawler.Crawler) -> None:
        """Inside the running reactor."""
        from twisted.internet import reactor

        limit_bytes = self.settings.page_megabytes * 1_000_000 + _HEADER_BYTES
        guard = Guard(allow_private=self.settings.allow_private, limit_bytes=limit_bytes, proxies=getproxies().values())
        guard.install(reactor)
        self.fetcher = Fetcher(crawler, guard, self.settings)
        self.visits = Visits(self.frontier, self.fetcher, self.start, self.settings, self._report)
        try:
            await self.visits.run()
        except Exception as error:
            self.failure = error

    def _report(self, done: int, total: int, name: str) -> None:
        now = time.monotonic()
        if now - self._said_at >= _REPORT_SECONDS:
            self._said_at = now
            _say(self.out, {"done": done, "total": total, "name": name})


class _Spider(scrapy.Spider):
    name = "groundtune"
    work: _Work

    async def start(self) -> AsyncIterator[Any]:
        await self.work.visit(self.crawler)
        return
        yield


def _scrapy_settings(settings: CrawlConfig) -> dict[str, Any]:
    """Scrapy as a fetcher only: no log, no console, no state of its own, none of its middlewares that we do ourselves."""
    own = "scrapy.downloadermiddlewares"
    return {
        "LOG_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "EXTENSIONS_BASE": {},
        "SPIDER_MIDDLEWARES_BASE": {},
        "DOWNLOADER_MIDDLEWARES_BASE": {
            f"{own}.defaultheaders.DefaultHeadersMiddleware": 400,
            f"{own}.useragent.UserAgentMiddleware": 500,
            f"{own}.httpcompression.HttpCompressionMiddleware": 590,
            f"{own}.httpproxy.HttpProxyMiddleware": 750,
        },
        "DOWNLOAD_HANDLERS_BASE": dict.fromkeys(
            ("http", "https"), "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler"
        ),
        "STATS_CLASS": "scrapy.statscollectors.DummyStatsCollector",
        "TWISTED_DNS_RESOLVER": "scrapy.resolver.CachingHostnameResolver",
        "USER_AGENT": USER_AGENT,
        "DEFAULT_REQUEST_HEADERS": {"Accept": "text/html,application/xhtml+xml,application/pdf;q=0.9,*/*;q=0.8"},
        "CONCURRENT_REQUESTS": CONCURRENCY + 2,
        "CONCURRENT_REQUESTS_PER_DOMAIN": CONCURRENCY,
        "DOWNLOAD_DELAY": 0,
        "DOWNLOAD_TIMEOUT": settings.page_seconds,
        "DOWNLOAD_MAXSIZE": settings.page_megabytes * 1_000_000,
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
    }


def _trust_roots() -> None:
    """OpenSSL as Twisted uses it knows no certificates on some systems; then certifi's serve."""
    paths = ssl.get_default_verify_paths()
    if "SSL_CERT_FILE" in os.environ or paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        return
    try:
        import certifi
    except ImportError:
        return
    os.environ["SSL_CERT_FILE"] = certifi.where()


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(3)


def _say(out: TextIO, line: dict[str, Any]) -> None:
    out.write(json.dumps(line) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
