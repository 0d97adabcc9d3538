"""Journal articles in JATS (.nxml .xml), and any other XML: readable text by element, in order.

Of an article: title, authors, abstract, body with tables and figures' captions, notes, references. Of other XML: an
element with mixed text is a paragraph, one without children a line "name: value", attributes included. No entity is
expanded, no DTD read, nothing fetched. JATS 1.3, ANSI/NISO Z39.96.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groundtune.ingest import archives, reading, sectioning, xml_tree
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.ingest.sectioning import Block
from groundtune.ingest.table_grid import Cell, pipe_rows
from groundtune.ingest.word_blocks import table_blocks
from groundtune.ingest.xml_tree import attribute, below, child, entity, local, text_of
from groundtune.records import Section

EXTENSIONS = (".nxml", ".xml")

_KIND = "an XML file"
_MAX_TREE_BYTES = 64 << 20
_ARTICLE = re.compile(rb"<(?:\w+:)?(article|pmc-articleset|front|book-part)\b")
#: elements whose text has no place in reading text
_LEFT_OUT = {
    "tex-math",
    "alternatives-image",
    "graphic",
    "inline-graphic",
    "media",
    "object-id",
    "processing-meta",
    "label",
}
_PROSE = {"p", "para", "title", "text", "body", "li", "item", "h1", "h2", "h3", "h4", "td", "th", "caption", "abstract"}
#: sections that stand without a title
_TITLED = {"ref-list": "References", "ack": "Acknowledgments"}
_MAX_DEPTH = 200


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a heading of an article; other XML in sections of about 2,000 characters, streamed.

    Raises:
        InputError: missing, empty, no text, not well-formed, an article over 64 MiB, nested deeper than 256, no text.
    """
    reading.check_file(path, _KIND)
    with path.open("rb") as stream:
        head = stream.read(65_536)
    article = bool(_ARTICLE.search(head)) and path.stat().st_size <= _MAX_TREE_BYTES
    empty = True
    try:
        root = xml_tree.parse(path.read_bytes()) if article else None
        blocks = _articles(root) if root is not None and _is_jats(root) else _any(path)
        enough = sectioning.MAX_SECTION_CHARACTERS if root is not None else 2_000
        for section in sectioning.sections(blocks, enough=enough):
            empty = False
            yield section
    except archives.ERRORS as error:
        raise reading.damaged(path, _KIND, error) from error
    if empty:
        reading.refuse_blank(path, "XML with text in it")


def _is_jats(root: Any) -> bool:
    return any(child(article, "front") is not None or child(article, "body") is not None for article in _found(root))


def _found(root: Any) -> list[Any]:
    return [root] if local(root) == "article" else list(below(root, "article"))


def _articles(root: Any) -> Iterator[Block]:
    for article in _found(root):
        meta = child(article, "front", "article-meta")
        if meta is not None:
            yield from _front(meta)
        for part in (child(article, "body"), child(article, "floats-group"), child(article, "back")):
            if part is not None:
                yield from _walk(part, 2, 0)


def _front(meta: Any) -> Iterator[Block]:
    title = child(meta, "title-group", "article-title")
    if title is not None:
        yield Block(_words(title), 1)
    people = [_person(c) for c in below(meta, "contrib") if attribute(c, "contrib-type") in ("author", "")]
    if people:
        yield Block(", ".join(filter(None, people)))
    places = [_words(aff) for aff in below(meta, "aff") if _words(aff)]
    if places:
        yield Block("\n".join(places))
    for abstract in (inner for inner in meta if local(inner) in ("abstract", "trans-abstract")):
        heading = child(abstract, "title")
        yield Block(_words(heading) if heading is not None else "Abstract", 2)
        yield from _walk(abstract, 3, 0)
    for group in (inner for inner in meta if local(inner) == "kwd-group"):
        words = [_words(word) for word in below(group, "kwd")]
        if words:
            yield Block(f"Keywords: {', '.join(words)}")


