"""One page over the network: pauses between requests, tries again where that may help, and a reason where it failed.

Scrapy does the fetching (connections, TLS, proxies, compression, the caps on size and time). Leaves out robots.txt and
what is done with the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from groundtune.config import CrawlConfig
from groundtune.ingest.web import media
from groundtune.ingest.web.addresses import Address
from groundtune.ingest.web.guard import Guard, Oversized, Refused, literal

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.http import Response

#: requests for one page, the first included
ATTEMPTS = 3
REDIRECTS = (301, 302, 303, 307, 308)
#: longest time that a server may ask to wait before the next try
_LONGEST_WAIT_SECONDS = 120.0
_FIRST_WAIT_SECONDS = 0.5
#: after so many tries in a row without a word, a host's pages are tried once only
_SILENT_TRIES = 4
_AGAIN = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524}


class Unfetched(Exception):
    """A page that did not come; its text says why.

    Attributes:
        silent: the server said nothing: there may be none.
        again: another try may help.
    """

    def __init__(self, reason: str, *, silent: bool = False, again: bool = False) -> None:
        super().__init__(reason)
        self.silent = silent
        self.again = again


def status_text(status: int) -> str:
    """``HTTP 404 Not Found``."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


class Fetcher:
    """Fetches with one Scrapy crawler.

    Args:
        crawler: a running crawler.
        guard: installed on its reactor.
        settings: pause, caps.
    """

    def __init__(self, crawler: Crawler, guard: Guard, settings: CrawlConfig) -> None:
        from scrapy import signals

        self._crawler = crawler
        self._guard = guard
        self._settings = settings
        self._next_at: dict[str, float] = {}
        self._delays: dict[str, float] = {}
        self._silent: dict[str, int] = {}
        self._proxies = _proxies()
        self.requests = 0
        crawler.signals.connect(self._headers, signal=signals.headers_received)

    def set_delay(self, host: str, seconds: float) -> None:
        """A host's own pause between requests, kept where it is longer than the set one."""
        self._delays[host] = max(seconds, self._settings.delay_seconds)

    @property
    def delay_seconds(self) -> float:
        """The longest pause between two requests to one host."""
        return max([self._settings.delay_seconds, *self._delays.values()])

    async def get(self, address: Address, headers: Mapping[str, str], *, only_documents: bool = True) -> Response:
        """An answer with any status that is no reason to try again; its body is unpacked.

        Args:
            only_documents: end at the headers where they announce a picture, a film and the like.

        Raises:
            Unfetched: refused, too large, too slow, broken off, or still answered with 429 or 5xx after three tries.
        """
        for attempt in range(1, ATTEMPTS + 1):
            await self._turn(address.host)
            wait = max(_FIRST_WAIT_SECONDS, self._settings.delay_seconds) * 2 ** (attempt - 1)
            try:
                response = await self._once(address, headers, only_documents)
            except Unfetched as failure:
                silent = self._silent[address.host] = self._silent.get(address.host, 0) + failure.silent
                if attempt == ATTEMPTS or not failure.again or silent > _SILENT_TRIES:
                    raise
            else:
                self._silent.pop(address.host, None)
                if response.status not in _AGAIN:
                    return response
                asked = _retry_after(response)
                if attempt == ATTEMPTS or asked > _LONGEST_WAIT_SECONDS:
                    later = f", asks to come back in {asked:,.0f} s" if asked > _LONGEST_WAIT_SECONDS else ""
                    raise Unfetched(status_text(response.status) + later)
                wait = max(wait, asked)
                if response.status == 429 or asked:
                    self._next_at[address.host] = max(self._next_at.get(address.host, 0.0), time.monotonic() + wait)
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def _turn(self, host: str) -> None:
        now = time.monotonic()
        at = max(now, self._next_at.get(host, 0.0))
        self._next_at[host] = at + self._delays.get(host, self._settings.delay_seconds)
        if at > now:
            await asyncio.sleep(at - now)

    async def _once(self, address: Address, headers: Mapping[str, str], only_documents: bool) -> Response:
        from scrapy import Request

        meta: dict[str, Any] = {
            "download_timeout": self._settings.page_seconds,
            "only_documents": media.file_name(address.url) if only_documents else None,
        }
        ip = literal(address.host)
        if address.host == "localhost" or (ip is not None and ip.is_loopback):
            meta["proxy"] = None  # of this machine, not of the proxy's
        elif address.scheme in self._proxies and (why := await self._guard.refusal_of_name(address.host)):
            raise Unfetched(f"{address.host} is {why}")
        self.requests += 1
        try:
            return await self._crawler.engine.download_async(
                Request(address.url, headers=dict(headers), meta=meta, dont_filter=True)
            )
        except Exception as error:
            raise self._explained(error, address.host) from error

    def _headers(self, headers: Any, request: Any) -> None:
        """Scrapy's signal once the headers are there: end what is no document."""
        from scrapy.exceptions import StopDownload

        name = request.meta.get("only_documents")
        kind = (headers.get(b"Content-Type") or b"").decode("latin-1")
        if name is not None and not media.may_be_document(kind, name):
            raise StopDownload(fail=False)

    def _explained(self, error: Exception, host: str) -> Unfetched:
        from scrapy import exceptions

        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, Refused):
                return Unfetched(str(cause))
        too_large = f"larger than {self._settings.page_megabytes} MB"
        if any(isinstance(cause, Oversized) for cause in causes):
            return Unfetched(too_large)
        if isinstance(error, exceptions.IgnoreRequest):
            return Unfetched(f"{too_large} when unpacked")
        if isinstance(error, exceptions.DownloadCancelledError):
            return Unfetched(too_large)
        if isinstance(error, exceptions.DownloadTimeoutError):
            return Unfetched(f"took longer than {self._settings.page_seconds} s", silent=True)
        if isinstance(error, exceptions.CannotResolveHostError):
            why = self._guard.refused.get(host)
            return Unfetched(f"{host} is {why}") if why else Unfetched(f"no host {host}", silent=True, again=True)
        if isinstance(error, exceptions.DownloadConnectionRefusedError):
            return Unfetched(f"{host} refuses connections", silent=True, again=True)
        names = {type(cause).__name__ for cause in causes}
        if "ParseError" in names:
            return Unfetched("the answer is not HTTP")
        if any(type(cause).__module__.startswith(("OpenSSL", "service_identity")) for cause in causes):
            return Unfetched(f"no trusted TLS connection ({_tls_reason(causes)})")
        if names & {"BadGzipFile", "EOFError", "ZstdError"} or type(error).__module__ in ("zlib", "brotli"):
            return Unfetched("its compression is damaged")
        if isinstance(error, exceptions.DownloadFailedError | exceptions.ResponseDataLossError | OSError):
            return Unfetched("the connection broke off", silent=True, again=True)
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        return Unfetched(text, silent=True)


def _causes(error: BaseException | None, depth: int = 0) -> Iterator[BaseException]:
    """An error and what lies behind it, Twisted's lists of failures included."""
    if error is None or depth > 8:
        return
    yield error
    for failure in getattr(error, "reasons", ()):
        yield from _causes(failure.value, depth + 1)
    yield from _causes(error.__cause__ or error.__context__, depth + 1)


def _tls_reason(causes: list[BaseException]) -> str:
    for cause in causes:
        if type(cause).__module__.startswith("service_identity"):
            return "the certificate is another host's"
        if type(cause).__module__.startswith("OpenSSL") and cause.args and isinstance(cause.args[0], list):
            for detail in cause.args[0]:
                return str(detail[-1])
    return "the handshake failed"


def _retry_after(response: Response) -> float:
    """Seconds that the server asks to wait; 0 where it does not say."""
    text = (response.headers.get(b"Retry-After") or b"").decode("latin-1").strip()
    if text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _proxies() -> set[str]:
    from urllib.request import getproxies

    return {scheme for scheme in getproxies() if scheme in ("http", "https")}
