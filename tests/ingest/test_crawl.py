"""Crawls of sites on loopback: the right pages and no others, each once, also after kills; re-fetched only if changed."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from groundtune.config import CrawlConfig
from groundtune.errors import GroundtuneError, InputError, WorkspaceError
from groundtune.ingest import crawl as crawling
from groundtune.ingest.crawl import CrawlResult, crawl
from groundtune.ingest.loaders import html
from groundtune.ingest.web.visits import CONCURRENCY
from memory_watch import MemoryWatch
from web_site import Answer, Generated, Site, drip, generated, moved, page, robots, sitemap, with_validator

SETTINGS = CrawlConfig(delay_seconds=0, page_megabytes=1, page_seconds=2, allow_private=True)
#: the whole process; Python with Scrapy imported takes 75 MB
MAX_RSS_BYTES = 220_000_000
CALL = """
import json, sys
from pathlib import Path
from groundtune.config import CrawlConfig
from groundtune.ingest.crawl import crawl
url, folder, settings = json.loads(sys.argv[1])
crawl(url, Path(folder), CrawlConfig(**settings))
"""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def settings(**changes: Any) -> CrawlConfig:
    return SETTINGS.model_copy(update=changes)


def came(result: CrawlResult, site: Site) -> set[str]:
    return {item.url.removeprefix(site.url) for item in result.fetched}


def reasons(result: CrawlResult, site: Site) -> dict[str, str]:
    return {item.url.removeprefix(site.url): item.reason for item in result.left}


def refused(url: str, folder: Path, **changes: Any) -> GroundtuneError:
    with pytest.raises(InputError) as caught:
        crawl(url, folder, settings(**changes))
    assert "Traceback" not in str(caught.value)
    assert caught.value.next_step or caught.value.expected
    return caught.value


def start_process(url: str, folder: Path, configured: CrawlConfig) -> subprocess.Popen[bytes]:
    """A crawl in a process group of its own."""
    job = json.dumps([url, str(folder), configured.model_dump()])
    return subprocess.Popen(
        [sys.executable, "-c", f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{CALL}", job],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def check_right_pages(result: CrawlResult, site: Site, made: Generated) -> None:
    assert came(result, site) == made.expected
    left = reasons(result, site)
    assert {path: word for path, word in made.left.items() if word not in left.get(path, "")} == {}
    assert not made.forbidden & site.asked()
    for item in result.fetched:
        assert item.path.stat().st_size == item.size_bytes > 0
    assert result.unvisited == 0
    assert result.stopped == ""


def crawl_killed_in_the_middle(made: Generated, folder: Path, kills: list[int]) -> tuple[CrawlResult, Site, int]:
    """A crawl whose process group is killed each time the server was asked so often, and then goes on to its end."""
    configured = settings(depth=3, pages=20_000, page_seconds=1)
    with Site(made.answers) as site, MemoryWatch("groundtune.ingest.") as watch:
        for asked in kills:
            process = start_process(site.url, folder, configured)
            wait_until(lambda asked=asked: site.hits.total() >= asked, 60)  # type: ignore[misc]
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        result = crawl(site.url, folder, configured)
    assert watch.peak_bytes > 0
    check_right_pages(result, site, made)
    assert result.resumed
    return result, site, watch.peak_bytes


@pytest.mark.parametrize(
    ("pages", "kills"),
    [
        pytest.param(110, [60, 130], id="150 pages"),
        pytest.param(1400, [700, 1500], id="2000 pages", marks=pytest.mark.slow),
    ],
)
def test_a_site_with_traps_killed_twice_and_resumed(pages: int, kills: list[int], tmp_path: Path) -> None:
    made = generated(pages, slow_seconds=10)
    started = time.monotonic()
    _, site, peak_bytes = crawl_killed_in_the_middle(made, tmp_path, kills)
    seconds = time.monotonic() - started
    twice = {path: count for path, count in site.hits.items() if count > 1}
    # only what was under way at a kill is asked for again
    assert sum(count - 1 for count in twice.values()) <= CONCURRENCY * len(kills), twice
    assert site.hits["/robots.txt"] == 1
    assert peak_bytes < MAX_RSS_BYTES
    assert site.sent_bytes < 100_000_000  # of the gigabyte and a half that the large pages have
    print(f"{len(site.hits)} addresses, {seconds:.1f} s, peak {peak_bytes / 1e6:.0f} MB, twice {twice}")


def test_no_page_is_asked_for_twice(tmp_path: Path) -> None:
    made = generated(40, slow_seconds=5)
    heard: list[tuple[int, int, str]] = []
    with Site(made.answers) as site:
        result = crawl(site.url, tmp_path, settings(depth=3, page_seconds=1), progress=lambda *said: heard.append(said))
    check_right_pages(result, site, made)
    assert set(site.hits.values()) == {1}
    assert result.requests == site.hits.total()
    assert not result.resumed
    assert heard
    assert all(0 < done <= total and name.startswith(site.url) for done, total, name in heard)
    agents = {headers["User-Agent"] for _, _, headers in site.seen}
    assert len(agents) == 1
    assert agents.pop().startswith("groundtune/")


# ---- what is fetched


def test_depth_counts_links_and_the_limit_counts_pages(tmp_path: Path) -> None:
    answers = {f"/{n}": page(f"Page {n}", [f"/{n + 1}", f"/{n}/x", f"/{n}/y"]) for n in range(6)}
    answers |= {f"/{n}/{leaf}": page(f"Leaf {n} {leaf}") for n in range(6) for leaf in "xy"}
    with Site(answers) as site:
        for depth in (1, 2):
            result = crawl(f"{site.url}/0", tmp_path / str(depth), settings(depth=depth))
            on_the_way = {f"/{n}" for n in range(depth + 1)}
            assert came(result, site) == on_the_way | {f"/{n}/{leaf}" for n in range(depth) for leaf in "xy"}
            assert {item.depth for item in result.fetched} == set(range(depth + 1))
        for limit in (1, 4):
            site.hits.clear()
            result = crawl(f"{site.url}/0", tmp_path / f"limit {limit}", settings(depth=5, pages=limit))
            assert len(result.fetched) == limit == len(site.asked())
            assert result.unvisited > 0
        site.hits.clear()
        result = crawl(f"{site.url}/0", tmp_path / "limit 4", settings(depth=5, pages=100))
        assert len(result.fetched) == 16


def test_depth_0_fetches_the_address_alone(tmp_path: Path) -> None:
    with Site({"/": page("First", ["/a"]), "/a": page("A"), "/sitemap.xml": sitemap("/a")}) as site:
        result = crawl(site.url, tmp_path, settings(depth=0))
        assert came(result, site) == {"/"}
        assert set(site.hits) == {"/", "/robots.txt"}


def test_a_file_comes_as_a_file(tmp_path: Path) -> None:
    pdf = b"%PDF-1.4\n" + b"x" * 500
    answers = {
        "/": page("First", ["/paper.pdf", "/download?id=7"]),
        "/paper.pdf": Answer(pdf, headers={"Content-Type": "application/pdf"}),
        "/download?id=7": Answer(
            b"PK\x03\x04 no more",
            headers={"Content-Type": "application/octet-stream", "Content-Disposition": 'attachment; filename="Plan.docx"'},
        ),
        "/sitemap.xml": sitemap("/"),
    }  # fmt: skip
    with Site(answers) as site:
        result = crawl(f"{site.url}/paper.pdf", tmp_path, SETTINGS)
        assert set(site.hits) == {"/robots.txt", "/paper.pdf"}
        (item,) = result.fetched
        assert (item.path.suffix, item.path.read_bytes(), item.title) == (".pdf", pdf, "paper.pdf")
        assert (item.url, item.media_type, item.changed) == (f"{site.url}/paper.pdf", "application/pdf", True)
        others = {item.url: item for item in crawl(site.url, tmp_path, SETTINGS).fetched}
        assert others[f"{site.url}/download?id=7"].path.suffix == ".docx"
        assert others[f"{site.url}/download?id=7"].title == "Plan.docx"


def test_what_came_is_read_by_the_loader(tmp_path: Path) -> None:
    latin = (
        "<html><head><title>Bücher</title></head><body><h1>Bücher</h1><p>Die Ausleihe ist für alle offen.</p>".encode(
            "latin-1"
        )
    )
    with Site({"/": Answer(latin, headers={"Content-Type": "text/html; charset=iso-8859-1"})}) as site:
        (item,) = crawl(site.url, tmp_path, SETTINGS).fetched
    assert item.title == "Bücher"
    (section,) = html.load(item.path)
    assert section.heading == "Bücher"
    assert section.text == "Die Ausleihe ist für alle offen."


def test_only_this_host_unless_told_otherwise(tmp_path: Path) -> None:
    with Site({"/": page("Elsewhere", ["/more"]), "/more": page("More elsewhere")}) as other:
        answers = {"/": page("First", ["/moved", f"{other.url}/"]), "/moved": moved(f"{other.url}/more")}
        with Site(answers) as site:
            result = crawl(site.url, tmp_path / "one", SETTINGS)
            assert came(result, site) == {"/"}
            assert "another host" in reasons(result, site)["/moved"]
            assert not other.hits
            result = crawl(site.url, tmp_path / "one", settings(same_site=False))
            assert {item.url for item in result.fetched} == {f"{site.url}/", f"{other.url}/", f"{other.url}/more"}
            assert other.hits["/robots.txt"] == 1
        with Site({"/": moved(f"{other.url}/more")}) as site:
            error = refused(site.url, tmp_path / "two")
            site.answers["/"], site.answers["/b"] = moved("/b"), moved("/")
            assert "circle" in refused(site.url, tmp_path / "two").problem
            assert "another host" in error.problem
            assert error.next_step.endswith(f"{other.url}/more")


def test_sitemaps_name_pages_that_nothing_links_to(tmp_path: Path) -> None:
    answers = {
        "/docs/": page("First"), "/docs/a": page("A"), "/b": page("B"), "/c": page("C"),
        "/sitemap.xml": sitemap("/docs/a", "/b", "http://elsewhere.invalid/x"),
        "/other.xml.gz": sitemap("/c", packed=True), "/index.xml": sitemap("/other.xml.gz", "/missing.xml", index=True),
    }  # fmt: skip
    with Site(answers) as site:
        assert came(crawl(f"{site.url}/docs/", tmp_path / "guessed", SETTINGS), site) == {"/docs/", "/docs/a", "/b"}
        two = crawl(f"{site.url}/docs/", tmp_path / "two", settings(pages=2))
        assert came(two, site) == {"/docs/", "/docs/a"}  # near ones first
        site.answers["/robots.txt"] = robots("Sitemap: /index.xml")
        result = crawl(f"{site.url}/docs/", tmp_path / "named", SETTINGS)
        assert came(result, site) == {"/docs/", "/c"}
        assert "sitemap: HTTP 404" in reasons(result, site)["/missing.xml"]


def test_directives_of_pages_are_kept(tmp_path: Path) -> None:
    nofollow = '<meta name="ROBOTS" content="NoFollow">'
    answers = {
        "/": page("First", ["/nofollow", "/header", "/robot", '/x" rel="nofollow'], head='<base href="/sub/">'),
        "/sub/": page("Wrong"),
        "/nofollow": page("Nofollow", ["/hidden"], head=nofollow),
        "/header": page("Header", ["/behind"], X_Robots_Tag="noindex"),
        "/robot": page("Robot", X_Robots_Tag="googlebot: noindex"),
        "/behind": page("Behind", ["relative"], head='<base href="/sub/">'),
        "/sub/relative": page("Relative"),
        "/hidden": page("Hidden"), "/x": page("X"),
    }  # fmt: skip
    with Site(answers) as site:
        result = crawl(site.url, tmp_path, SETTINGS)
        assert came(result, site) == {"/", "/nofollow", "/robot", "/behind", "/sub/relative"}
        assert "noindex" in reasons(result, site)["/header"]
        assert not {"/hidden", "/x"} & site.asked()


def test_canonical_addresses_are_believed_where_the_pages_are_the_same(tmp_path: Path) -> None:
    to_first, to_article = (f'<link rel="canonical" href="{path}">' for path in ("/", "/article"))
    answers = {
        "/": page("First", ["/print", "/article?from=home", "/wrong", "/lost", "/twin"]),
        "/article": page("Article", ["/linked"]), "/linked": page("Linked"),
        "/print": page("Article", ["/only-in-print"], head=to_article, text="To print."),
        "/article?from=home": page("Other title", head=to_article),
        "/wrong": page("Another page", ["/behind-wrong"], head=to_first), "/behind-wrong": page("Behind wrong"),
        "/lost": page("Lost", head='<link rel="canonical" href="/missing">'),
        "/twin": page("Article", ["/linked"]),
        "/only-in-print": page("Only in print"),
    }  # fmt: skip
    with Site(answers) as site:
        result = crawl(site.url, tmp_path, SETTINGS)
        left = reasons(result, site)
        taken = came(result, site)
        assert taken >= {"/", "/linked", "/wrong", "/behind-wrong", "/lost"}
        assert len(taken & {"/article", "/twin"}) == 1
        (copy,) = {"/article", "/twin"} - taken
        assert "same content" in left[copy]
        if "/article" in taken:
            assert "the same page" in left["/print"]
            assert "the same page" in left["/article?from=home"]
            assert "/only-in-print" not in site.asked()


def test_pages_with_equal_bytes_come_once_and_their_links_count(tmp_path: Path) -> None:
    answers = {"/": page("First", ["/a/", "/b/"])}
    answers |= {f"/{folder}/": page("List", ["file"]) for folder in "ab"}
    answers |= {f"/{folder}/file": page(f"File {folder}") for folder in "ab"}
    with Site(answers) as site:
        result = crawl(site.url, tmp_path, SETTINGS)
        assert len(came(result, site) & {"/a/", "/b/"}) == 1
        assert came(result, site) >= {"/", "/a/file", "/b/file"}


# ---- manners


def test_robots_txt_is_obeyed_also_for_the_first_page(tmp_path: Path) -> None:
    with Site({"/robots.txt": robots("User-agent: groundtune", "Disallow: /"), "/": page("First")}) as site:
        assert "robots.txt" in refused(site.url, tmp_path).problem
        assert set(site.hits) == {"/robots.txt"}
        site.answers["/robots.txt"] = robots("User-agent: *", "Disallow:")
        assert came(crawl(site.url, tmp_path, SETTINGS), site) == {"/"}


@pytest.mark.parametrize(("status", "allowed"), [(403, True), (404, True), (503, False)])
def test_a_robots_txt_that_fails(status: int, allowed: bool, tmp_path: Path) -> None:
    with Site({"/robots.txt": Answer(b"", status), "/": page("First")}) as site:
        if allowed:
            assert came(crawl(site.url, tmp_path, SETTINGS), site) == {"/"}
        else:
            assert "robots.txt answers HTTP 503" in refused(site.url, tmp_path).problem
            assert "/" not in site.hits


@pytest.mark.parametrize(("own", "asked"), [(0.0, 0.25), (0.25, 0.1)])
def test_the_longer_pause_is_kept(own: float, asked: float, tmp_path: Path) -> None:
    answers = {"/robots.txt": robots("User-agent: *", f"Crawl-delay: {asked}"), "/": page("First", ["/a", "/b", "/c"])}
    with Site(answers | {path: page(path) for path in ("/a", "/b", "/c")}) as site:
        result = crawl(site.url, tmp_path, settings(delay_seconds=own, depth=1))
        times = [at for at, path, _ in site.seen if path != "/robots.txt"]
        pauses = [after - before for before, after in itertools.pairwise(times)]
        assert len(pauses) == 4  # the sitemap too
        assert min(pauses) > 0.9 * max(own, asked)
        assert result.delay_seconds == max(own, asked)


# ---- what goes wrong


def failing(*answers: Answer) -> Callable[[Any], Answer]:
    """These answers, one after the other; the last again and again."""
    waiting = list(answers)
    return lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0]


def test_passing_faults_are_tried_again_and_lasting_ones_listed(tmp_path: Path) -> None:
    busy, broken = Answer(b"", 429, {"Retry-After": "1"}), Answer(b"", 503)
    answers = {
        "/": page("First", ["/busy", "/broken", "/always", "/forbidden", "/later"]),
        "/busy": failing(busy, page("Busy")), "/broken": failing(broken, broken, page("Broken")),
        "/always": Answer(b"", 500), "/forbidden": Answer(b"no", 403), "/later": Answer(b"", 429, {"Retry-After": "86400"}),
    }  # fmt: skip
    with Site(answers) as site:
        result = crawl(site.url, tmp_path, SETTINGS)
        assert came(result, site) == {"/", "/busy", "/broken"}
        left = reasons(result, site)
        assert left["/always"] == "HTTP 500 Internal Server Error"
        assert left["/forbidden"] == "HTTP 403 Forbidden"
        assert "86,400 s" in left["/later"]
        assert [site.hits[path] for path in ("/busy", "/broken", "/always", "/forbidden", "/later")] == [2, 3, 3, 1, 1]
        first, second = (at for at, path, _ in site.seen if path == "/busy")
        assert second - first > 0.95


def raw(text: bytes, then: Callable[[], Iterator[bytes]] | None = None) -> Answer:
    def pieces() -> Iterator[bytes]:
        yield text
        if then:
            yield from then()

    return Answer(pieces, raw=True)


def endless_headers() -> Iterator[bytes]:
    for number in range(200_000):
        yield b"X-%d: %s\r\n" % (number, b"y" * 1000)


def test_hostile_answers_are_bounded_in_time_and_memory(tmp_path: Path) -> None:
    import gzip
    import zlib

    ok = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(packer.compress(b"\0" * 1_000_000) for _ in range(200)), packer.flush()])
    twice = gzip.compress(bomb)
    packed = {"Content-Type": "text/html", "Content-Encoding": "gzip"}
    answers = {
        "/bomb": Answer(bomb, headers=packed),
        "/bomb-in-bomb": Answer(twice, headers={**packed, "Content-Encoding": "gzip, gzip"}),
        "/not-gzip": Answer(b"plain text", headers=packed),
        "/unknown-packing": Answer(b"????", headers={**packed, "Content-Encoding": "secret"}),
        "/drip": Answer(drip(20), headers={"Content-Type": "text/html"}),
        "/drip-headers": raw(b"HTTP/1.1 200 OK\r\nX: ", drip(20)),
        "/endless-headers": raw(b"HTTP/1.1 200 OK\r\n", endless_headers),
        "/lies-more": raw(ok + b"Content-Length: 5000\r\n\r\nshort"),
        "/lies-less": raw(ok + b"Content-Length: 6\r\n\r\n<p>a\r\n" + b"x" * 3_000_000),
        "/no-length": raw(ok + b"\r\n", lambda: iter([b"<p>endless"] * 1_000_000)),
        "/no-http": raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
        "/closes": raw(b""),
        "/bad-place": moved("http://[broken/"),
    }
    expected = {
        "/bomb": "unpacked", "/bomb-in-bomb": "unpacked", "/not-gzip": "compression is damaged",
        "/unknown-packing": "compression that is not known", "/drip": "longer than 2 s", "/drip-headers": "longer than 2 s",
        "/endless-headers": "larger than 1 MB", "/lies-more": "broke off", "/no-length": "larger than 1 MB",
        "/no-http": "not HTTP", "/closes": "broke off", "/bad-place": "302",
    }  # fmt: skip
    with Site({"/": page("First", answers), **answers}) as site, MemoryWatch("groundtune.ingest.") as watch:
        started = time.monotonic()
        result = crawl(site.url, tmp_path, SETTINGS)
        assert time.monotonic() - started < 15
        left = reasons(result, site)
        assert {path: left.get(path) for path, word in expected.items() if word not in left.get(path, "")} == {}
        assert came(result, site) == {"/", "/lies-less"}
    assert watch.peak_bytes < MAX_RSS_BYTES


def test_a_server_that_goes_silent_ends_the_crawl_which_goes_on_later(tmp_path: Path) -> None:
    paths = [f"/{number}" for number in range(30)]
    with Site({"/": page("First", paths)} | {path: raw(b"") for path in paths}) as site:
        result = crawl(site.url, tmp_path, SETTINGS)
        assert "no longer answers" in result.stopped
        assert came(result, site) == {"/"}
        assert result.unvisited >= 20
        site.answers |= {path: page(path) for path in paths}
        site.hits.clear()
        result = crawl(site.url, tmp_path, SETTINGS)
        assert came(result, site) == {"/", *paths}
        assert result.resumed
        assert "/" not in site.hits


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("example.org", "no scheme"), ("ftp://example.org/", "ftp"), ("http://user:pw@example.org/", "password"),
        ("http://256.1.1.1/", "no host"), ("http://nobody.invalid/", "no host nobody.invalid"), ("http://127.0.0.1:9/", "refuses"),
    ],
)  # fmt: skip
def test_addresses_from_which_nothing_can_come(address: str, word: str, tmp_path: Path) -> None:
    assert word in refused(address, tmp_path).problem


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (Answer(b"", 200), "empty"), (Answer(drip(20)), "longer than 1 s"),
        (Answer(b"x", headers={"Content-Type": "image/png"}), "image/png is no document"),
        (page("No", head='<meta name="robots" content="noindex">'), "noindex"),
        (Answer(b"x" * 1_100_000, headers={"Content-Type": "text/plain"}), "larger than 1 MB"),
    ],
)  # fmt: skip
def test_a_first_page_that_does_not_come_is_one_clear_error(answer: Answer, word: str, tmp_path: Path) -> None:
    with Site({"/": answer}) as site:
        assert word in refused(site.url, tmp_path, page_seconds=1).problem


def test_a_first_page_that_failed_is_asked_for_again(tmp_path: Path) -> None:
    with Site({}) as site:
        assert "HTTP 404 Not Found" in refused(site.url, tmp_path).problem
        site.answers["/"] = page("Now it is there")
        assert came(crawl(site.url, tmp_path, SETTINGS), site) == {"/"}


# ---- again


def test_a_crawl_done_again_asks_only_for_what_changed(tmp_path: Path) -> None:
    paths = ["/tagged", "/dated", "/plain", "/edited", "/gone", "/unlinked", "/failing"]
    dated = page("Dated")

    def by_date(headers: Any) -> Answer:
        when = "Tue, 05 Mar 2024 10:00:00 GMT"
        if headers.get("If-Modified-Since") == when:
            return Answer(status=304)
        return Answer(dated.body, headers={**dated.headers, "Last-Modified": when})

    answers: dict[str, Any] = {path: page(f"Page {path}") for path in paths}
    answers |= {"/": with_validator(page("First", paths), '"1"'), "/dated": by_date}
    answers["/tagged"] = with_validator(page("Tagged", ["/below"]), 'W/"2"')
    answers["/below"] = with_validator(page("Below"), '"3"')
    with Site(answers) as site:
        first = crawl(site.url, tmp_path, SETTINGS)
        assert came(first, site) == {"/", "/below", *paths}
        assert all(item.changed for item in first.fetched)
        site.sent_bytes = 0
        second = crawl(site.url, tmp_path, SETTINGS)
        assert not any(item.changed for item in second.fetched)
        assert [(item.url, item.path) for item in second.fetched] == [(item.url, item.path) for item in first.fetched]
        assert site.hits["/tagged"] == site.hits["/below"] == 2
        assert site.sent_bytes < sum(item.size_bytes for item in first.fetched)

        site.answers["/edited"] = page("Page /edited", text="Now it says something else.")
        site.answers["/failing"] = Answer(b"", 500)
        del site.answers["/gone"]
        site.answers["/"] = page("First", [path for path in paths if path != "/unlinked"])
        third = crawl(site.url, tmp_path, SETTINGS)
        assert came(third, site) == {"/", "/below", "/tagged", "/dated", "/plain", "/edited", "/failing"}
        assert {item.url.removeprefix(site.url) for item in third.fetched if item.changed} == {"/", "/edited"}
        left = reasons(third, site)
        assert "gone since the last crawl" in left["/gone"]
        assert "nothing leads to it any more" in left["/unlinked"]
        assert "HTTP 500" in left["/failing"]
        assert "copy" in left["/failing"]
        held = {item.path for item in third.fetched}
        assert set(next(iter(held)).parent.iterdir()) == held


def test_a_file_that_was_deleted_is_fetched_again(tmp_path: Path) -> None:
    with Site({"/": with_validator(page("First", ["/a"]), '"1"'), "/a": with_validator(page("A"), '"2"')}) as site:
        result = crawl(site.url, tmp_path, SETTINGS)
        by_url = {item.url: item.path for item in result.fetched}
        by_url[f"{site.url}/a"].unlink()
        again = crawl(site.url, tmp_path, SETTINGS)
        assert {item.url: item.path for item in again.fetched} == by_url
        assert by_url[f"{site.url}/a"].exists()


def test_a_site_that_is_down_loses_nothing(tmp_path: Path) -> None:
    with Site({"/": page("First", ["/a"]), "/a": page("A")}) as site:
        first = crawl(site.url, tmp_path, SETTINGS)
        site.answers = {}
        site.answers["/robots.txt"] = Answer(b"", 503)
        second = crawl(site.url, tmp_path, SETTINGS)
        assert {item.path for item in second.fetched} <= {item.path for item in first.fetched}
        assert all(item.path.exists() for item in second.fetched)


# ---- kills and faults of the process


def slow_site(count: int = 80) -> Site:
    site = Site(
        {"/": page("First", [f"/{n}" for n in range(count)])} | {f"/{n}": page(f"Page {n}") for n in range(count)}
    )
    site.delay_seconds = 0.05
    return site


def crawlers(parent: int | None = None) -> list[psutil.Process]:
    """The crawler processes of a process (this one unless told); a test worker has other children too, a database's."""
    found = []
    for child in psutil.Process(parent).children():
        with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            found += [child] * (crawling.CHILD[-1] in child.cmdline())
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_crawler_ends_with_its_parent(how: signal.Signals, tmp_path: Path) -> None:
    with slow_site() as site:
        process = start_process(site.url, tmp_path, SETTINGS)
        wait_until(lambda: site.hits.total() > 10)
        children = crawlers(process.pid)
        assert len(children) == 1
        process.send_signal(how)
        process.communicate(timeout=10)
        psutil.wait_procs(children, timeout=5)
        assert not children[0].is_running() or children[0].status() == psutil.STATUS_ZOMBIE
        site.delay_seconds = 0
        result = crawl(site.url, tmp_path, SETTINGS)
        assert result.resumed
        assert len(result.fetched) == 81
        assert sum(count - 1 for count in site.hits.values()) <= CONCURRENCY