def _person(contrib: Any) -> str:
    name = next(below(contrib, "name"), None)
    if name is None:
        return next((_words(group) for group in below(contrib, "collab", "string-name")), "")
    parts = (child(name, part) for part in ("given-names", "surname", "suffix"))
    return " ".join(_words(part) for part in parts if part is not None)


def _walk(element: Any, level: int, depth: int) -> Iterator[Block]:
    """The blocks of a body, a section or what stands in one."""
    for inner in element:
        kind = local(inner)
        if not kind or kind in _LEFT_OUT or depth > _MAX_DEPTH:
            continue
        if kind == "title" and local(element) in ("abstract", "trans-abstract"):
            continue
        if kind == "title":
            label = child(element, "label")
            yield Block(
                f"{_words(label)} {_words(inner)}".strip() if label is not None else _words(inner), min(level, 9)
            )
        elif kind in ("sec", "app", "ack", "ref-list", "fn-group", "glossary", "notes", "back", "bio", "response"):
            if kind in _TITLED and child(inner, "title") is None:
                yield Block(_TITLED[kind], min(level, 9))
            yield from _walk(inner, level + (kind in ("sec", "app") and local(element) in ("sec", "app")), depth + 1)
        elif kind in ("table-wrap", "fig", "fig-group", "supplementary-material", "boxed-text", "table-wrap-group"):
            yield from _float(inner, level, depth)
        elif kind == "table":
            yield from table_blocks(pipe_rows(_rows(inner)))
        elif kind in ("list", "def-list"):
            yield from _text("\n".join(_items(inner, 0)), lines=True)
        elif kind == "ref":
            label = child(inner, "label")
            yield from _text(f"{_words(label) if label is not None else ''} {_reference(inner)}")
        elif kind == "p":
            yield from _paragraph(inner, level, depth)
        elif kind in ("disp-formula", "tex-math"):
            yield from _text(_words(inner))
        elif any(local(below_it) in ("p", "sec", "title", "table", "fn", "list") for below_it in inner):
            yield from _walk(inner, level, depth + 1)
        else:
            yield from _text(_words(inner))


def _paragraph(element: Any, level: int, depth: int) -> Iterator[Block]:
    """A paragraph, and what stands in it that is no text: lists, tables, formulas on lines of their own."""
    apart = {"list", "def-list", "table-wrap", "fig", "boxed-text", "table", "disp-quote", "fig-group"}
    run = [element.text or ""]
    for inner in element:
        if local(inner) in apart and depth < _MAX_DEPTH:
            yield from _text("".join(run))
            run = []
            yield from _walk([inner], level, depth + 1)
        else:
            run.append(_raw(inner))
        run.append(inner.tail or "")
    yield from _text("".join(run))


def _float(element: Any, level: int, depth: int) -> Iterator[Block]:
    """A table or figure: label and caption as a paragraph, then what it holds."""
    label, caption = child(element, "label"), child(element, "caption")
    texts = [_words(label)] if label is not None else []
    texts += [_words(inner) for inner in caption] if caption is not None else []
    yield from _text(" ".join(filter(None, texts)))
    for inner in element:
        if local(inner) not in ("label", "caption", "graphic", "object-id", "alternatives"):
            yield from _walk([inner], level, depth + 1)
        elif local(inner) == "alternatives":
            yield from _walk(inner, level, depth + 1)


def _rows(table: Any) -> Iterator[list[Cell]]:
    for row in below(table, "tr"):
        yield [
            Cell(_words(cell), _number(cell, "colspan"), _number(cell, "rowspan"))
            for cell in row
            if local(cell) in ("td", "th")
        ]


def _number(element: Any, name: str) -> int:
    value = attribute(element, name)
    return max(1, int(value)) if re.fullmatch(r"\d{1,4}", value) else 1


