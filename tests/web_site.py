"""Web sites on loopback for tests: any answers by path, and a generated site of any size with everything that goes wrong.

The server counts what is asked for. Large and slow pages are made while they are sent.
"""

from __future__ import annotations

import gzip
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MEGABYTE = 1_000_000
HUGE_BYTES = 500 * MEGABYTE


@dataclass(frozen=True)
class Answer:
    """What the server says.

    Attributes:
        body: all of it, or pieces that are sent one by one; with ``Content-Length`` missing they go out chunked.
        raw: the body says all, status line included.
    """

    body: bytes | Callable[[], Iterator[bytes]] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bool = False


def page(title: str, links: Iterable[str] = (), *, head: str = "", text: str = "", **headers: str) -> Answer:
    """An HTML page."""
    anchors = "\n".join(f'<li><a href="{link}">{number}</a></li>' for number, link in enumerate(links))
    body = (
        f"<!doctype html><html><head><meta charset=utf-8><title>{title}</title>{head}</head>"
        f"<body><h1>{title}</h1><p>{text or f'This is what {title} says.'}</p><ul>{anchors}</ul></body></html>"
    )
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(body.encode(), headers={"Content-Type": "text/html", **named})


def moved(to: str, status: int = 302) -> Answer:
    return Answer(status=status, headers={"Location": to})


def robots(*lines: str) -> Answer:
    return Answer("\n".join(lines).encode(), headers={"Content-Type": "text/plain"})


def sitemap(*locations: str, index: bool = False, packed: bool = False) -> Answer:
    outer, inner = ("sitemapindex", "sitemap") if index else ("urlset", "url")
    entries = "".join(f"<{inner}><loc>{location}</loc></{inner}>" for location in locations)
    xml = f'<?xml version="1.0"?><{outer} xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{entries}</{outer}>'
    return Answer(gzip.compress(xml.encode()) if packed else xml.encode(), headers={"Content-Type": "application/xml"})


def drip(seconds: float, every: float = 0.2) -> Callable[[], Iterator[bytes]]:
    """A byte now and then, for so many seconds."""

    def pieces() -> Iterator[bytes]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            yield b"x"
            time.sleep(every)

    return pieces


