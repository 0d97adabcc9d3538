"""Web pages: trafilatura finds the main text (no menus, no footers) as Markdown, whose headings make the sections.

Where it finds nothing, or loses text or headings of a page that has no menus to leave out, all visible text is taken.
Leaves out scripts: a page whose text is only made in the browser has none here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groundtune.errors import InputError
from groundtune.ingest import reading, sectioning
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.ingest.sectioning import Block
from groundtune.records import Section

EXTENSIONS = (".html", ".htm", ".xhtml")

_MAX_BYTES = 64 << 20
_TAG = re.compile(r"<(?:!doctype|html|head|body|title|div|p|h[1-6]|table|ul|ol|article|section|main|span|a|br)\b", re.I)
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)
#: marks of menus, footers and the like, which are worth leaving out
_FURNITURE = re.compile(
    r"<(?:nav|header|footer|aside|form)\b|(?:class|id|role)\s*=\s*[\"'][^\"'>]{0,200}?"
    r"(?:nav|menu|footer|header|sidebar|cookie|banner|breadcrumb|share|comment|advert)",
    re.I,
)
#: share of a plain page's words that its main text must have
_ENOUGH = 0.97
_HIDDEN = {"script", "style", "noscript", "template", "head", "svg", "iframe", "nav", "select", "button"}
_BLOCK_TAGS = {
    *("p", "li", "dt", "dd", "pre", "blockquote", "div", "section", "article", "main", "body", "figcaption", "figure"),
    *("table", "tr", "td", "th", "ul", "ol", "dl", "hr", "h1", "h2", "h3", "h4", "h5", "h6"),
}


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a heading, with the path of headings above it.

    Raises:
        InputError: missing, empty, over 64 MiB, no HTML, or without text.
    """
    reading.check_file(path, "an HTML page")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path} has more than {_MAX_BYTES >> 20} MiB", expected="one web page", next_step="split it")
    page = _decoded(path)
    if not _TAG.search(page):
        raise InputError(f"{path} is not an HTML page: it has no HTML tags", expected="a saved web page",
                         next_step="give it the extension .txt if it is plain text")  # fmt: skip
    empty = True
    for section in sectioning.sections(_blocks(page)):
        empty = False
        yield section
    if empty:
        raise InputError(f"{path} has no text", expected="a page with text in its HTML",
                         next_step="save it from the browser once it is loaded, or leave it out")  # fmt: skip


def _decoded(path: Path) -> str:
    """The page as text: by its byte order mark, as UTF-8, as it declares, or as detected."""
    data = path.read_bytes()
    declared = _CHARSET.search(data[:4096])
    try:
        if not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-8") if b"\x00" not in data else _detected(path)
    except UnicodeDecodeError:
        if declared:
            try:
                return data.decode(declared[1].decode("ascii"))
            except (LookupError, UnicodeDecodeError):
                return _detected(path)
    return _detected(path)


def _detected(path: Path) -> str:
    with reading.open_text(path) as stream:
        return stream.read()


def _blocks(page: str) -> Iterator[Block]:
    import trafilatura

    markdown = trafilatura.extract(
        page, output_format="markdown", include_formatting=True, include_tables=True, include_comments=False,
        favor_recall=True,
    )  # fmt: skip
    found = list(sectioning.markdown_blocks((markdown or "").splitlines()))
    everything = [] if found and _FURNITURE.search(page) else list(_all_text(page))
    poor = _words(found) < _ENOUGH * _words(everything) or _headings(found) < _headings(everything)
    yield from everything if poor else found


def _headings(blocks: list[Block]) -> int:
    return sum(block.level > 0 for block in blocks)


def _words(blocks: list[Block]) -> int:
    return sum(len(re.findall(r"\w+", block.text)) for block in blocks)


def _all_text(page: str) -> Iterator[Block]:
    """All visible text of the page, in document order."""
    import lxml.etree  # type: ignore[import-untyped,unused-ignore]
    import lxml.html  # type: ignore[import-untyped,unused-ignore]

    try:
        root = lxml.html.document_fromstring(page.encode("utf-8"), parser=lxml.html.HTMLParser(encoding="utf-8"))
    except (lxml.etree.ParserError, ValueError):  # nothing but comments or white space
        return
    body = root.find("body")
    yield from _walk(root if body is None else body)


def _walk(element: Any) -> Iterator[Block]:
    """Blocks below an element: headings, table rows, and runs of text between block tags."""
    run = element.text or ""
    for child in element:
        tag = child.tag if isinstance(child.tag, str) else "script"
        if tag in _HIDDEN:
            run += child.tail or ""
            continue
        level = int(tag[1]) if re.fullmatch("h[1-6]", tag) else 0
        is_block = tag in _BLOCK_TAGS or any(inner.tag in _BLOCK_TAGS for inner in child.iterdescendants())
        if is_block:
            yield from _text(run)
            if level:
                yield Block(" ".join(child.text_content().split()), level)
            elif tag == "table" and child.find(".//table") is None:  # else it is there for the layout
                yield from _text("\n".join(_rows(child)), lines=True)
            elif tag == "pre":
                yield from _text(child.text_content(), lines=True)
            elif tag in ("ul", "ol"):
                items = (" ".join(item.text_content().split()) for item in child if item.tag == "li")
                yield from _text("\n".join(f"- {item}" for item in items if item), lines=True)
            else:
                yield from _walk(child)
            run = child.tail or ""
        else:
            run += (" " if tag == "br" else child.text_content()) + (child.tail or "")
    yield from _text(run)


def _rows(table: Any) -> Iterator[str]:
    for row in table.iter("tr"):
        if text := sectioning.row_of(cell.text_content() for cell in row if cell.tag in ("td", "th")):
            yield text


def _text(text: str, *, lines: bool = False) -> Iterator[Block]:
    clean = text if lines else " ".join(text.split())
    if clean.strip():
        yield Block(clean)