def test_a_killed_crawler_is_one_clear_error_and_the_next_goes_on(tmp_path: Path) -> None:
    def kill_it(done: int, *_: object) -> None:
        if done > 10:
            for child in crawlers():
                child.kill()

    with slow_site() as site:
        with pytest.raises(InputError) as caught:
            crawl(site.url, tmp_path, SETTINGS, progress=kill_it)
        assert "killed by signal 9" in caught.value.problem
        assert "run the same command again" in caught.value.next_step
        site.delay_seconds = 0
        assert len(crawl(site.url, tmp_path, SETTINGS).fetched) == 81


def test_a_fault_of_the_callers_ends_the_crawler(tmp_path: Path) -> None:
    seen: list[psutil.Process] = []

    def interrupt(*_: object) -> None:
        seen.extend(crawlers())
        raise KeyboardInterrupt

    with slow_site() as site:
        with pytest.raises(KeyboardInterrupt) as caught:
            crawl(site.url, tmp_path, SETTINGS, progress=interrupt)
        assert len(seen) == 1
        assert not seen[0].is_running()
        assert caught.value is not None


def test_a_crawler_that_cannot_start_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawling, "CHILD", ("-c", "raise ImportError('no scrapy here')"))
    problem = refused("http://127.0.0.1:9/", tmp_path).problem
    assert "exit code 1: ImportError: no scrapy here" in problem


def test_damaged_state_is_named_with_what_to_do(tmp_path: Path) -> None:
    with Site({"/": page("First")}) as site:
        crawl(site.url, tmp_path, SETTINGS)
        (state,) = tmp_path.glob("*/crawl.sqlite")
        state.write_bytes(b"no database, but long enough to be taken for one" * 100)
        with pytest.raises(WorkspaceError) as caught:
            crawl(site.url, tmp_path, SETTINGS)
        assert str(state.parent) in caught.value.problem
        assert "delete" in caught.value.next_step


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkspaceError, match="cannot be made"):
        crawl("http://127.0.0.1:9/", tmp_path / "file", SETTINGS)