def huge() -> Iterator[bytes]:
    block = b"<p>" + b"x" * 65533
    for _ in range(HUGE_BYTES // len(block)):
        yield block


class Site:
    """A server on this machine for as long as the ``with`` block lasts.

    Attributes:
        answers: path with query -> Answer, or a function of the request's headers that makes one.
        hits: path with query -> how often it was asked for.
        seen: (seconds, path, headers) of each request, in order.
        sent_bytes: bytes of bodies sent.
    """

    def __init__(
        self, answers: Mapping[str, Answer | Callable[[Any], Answer]], host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.answers = dict(answers)
        self.hits: Counter[str] = Counter()
        self.seen: list[tuple[float, str, Mapping[str, str]]] = []
        self.sent_bytes = 0
        self.delay_seconds = 0.0
        self._lock = threading.Lock()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = 1 << 16

            def do_GET(self) -> None:
                site._answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # the client is gone

        self._server = Server((host, port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://{host}:{self.port}"

    def __enter__(self) -> Site:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wrap(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def asked(self) -> set[str]:
        """Every path that was asked for, robots.txt and the guessed sitemap left out."""
        return set(self.hits) - {"/robots.txt", "/sitemap.xml"}

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.hits[request.path] += 1
            self.seen.append((time.monotonic(), request.path, dict(request.headers)))
        if self.delay_seconds:
            time.sleep(self.delay_seconds)
        answer = self.answers.get(request.path) or Answer(b"none", 404, {"Content-Type": "text/plain"})
        if callable(answer):
            answer = answer(request.headers)
        try:
            self._send(request, answer)
        except OSError:
            request.close_connection = True

    def _send(self, request: BaseHTTPRequestHandler, answer: Answer) -> None:
        pieces = answer.body if callable(answer.body) else None
        if answer.raw:
            request.close_connection = True
            for piece in pieces() if pieces else [answer.body]:
                request.wfile.write(piece)  # type: ignore[arg-type]
                request.wfile.flush()
            return
        names = {name.lower() for name in answer.headers}
        chunked = pieces is not None and "content-length" not in names
        request.send_response(answer.status)
        for name, value in answer.headers.items():
            request.send_header(name, value)
        if chunked:
            request.send_header("Transfer-Encoding", "chunked")
        elif pieces is None and "content-length" not in names and answer.status != 304:
            request.send_header("Content-Length", str(len(answer.body)))  # type: ignore[arg-type]
        request.end_headers()
        for piece in pieces() if pieces else [answer.body]:
            if answer.status == 304:
                break
            request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)  # type: ignore[arg-type]
            if pieces:
                request.wfile.flush()
            self.sent_bytes += len(piece)  # type: ignore[arg-type]
        if chunked:
            request.wfile.write(b"0\r\n\r\n")
        request.wfile.flush()


def with_validator(answer: Answer, etag: str) -> Callable[[Any], Answer]:
    """The answer with an ``ETag``, and 304 for who has it already."""

    def answered(headers: Any) -> Answer:
        if headers.get("If-None-Match") == etag:
            return Answer(status=304, headers={"ETag": etag})
        return Answer(answer.body, answer.status, {**answer.headers, "ETag": etag})

    return answered


@dataclass(frozen=True)
class Generated:
    """A generated site.

    Attributes:
        answers: for a Site.
        expected: paths that a crawl of depth 3 must bring, under the names they have then.
        forbidden: paths that must never be asked for.
        left: path -> a word of the reason for which it must be left.
    """

    answers: dict[str, Answer | Callable[[Any], Answer]]
    expected: set[str]
    forbidden: set[str]
    left: dict[str, str]


def generated(pages: int, *, slow_seconds: float = 30.0) -> Generated:
    """A site: a first page, sections, and so many articles below them.

    With links in circles and in many spellings, an endless calendar, redirects (chains, a circle, off the site), copies
    with a canonical address, a page of 500 MB with and without its length said, one that drips, pages that fail, pages
    that robots.txt forbids or that ask not to be indexed, and pages that only the sitemap knows.
    """
    sections = max(2, pages // 50)
    article = [f"/s{number % sections}/article-{number}.html" for number in range(pages)]
    hidden = [f"/hidden/{number}.html" for number in range(max(2, pages // 100))]
    answers: dict[str, Answer | Callable[[Any], Answer]] = {
        "/robots.txt": robots("User-agent: *", "Disallow: /private/", "Sitemap: /map.xml"),
        "/map.xml": sitemap("/map-a.xml", "/map-b.xml.gz", index=True),
        "/map-a.xml": sitemap(*hidden[::2], article[0]),
        "/map-b.xml.gz": sitemap(*hidden[1::2], packed=True),
    }
    for number, path in enumerate(article):
        private = f"/private/{number % 7}.html"
        following = article[(number + sections) % pages]
        links = [
            "/", path, f"{path}#part", f"{following}?utm_source=page", f"{following};jsessionid=AB{number}", private,
            "mailto:someone@example.org", "javascript:void(0)", "/picture.png", "http://elsewhere.invalid/",
        ]  # fmt: skip
        if number % 5 == 0:
            links += [f"{path};jsessionid=AB{number}?b=1&a=2", f"{path}?a=2&b=1", f"/old/{number}"]
        answers[path] = page(f"Article {number}", links, text=f"Article {number} has the code {number * 7919}.")
        answers[f"{path}?b=1&a=2"] = answers[f"{path}?a=2&b=1"] = page(
            f"Article {number}", ["/"], head=f'<link rel="canonical" href="{path}">', text=f"Copy of {number}."
        )
        answers[f"/old/{number}"] = moved(path, 301)
        answers[private] = page("Private")
    for number, path in enumerate(hidden):
        answers[path] = page(f"Hidden {number}", ["/"])
    for number in range(sections):
        answers[f"/s{number}/"] = page(f"Section {number}", [*article[number::sections], "/", "../"])
    for month in range(10):
        answers[f"/calendar?month={month}"] = page(f"Month {month}", [f"/calendar?month={month + 1}"])
    for step in range(4):
        answers[f"/chain/{step}"] = moved(f"/chain/{step + 1}")
    answers |= {
        "/chain/4": page("Chain's end"),
        "/circle/a": moved("/circle/b"),
        "/circle/b": moved("/circle/a"),
        "/self": moved("/self"),
        "/off": moved("http://elsewhere.invalid/page"),
        "/huge": Answer(huge, headers={"Content-Type": "text/html"}),
        "/huge-said": Answer(huge, headers={"Content-Type": "text/html", "Content-Length": str(HUGE_BYTES)}),
        "/slow": Answer(drip(slow_seconds), headers={"Content-Type": "text/html"}),
        "/noindex": page("Not to be indexed", ["/behind-noindex"], head='<meta name="robots" content="noindex">'),
        "/behind-noindex": page("Behind"),
        "/gone": Answer(b"gone", 410),
        "/film": Answer(huge, headers={"Content-Type": "video/mp4"}),
        "/empty": Answer(b"", headers={"Content-Type": "text/html"}),
    }
    left = {
        "/circle/a": "circle", "/circle/b": "circle", "/self": "itself", "/off": "another host", "/huge": "larger",
        "/huge-said": "larger", "/slow": "longer", "/noindex": "noindex", "/gone": "410", "/film": "video/mp4",
        "/empty": "empty", "/missing": "404", "/private/0.html": "robots.txt",
    }  # fmt: skip
    first = [f"/s{number}/" for number in range(sections)]
    answers["/"] = page("First page", [*first, "/calendar?month=0", "/chain/0", *left])
    expected = {"/", *first, *article, *hidden, "/chain/4", "/behind-noindex"}
    expected |= {f"/calendar?month={month}" for month in range(3)}
    forbidden = {path for path in answers if path.startswith("/private/")} | {"/picture.png", "/calendar?month=3"}
    return Generated(answers, expected, forbidden, left)
