"""The parts of a crawl without a network: addresses, the guard's rules, what a page says, media types, sitemaps, state."""

from __future__ import annotations

import gzip
import socket
from pathlib import Path
from typing import Any

import pytest

from groundtune.ingest.web import media
from groundtune.ingest.web.addresses import BadAddress, parse
from groundtune.ingest.web.entries import ALIAS, KEPT, LEFT, MOVED, Entry, Stored
from groundtune.ingest.web.frontier import Frontier
from groundtune.ingest.web.guard import Guard, refusal
from groundtune.ingest.web.page import header_directives, read_page
from groundtune.ingest.web.robots import Rules
from groundtune.ingest.web.sitemap import read_sitemap
from web_site import sitemap

PAGE = parse("http://site.example/a/page.html")


@pytest.mark.parametrize(
    ("spelling", "url"),
    [
        ("HTTP://Example.ORG", "http://example.org/"),
        ("http://example.org:80/a#part", "http://example.org/a"),
        ("https://example.org:443/", "https://example.org/"),
        ("http://example.org./a/../b/./c", "http://example.org/b/c"),
        ("http://example.org/ä ö", "http://example.org/%C3%A4%20%C3%B6"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://example.org\\a\\b?c=\\d", "http://example.org/a/b?c=%5Cd"),
        ("http://exa\nmple.org/\ta", "http://example.org/a"),
        ("http://example.org/a;jsessionid=A1B2?PHPSESSID=1&b=2&utm_source=x#y", "http://example.org/a?b=2"),
        ("http://example.org/story?sid=12", "http://example.org/story?sid=12"),
        ("http://example.org/story?sid=3f9a0c71d2e84b65a0b1c2d3", "http://example.org/story"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://0177.0.0.1/", "http://127.0.0.1/"),
        ("http://127.1/", "http://127.0.0.1/"),
        ("http://１２７.０.０.１/", "http://127.0.0.1/"),
        ("http://127。0。0。1/", "http://127.0.0.1/"),
        ("http://%31%32%37.0.0.1/", "http://127.0.0.1/"),
        ("http://127.0.0.1./", "http://127.0.0.1/"),
        ("http://[::FFFF:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
        ("http://[0:0:0:0:0:0:0:1]:8080/", "http://[::1]:8080/"),
    ],
)  # fmt: skip
def test_each_address_has_one_spelling(spelling: str, url: str) -> None:
    found = parse(spelling).url
    assert found in (url, url.replace("::ffff:7f00:1", "::ffff:127.0.0.1"))
    assert parse(found).url == found


@pytest.mark.parametrize(
    "text",
    [
        "", "example.org", "ftp://example.org/", "file:///etc/passwd", "javascript:alert(1)", "mailto:a@b.example",
        "http://", "http:///a", "http://user:secret@example.org/", "http://good.example\\@127.0.0.1/", "http://a b/",
        "http://example.org:99999/", "http://example.org:0/", "http://example.org:x/", "http://[::1", "http://[fe80::1%25eth0]/",
        "http://256.1.1.1/", "http://1.2.3.4.5/", "http://08.1.1.1/", "http://exa%00mple.org/", "http://-a.example/",
        "http://" + "a" * 64 + ".example/", "http://example.org/" + "a" * 3000, "data:text/html,hello",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    if text == "http://good.example\\@127.0.0.1/":  # as browsers read it: the host is good.example
        assert parse(text).host == "good.example"
        return
    with pytest.raises(BadAddress):
        parse(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://e.org/a?x=1&y=2", "http://e.org/a?y=2&x=1", True),
        ("http://e.org/%7Eann", "http://e.org/~ann", True),
        ("http://e.org/a?q=a+b", "http://e.org/a?q=a%20b", True),
        ("http://e.org/a?", "http://e.org/a", True),
        ("http://e.org/a", "http://e.org/a/", False),
        ("http://e.org/a%2Fb", "http://e.org/a/b", False),
        ("http://e.org/?q=%E4", "http://e.org/?q=%F6", False),
        ("http://e.org/a?x=1&x=2", "http://e.org/a?x=1", False),
        ("http://e.org/A", "http://e.org/a", False),
    ],
)
def test_keys_tell_pages_apart_and_spellings_not(one: str, other: str, same: bool) -> None:
    assert (parse(one).key == parse(other).key) is same


def test_a_site_is_a_host_with_and_without_www_and_tls() -> None:
    site = parse("http://example.org/").site
    assert site == parse("https://www.example.org/a").site
    assert site != parse("http://sub.example.org/").site
    assert site != parse("http://example.org:8080/").site


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"), ("127.255.0.9", "loopback"), ("::1", "loopback"), ("::ffff:127.0.0.1", "loopback"),
        ("::7f00:1", "loopback"), ("2002:7f00:1::", "loopback"), ("64:ff9b::7f00:1", "loopback"), ("0.0.0.0", "unspecified"),
        ("::", "unspecified"), ("10.1.2.3", "private"), ("172.31.0.1", "private"), ("192.168.1.1", "private"),
        ("fd00::1", "private"), ("fec0::1", "private"), ("::ffff:10.0.0.1", "private"), ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"), ("fe80::1%eth0", "link-local"), ("100.64.0.1", "carrier"), ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"), ("240.0.0.1", "reserved"), ("255.255.255.255", "reserved"), ("198.18.0.1", "reserved"),
        ("192.0.0.1", "reserved"), ("2001::1", "reserved"), ("64:ff9b:1::808:808", "reserved"), ("4000::1", "reserved"),
        ("2001:db8::1", "documentation"), ("192.0.2.1", "documentation"), ("fe80::5efe:127.0.0.1", "link-local"),
        ("2a00::5efe:7f00:1", "loopback"),
        ("8.8.8.8", ""), ("172.32.0.1", ""), ("100.128.0.1", ""), ("2606:4700::1", ""), ("::ffff:8.8.8.8", ""),
        ("64:ff9b::808:808", ""),
    ],
)  # fmt: skip
def test_only_public_addresses_pass(address: str, kind: str) -> None:
    why = refusal(address)
    assert (kind in why) if kind else why == ""


class Receiver:
    """What Twisted hands to a name resolver."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.complete = 0

    def resolutionBegan(self, _: object) -> None:
        pass

    def addressResolved(self, address: Any) -> None:
        self.answers.append(address.host)

    def resolutionComplete(self) -> None:
        self.complete += 1


class Reactor:
    """As much of a reactor as the guard touches; its names have the answers that are given."""

    def __init__(self, *answers: str) -> None:
        self.answers = answers
        self.connected: list[tuple[str, int]] = []
        self.nameResolver: Any = self

    def resolveHostName(self, receiver: Any, name: str, port: int = 0, *_: Any) -> None:
        from twisted.internet.address import IPv4Address, IPv6Address

        for answer in self.answers:
            receiver.addressResolved((IPv6Address if ":" in answer else IPv4Address)("TCP", answer, port))
        receiver.resolutionComplete()

    def installNameResolver(self, resolver: Any) -> None:
        self.nameResolver = resolver

    def connectTCP(self, host: str, port: int, *_: Any, **__: Any) -> str:
        self.connected.append((host, port))
        return "connected"


def guarded(*answers: str, **settings: Any) -> tuple[Guard, Reactor]:
    guard, reactor = Guard(**{"allow_private": False, "limit_bytes": 1000, **settings}), Reactor(*answers)
    guard.install(reactor)
    return guard, reactor


def resolved(reactor: Reactor, name: str = "site.example", port: int = 80) -> list[str]:
    receiver = Receiver()
    reactor.nameResolver.resolveHostName(receiver, name, port)
    assert receiver.complete == 1
    return receiver.answers


def test_a_name_passes_only_if_every_answer_does() -> None:
    guard, reactor = guarded("8.8.8.8", "2606:4700::1")
    assert resolved(reactor) == ["8.8.8.8", "2606:4700::1"]
    for bad in ("10.0.0.1", "::1", "::ffff:169.254.169.254"):
        guard, reactor = guarded("8.8.8.8", bad)
        assert resolved(reactor) == []
        assert guard.refused["site.example"] == refusal(bad) != ""
    guard, reactor = guarded("127.0.0.1", allow_private=True)
    assert resolved(reactor) == ["127.0.0.1"]


def test_nothing_connects_but_checked_numbers() -> None:
    from twisted.internet.protocol import ClientFactory

    _, reactor = guarded()
    with pytest.raises(OSError, match="loopback"):
        reactor.connectTCP("127.0.0.1", 80, ClientFactory())
    with pytest.raises(OSError, match="not resolved"):
        reactor.connectTCP("site.example", 80, ClientFactory())
    assert reactor.connectTCP("8.8.8.8", 80, ClientFactory()) == "connected"
    assert reactor.connected == [("8.8.8.8", 80)]


def test_the_environments_proxy_may_be_private_and_nothing_else() -> None:
    from twisted.internet.protocol import ClientFactory

    _, reactor = guarded("10.0.0.7", proxies=["http://proxy.example:3128"])
    assert resolved(reactor, "proxy.example", 3128) == ["10.0.0.7"]
    assert reactor.connectTCP("10.0.0.7", 3128, ClientFactory()) == "connected"
    with pytest.raises(OSError, match="private"):
        reactor.connectTCP("10.0.0.7", 80, ClientFactory())
    assert resolved(reactor, "other.example", 3128) == []


def test_this_machines_own_name_is_refused() -> None:
    answers = {info[4][0] for info in socket.getaddrinfo("localhost", 80)}
    assert answers
    assert all(refusal(str(answer)) == "a loopback address" for answer in answers)


def test_links_follow_the_base_and_nofollow_is_kept() -> None:
    page = read_page(
        """<html><head><title> A
        title </title><base href="/b/"><link rel=canonical href="c.html"></head><body><svg><title>no</title></svg>
        <a href="one">1</a><a href="one#x">1</a><a rel="external nofollow" href="two">2</a><area href="//site.example/three">
        <iframe src="four"></iframe><a>no</a><a href="mailto:a@b">m</a><a href="http://[">bad</a><a href="http://other.example/">o</a>
        <meta http-equiv=refresh content="5; URL='five'">""",
        PAGE,
    )  # fmt: skip
    assert page.title == "A title"
    assert [link.url for link in page.links] == [
        "http://site.example/b/one", "http://site.example/three", "http://site.example/b/four", "http://other.example/",
        "http://site.example/b/five",
    ]  # fmt: skip
    assert page.canonical == parse("http://site.example/b/c.html")


@pytest.mark.parametrize(
    "text", ["", " ", "no tags", "<", "<a href='x", "\x00\x01\x02", "<a " * 50_000, "\ud800<a href=x>"]
)
def test_broken_pages_are_read_without_error(text: str) -> None:
    assert len(read_page(text, PAGE).links) <= 1


def test_a_large_page_gives_all_its_links() -> None:
    text = "".join(f"<p>{'word ' * 40}<a href='/{number}'>x</a></p>" for number in range(15_000))
    assert len(read_page(text, PAGE).links) == 15_000


@pytest.mark.parametrize(
    ("values", "noindex", "nofollow"),
    [
        (["noindex"], True, False), (["none"], True, True), (["index, nofollow"], False, True), (["googlebot: noindex"], False, False),
        (["groundtune: noindex, nofollow"], True, True), (["nofollow", "noindex"], True, True), (["max-snippet:20, noindex"], True, False),
        ([], False, False),
    ],
)  # fmt: skip
def test_header_directives(values: list[str], noindex: bool, nofollow: bool) -> None:
    found = header_directives(values)
    assert (found.noindex, found.nofollow) == (noindex, nofollow)


@pytest.mark.parametrize(
    ("content_type", "name", "head", "suffix"),
    [
        ("text/html; charset=utf-8", "a.php", b"<html>", ".html"), ("", "page", b"  <!DOCTYPE html>", ".html"),
        ("application/pdf", "a", b"%PDF-1.7", ".pdf"), ("text/html", "a", b"%PDF-1.7", ".pdf"),
        ("application/octet-stream", "a.docx", b"PK\x03\x04", ".docx"), ("text/plain", "a.md", b"# A", ".md"),
        ("text/plain", "a.php", b"A", ".txt"), ("text/csv", "a", b"a,b", ".csv"), ("image/png", "a.pdf", b"\x89PNG", ""),
        ("application/zip", "a.zip", b"PK", ""), ("application/problem+json", "a", b"{}", ".json"), ("", "a", b"\x00\x01", ""),
        ("image/svg+xml", "a.svg", b"<svg", ""), ("application/rdf+xml", "a", b"<?xml ?>", ".xml"),
    ],
)  # fmt: skip
def test_the_suffix_is_that_of_the_content(content_type: str, name: str, head: bytes, suffix: str) -> None:
    assert media.suffix_of(content_type, name, head) == suffix


def test_text_whose_encoding_only_the_header_knows_becomes_utf8() -> None:
    latin = "Käse für alle".encode("latin-1")
    assert media.as_utf8(latin, "text/html; charset=iso-8859-1", ".html") == "Käse für alle".encode()
    assert media.as_utf8("Käse".encode(), "text/plain; charset=iso-8859-1", ".txt") == "Käse".encode()
    assert media.as_utf8("Käse".encode("utf-16"), "text/plain; charset=utf-16", ".txt").decode() == "Käse"
    for kind, suffix in (
        ("text/html", ".html"),
        ("application/pdf; charset=latin-1", ".pdf"),
        ("text/plain; charset=x", ".txt"),
    ):
        assert media.as_utf8(latin, kind, suffix) == latin


def test_sitemaps_of_every_form() -> None:
    plain = sitemap("http://e.org/a", "http://e.org/b?x=1&amp;y=2").body
    assert isinstance(plain, bytes)
    for body in (plain, gzip.compress(plain), b"\xef\xbb\xbf" + plain):
        assert read_sitemap(body, 10_000) == (["http://e.org/a", "http://e.org/b?x=1&y=2"], [])
    index = sitemap("http://e.org/s1.xml", index=True).body
    assert isinstance(index, bytes)
    assert read_sitemap(index, 10_000) == ([], ["http://e.org/s1.xml"])
    assert read_sitemap(b"http://e.org/a\nnonsense\nhttps://e.org/b\n", 100) == (
        ["http://e.org/a", "https://e.org/b"],
        [],
    )


@pytest.mark.parametrize(
    "body", [b"", b"<", b"\x1f\x8bxx", gzip.compress(b"x" * 100_000), b"<html><body>Not found</body></html>", b"words"]
)
def test_what_is_no_sitemap_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"is no sitemap|damaged|bytes when unpacked"):
        read_sitemap(body, 10_000)


def test_entities_in_sitemaps_do_not_grow() -> None:
    bomb = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
    <!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY f SYSTEM "file:///etc/passwd">]>
    <urlset><url><loc>http://e.org/&c;&f;</loc></url></urlset>"""
    pages, _ = read_sitemap(bomb, 10_000)
    assert all(len(page) < 100 and "root" not in page for page in pages)


def test_rules_of_robots() -> None:
    rules = Rules(
        b"User-agent: *\nDisallow: /\n\nUser-agent: groundtune\nDisallow: /no\nAllow: /no/but\nCrawl-delay: 2.5\nSitemap: /s.xml"
    )
    assert rules.refusal("http://e.org/yes") == ""
    assert "robots.txt" in rules.refusal("http://e.org/no/where")
    assert rules.refusal("http://e.org/no/but/this") == ""
    assert rules.delay_seconds == 2.5
    assert rules.sitemaps == ["/s.xml"]
    assert Rules(b"User-agent: *\nRequest-rate: 1/10").delay_seconds == 10
    assert Rules(b"\x00\xff<html>").refusal("http://e.org/") == ""
    assert Rules(b"User-agent: *\nCrawl-delay: nonsense").delay_seconds == 0


def urls(frontier: Frontier, depth: int) -> list[str]:
    """What would be fetched in which order."""
    found: list[str] = []
    busy: set[int] = set()
    while entry := frontier.next(depth, busy):
        busy.add(entry.id)
        found.append(entry.url.removeprefix("http://e.org"))
    return found


def taken(frontier: Frontier, path: str) -> Entry:
    busy: set[int] = set()
    while entry := frontier.next(99, busy):
        if entry.url == f"http://e.org{path}":
            return entry
        busy.add(entry.id)
    raise AssertionError(path)


def at(*paths: str) -> list[Any]:
    return [parse(f"http://e.org{path}") for path in paths]


def test_depths_shrink_when_a_shorter_way_is_found(tmp_path: Path) -> None:
    frontier = Frontier(tmp_path)
    frontier.begin(*at("/"), "")
    frontier.settle(taken(frontier, "/"), KEPT, links=at("/slow", "/quick"))
    frontier.settle(taken(frontier, "/quick"), KEPT, links=at("/a"))
    frontier.settle(taken(frontier, "/a"), MOVED, target=at("/b")[0])
    frontier.settle(taken(frontier, "/b"), KEPT, links=at("/c"))
    frontier.settle(taken(frontier, "/c"), LEFT, links=at("/d"))
    assert [entry.depth for entry in (taken(frontier, path) for path in ("/slow", "/d"))] == [1, 4]
    frontier.settle(taken(frontier, "/slow"), KEPT, links=at("/b"))
    assert taken(frontier, "/d").depth == 4  # /b was there at 2 by the redirect already
    frontier.settle(taken(frontier, "/d"), KEPT, links=at("/e"))
    frontier.found(at("/b"), 1)
    assert taken(frontier, "/e").depth == 4


def test_the_frontier_goes_by_depth_and_outlives_a_kill(tmp_path: Path) -> None:
    frontier = Frontier(tmp_path, lambda address: address.path.startswith("/docs/"))
    assert frontier.begin(*at("/docs/"), "") is False
    frontier.settle(taken(frontier, "/docs/"), KEPT, links=at("/x", "/docs/y", "/docs/z"))
    frontier.settle(taken(frontier, "/docs/y"), KEPT, links=at("/docs/deep", "/docs/"))
    assert urls(frontier, 1) == ["/docs/z", "/x"]
    again = Frontier(tmp_path)  # the first was never closed
    assert again.begin(*at("/docs/"), "") is True
    assert urls(again, 2) == ["/docs/", "/docs/y", "/docs/z", "/x", "/docs/deep"]  # kept without a file: fetched again


def test_a_new_run_asks_for_all_again_and_drops_what_nothing_leads_to(tmp_path: Path) -> None:
    def keep(path: str, text: str, *links: str) -> None:
        stored = Stored(f"{text}.txt", text, len(text))
        frontier.path(stored).write_text(text)
        frontier.settle(taken(frontier, path), KEPT, stored=stored, links=at(*links))

    frontier = Frontier(tmp_path)
    frontier.begin(*at("/"), "")
    keep("/", "first", "/a", "/b")
    keep("/a", "one")
    keep("/b", "two")
    frontier.finish("nothing leads to it")
    assert frontier.begin(*at("/"), "") is False
    assert urls(frontier, 9) == ["/"]
    keep("/", "other", "/a")
    frontier.settle(taken(frontier, "/a"), KEPT, stored=taken(frontier, "/a").stored, links=None)
    frontier.finish("nothing leads to it")
    assert [(entry.url[12:], entry.changed) for entry in frontier.entries(KEPT)] == [("/", True), ("/a", False)]
    assert [(entry.url[12:], entry.reason) for entry in frontier.entries(LEFT)] == [("/b", "nothing leads to it")]
    assert {path.name for path in tmp_path.joinpath("pages").iterdir()} == {"other.txt", "one.txt"}


def test_an_alias_holds_its_links_back_until_it_is_restored(tmp_path: Path) -> None:
    frontier = Frontier(tmp_path)
    frontier.begin(*at("/copy"), "")
    frontier.settle(taken(frontier, "/copy"), ALIAS, target=at("/right")[0], links=at("/more"))
    assert urls(frontier, 9) == ["/right"]
    entry = next(frontier.entries(ALIAS))
    target = frontier.target_of(entry)
    assert target is not None
    assert target.url == "http://e.org/right"
    frontier.restore(entry)
    assert urls(frontier, 9) == ["/right", "/more"]
