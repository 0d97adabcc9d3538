"""What a page says to a crawler: its title, links, canonical address and robots directives. Leaves out its text.

HTML is read as a stream of tags: memory holds no tree, however large the page is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from groundtune.ingest.web.addresses import Address, BadAddress, parse

#: most links of one page that are followed
MAX_LINKS = 20_000
_AGENTS = {"robots", "groundtune"}
#: directives with a colon of their own
_WITH_VALUE = {"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"}
_TITLE_CHARACTERS = 300
_PIECE = 1 << 16


@dataclass(slots=True)
class Directives:
    """``noindex``: its text is not to be taken; ``nofollow``: its links are not to be followed."""

    noindex: bool = False
    nofollow: bool = False

    def read(self, text: str) -> None:
        """Add the directives of a ``<meta name="robots">`` or an ``X-Robots-Tag``; others than these two are let be."""
        words = {word.strip().lower() for word in text.split(",")}
        self.noindex |= not words.isdisjoint({"noindex", "none"})
        self.nofollow |= not words.isdisjoint({"nofollow", "none"})


@dataclass(slots=True)
class Page:
    """What was read.

    Attributes:
        title: of ``<title>``, in one line; empty where there is none.
        links: where it leads, absolute and each once, in order; without those marked ``nofollow``.
        canonical: the address it names as its own, or None.
        directives: of its ``<meta name="robots">``.
    """

    title: str = ""
    links: list[Address] = field(default_factory=list)
    canonical: Address | None = None
    directives: Directives = field(default_factory=Directives)


def header_directives(values: Iterable[str]) -> Directives:
    """The directives of ``X-Robots-Tag`` headers; those for another robot (``googlebot: noindex``) are let be."""
    found = Directives()
    for value in values:
        agent, colon, rest = value.partition(":")
        agent = agent.strip().lower()
        if not colon or "," in agent or agent in _WITH_VALUE:
            found.read(value)
        elif agent in _AGENTS:
            found.read(rest)
    return found


def read_page(text: str, address: Address) -> Page:
    """Read a page's HTML.

    Args:
        text: the HTML, decoded.
        address: where it came from.
    """
    import lxml.etree  # type: ignore[import-untyped,unused-ignore]

    tags = _Tags()
    parser = lxml.etree.HTMLParser(target=tags, encoding="utf-8", huge_tree=True)
    try:
        for start in range(0, len(text), _PIECE):
            parser.feed(text[start : start + _PIECE].encode("utf-8", errors="replace"))
        if text:
            parser.close()
    except lxml.etree.XMLSyntaxError:
        pass  # what came before the place stands
    page = Page(" ".join("".join(tags.title).split())[:_TITLE_CHARACTERS], directives=tags.directives)
    base = _resolved(tags.base, address.url)
    base_url = base.url if base else address.url
    if tags.canonical:
        page.canonical = _resolved(tags.canonical, base_url)
    seen: set[str] = set()
    for link in tags.links:
        found = _resolved(link, base_url)
        if found and found.key not in seen:
            seen.add(found.key)
            page.links.append(found)
    return page


def _resolved(link: str, base: str) -> Address | None:
    try:
        return parse(link, base)
    except BadAddress:
        return None


class _Tags:
    """lxml's parser target: hears tags and text go by."""

    def __init__(self) -> None:
        self.title: list[str] = []
        self.links: list[str] = []
        self.base = ""
        self.canonical = ""
        self.directives = Directives()
        self._in_title = self._had_title = False
        self._in_svg = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "svg":
            self._in_svg += 1
        elif tag == "title" and not self._in_svg and not self._had_title:
            self._in_title = self._had_title = True
        elif tag in ("a", "area") and "href" in attributes:
            if "nofollow" not in attributes.get("rel", "").lower().split():
                self._add(attributes["href"])
        elif tag in ("frame", "iframe") and "src" in attributes:
            self._add(attributes["src"])
        elif tag == "base" and not self.base:
            self.base = attributes.get("href", "")
        elif tag == "link" and attributes.get("href"):
            relations = attributes.get("rel", "").lower().split()
            if "canonical" in relations:
                self.canonical = self.canonical or attributes["href"]
            elif "next" in relations or "prev" in relations:
                self._add(attributes["href"])
        elif tag == "meta":
            self._meta(attributes)

    def _meta(self, attributes: dict[str, str]) -> None:
        content = attributes.get("content", "")
        if attributes.get("name", "").strip().lower() in _AGENTS:
            self.directives.read(content)
        elif attributes.get("http-equiv", "").strip().lower() == "refresh":
            _, mark, target = content.partition("=")
            if mark and content.lower().partition(";")[2].strip().startswith("url"):
                self._add(target.strip().strip("'\""))

    def _add(self, link: str) -> None:
        link = link.strip()
        if link and not link.startswith("#") and len(self.links) < MAX_LINKS:
            self.links.append(link)

    def end(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag == "svg":
            self._in_svg = max(0, self._in_svg - 1)

    def data(self, data: str) -> None:
        if self._in_title and sum(map(len, self.title)) < 10 * _TITLE_CHARACTERS:
            self.title.append(data)

    def comment(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass
