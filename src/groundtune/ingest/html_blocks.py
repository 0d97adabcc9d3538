"""All visible text of an HTML page as blocks in document order: headings, paragraphs, lists, definitions, tables, code.

Shared by the loaders of web pages, e-books and e-mail. Leaves out scripts, forms' controls and pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from groundtune.ingest.sectioning import Block
from groundtune.ingest.table_grid import Cell, pipe_rows
from groundtune.ingest.word_blocks import table_blocks

_HIDDEN = {"script", "style", "noscript", "template", "head", "svg", "iframe", "nav", "select", "button", "title", "rp"}
_BLOCK_TAGS = {
    *("p", "li", "dt", "dd", "pre", "blockquote", "div", "section", "article", "main", "body", "figcaption", "figure"),
    *("table", "tr", "td", "th", "ul", "ol", "dl", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "details", "summary"),
    *("address", "aside", "header", "footer", "form", "fieldset", "legend", "caption", "center", "hgroup", "menu"),
}
_LISTS = {"ul", "ol", "dl", "menu", "dir"}
_OWN_BLOCKS = {"table", "pre", "h1", "h2", "h3", "h4", "h5", "h6"}
_FURNITURE_TAGS = {"nav", "footer", "aside"}
_FURNITURE = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|navigation|menu|footer|sidebar|cookies?|banner|breadcrumbs?|share|social|adverts?|ads)(?:$|[\s_-])",
    re.I,
)
_MAX_DEPTH = 200
#: a table with a cell longer than this is there for the layout
_MAX_CELL_CHARACTERS = 2_000


_CHARSET = re.compile(rb"<(?:meta|\?xml)[^>]{0,200}(?:charset|encoding)\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def decoded(data: bytes, charset: str = "") -> str:
    """A page in memory as text: by its byte order mark, as said elsewhere, as UTF-8, as it declares, else as Latin."""
    mark = next((name for start, name in _BOMS if data.startswith(start)), "")
    declared = _CHARSET.search(data[:4096])
    for name in (mark, charset, "utf-8", declared[1].decode("ascii", "replace") if declared else ""):
        try:
            if name:
                return data.decode(name)
        except (LookupError, UnicodeDecodeError):
            continue
    return data.decode("cp1252", "replace")


def blocks(page: str, *, furniture: bool = True) -> Iterator[Block]:
    """The blocks of a page; ``furniture`` False leaves out footers, sidebars and what is named as a menu too.

    A page that is not well-formed is read as browsers do. Below 200 nested elements, text is taken without structure.
    """
    import lxml.etree  # type: ignore[import-untyped,unused-ignore]
    import lxml.html  # type: ignore[import-untyped,unused-ignore]

    parser = lxml.html.HTMLParser(encoding="utf-8", no_network=True, huge_tree=False)
    try:
        root = lxml.html.document_fromstring(page.encode("utf-8", "replace"), parser=parser)
    except (lxml.etree.ParserError, lxml.etree.XMLSyntaxError, ValueError):  # nothing but comments or white space
        return
    if not furniture:
        for element in [e for e in root.iter() if isinstance(e.tag, str) and _is_furniture(e)]:
            element.drop_tree()
    body = root.find("body")
    yield from _walk(root if body is None else body, 0)


def _is_furniture(element: Any) -> bool:
    if element.tag in ("html", "body", "main", "article") or element.getparent() is None:
        return False
    named = " ".join(element.get(name) or "" for name in ("class", "id", "role"))
    return element.tag in _FURNITURE_TAGS or bool(named and _FURNITURE.search(named))


def _walk(element: Any, depth: int) -> Iterator[Block]:
    """Blocks below an element: headings, lists, tables, and runs of text between block tags."""
    run = [element.text or ""]
    for inner in element:
        tag = inner.tag if isinstance(inner.tag, str) else "script"
        if tag in _HIDDEN:
            run.append(inner.tail or "")
        elif depth < _MAX_DEPTH and (
            tag in _BLOCK_TAGS or any(below.tag in _BLOCK_TAGS for below in inner.iterdescendants())
        ):
            yield from _text("".join(run))
            yield from _block(inner, tag, depth)
            run = [inner.tail or ""]
        else:
            run += [_inline(inner), inner.tail or ""]
    yield from _text("".join(run))


def _block(element: Any, tag: str, depth: int) -> Iterator[Block]:
    if re.fullmatch("h[1-6]", tag):
        yield Block(" ".join(_inline(element).split()), int(tag[1]))
    elif tag == "table" and not _is_layout(element):
        caption = element.find("caption")
        if caption is not None:
            yield from _text(_inline(caption))
        yield from table_blocks(pipe_rows(_cells(element)))
    elif tag == "pre":
        yield from _text(re.sub(r"[ \t]+\n", "\n", element.text_content()).strip("\n"), lines=True)
    elif tag in _LISTS and next(element.iter(*_OWN_BLOCKS), None) is None:
        yield from _text("\n".join(_items(element, depth, 0)), lines=True)
    else:
        yield from _walk(element, depth + 1)


def _is_layout(table: Any) -> bool:
    """True where a table is a frame: one in which another stands, of one column with structure, or with whole texts."""
    if table.find(".//table") is not None:
        return True
    rows = [[cell for cell in row if cell.tag in ("td", "th")] for row in table.iter("tr")]
    if all(len(cells) <= 1 for cells in rows):
        return True
    return any(len(cell.text_content()) > _MAX_CELL_CHARACTERS for cells in rows for cell in cells)


def _cells(table: Any) -> Iterator[list[Cell]]:
    for row in table.iter("tr"):
        cells = [c for c in row if c.tag in ("td", "th")]
        yield [Cell(_inline(c), _span(c, "colspan"), _span(c, "rowspan")) for c in cells]


def _span(cell: Any, name: str) -> int:
    value = (cell.get(name) or "").strip()
    return max(1, int(value)) if re.fullmatch(r"\d{1,4}", value) else 1


def _items(element: Any, depth: int, indent: int) -> Iterator[str]:
    """The lines of a list, inner lists indented by two blanks; numbered as its tag says."""
    number = _span(element, "start")
    term = ""
    for inner in element:
        tag = inner.tag if isinstance(inner.tag, str) else "script"
        if tag in _HIDDEN:
            continue
        lists = [] if depth + indent >= _MAX_DEPTH else [below for below in inner if below.tag in _LISTS]
        text = " ".join((_inline(inner, without=_LISTS) if lists else _inline(inner)).split())
        if tag in _LISTS and depth + indent < _MAX_DEPTH:  # a list right below a list
            yield from _items(inner, depth, indent + 1)
            continue
        if tag == "dt":
            if term:
                yield f"{'  ' * indent}- {term}"
            term = text
            continue
        mark = f"{number}." if element.tag == "ol" else "-"
        number += element.tag == "ol"
        if term:
            text, term = f"{term}: {text}", ""
        elif tag == "dd":
            mark = "  -"
        if text:
            yield f"{'  ' * indent}{mark} {text}"
        for below in lists:
            yield from _items(below, depth, indent + 1)
    if term:
        yield f"{'  ' * indent}- {term}"


def _inline(element: Any, *, without: set[str] | frozenset[str] = frozenset()) -> str:
    """The text below an element, with a blank where a block or a line begins or ends; without these tags' text."""
    from lxml import etree

    parts: list[str] = []
    skipping: Any = None
    for event, inner in etree.iterwalk(element, events=("start", "end")):
        tag = inner.tag if isinstance(inner.tag, str) else "script"
        own = inner is not element
        if skipping is None and own and (tag in _HIDDEN or tag in without):
            skipping = inner
        if skipping is None:
            apart = " " if tag == "br" or (own and tag in _BLOCK_TAGS) else ""
            parts += [apart, inner.text or ""] if event == "start" else [apart]
        if event == "end" and skipping is inner:
            skipping = None
            parts.append(" ")
        if event == "end" and own and skipping is None:
            parts.append(inner.tail or "")
    return "".join(parts)


def _text(text: str, *, lines: bool = False) -> Iterator[Block]:
    clean = text if lines else " ".join(text.split())
    if clean.strip():
        yield Block(clean)