def _items(element: Any, indent: int) -> Iterator[str]:
    ordered = attribute(element, "list-type") in ("order", "ordered")
    number = 0
    for item in element:
        if local(item) == "def-item":
            texts = [_words(part) for part in item if local(part) in ("term", "def")]
            yield f"{'  ' * indent}- {': '.join(filter(None, texts))}"
        elif local(item) == "list-item":
            number += 1
            label = child(item, "label")
            mark = _words(label) if label is not None else f"{number}." if ordered else "-"
            text = " ".join(_words(inner, without="list") for inner in item if local(inner) not in ("list", "label"))
            yield f"{'  ' * indent}{mark} {text}"
            if indent < _MAX_DEPTH:
                for inner in below(item, "list"):
                    if next((a for a in inner.iterancestors() if local(a) == "list"), None) is element:
                        yield from _items(inner, indent + 1)


def _reference(element: Any) -> str:
    """A reference as one line; a structured one without punctuation gets some."""
    body = next((inner for inner in element if local(inner) != "label"), None)
    if body is None:
        return ""
    if local(body) in ("mixed-citation", "citation") and (body.text or "").strip():
        return _words(body)
    people = ", ".join(f"{_part(name, 'surname')} {_part(name, 'given-names')}".strip() for name in below(body, "name"))
    rest = [
        _words(inner) for inner in body if local(inner) not in ("person-group", "name", "label", "pub-id", "ext-link")
    ]
    ids = [_words(inner) for inner in body if local(inner) in ("pub-id", "ext-link")]
    return ". ".join(filter(None, [people, *rest, *ids])) if len(body) else _words(body)


def _part(element: Any, name: str) -> str:
    found = child(element, name)
    return _words(found) if found is not None else ""


def _words(element: Any, without: str = "") -> str:
    return " ".join(_raw(element, without).split())


def _raw(element: Any, without: str = "") -> str:
    """The text below an element; of a formula that is there in several forms, one."""
    kind = local(element)
    if not kind:
        return entity(element)
    if kind in ("graphic", "inline-graphic", "media", "object-id", "processing-meta") or (without and kind == without):
        return ""
    if kind == "alternatives":
        forms = {local(inner): inner for inner in element}
        chosen = next((forms[name] for name in ("tex-math", "math", "table", "textual-form") if name in forms), None)
        return "" if chosen is None else _raw(chosen, without)
    if kind == "tex-math":
        return re.sub(
            r"\\documentclass.*?\\begin\{document\}|\\end\{document\}", "", element.text or "", flags=re.DOTALL
        )
    if kind == "math":
        return f" {' '.join(text_of(element).split())} "
    apart = " " if kind in ("p", "title", "td", "th", "break", "list-item", "sec", "tr") else ""
    return (
        apart + (element.text or "") + "".join(_raw(inner, without) + (inner.tail or "") for inner in element) + apart
    )


def _text(text: str, *, lines: bool = False) -> Iterator[Block]:
    clean = text.strip("\n") if lines else " ".join(text.split())
    if clean.strip():
        yield Block(clean)


def _any(path: Path) -> Iterator[Block]:
    """Any XML, child after child of the outermost element."""
    with path.open("rb") as stream:
        for unit in xml_tree.units(stream):
            if text := "\n".join(_readable(unit, 0)):
                yield Block(text)


def _readable(element: Any, depth: int) -> Iterator[str]:
    """Lines for an element: a paragraph where text and elements mix, else its children's, or "name: value"."""
    name = local(element)
    if not name:
        return
    values = [
        f"{_bare(key)}={value}" for key, value in element.attrib.items() if "XMLSchema" not in key and value.strip()
    ]
    mixed = (element.text or "").strip() or any((inner.tail or "").strip() for inner in element)
    if len(element) and not mixed and depth < _MAX_DEPTH:
        if values:
            yield f"{name}: {', '.join(values)}"
        for inner in element:
            yield from _readable(inner, depth + 1)
        return
    text = text_of(element)
    about = f" ({', '.join(values)})" if values and text and name not in _PROSE else ""
    if text:
        yield text if name in _PROSE or len(element) else f"{name}{about}: {text}"
    elif values:
        yield f"{name}: {', '.join(values)}"


def _bare(key: str) -> str:
    return key[key.rfind("}") + 1 :]
