"""OpenDocument text and presentations (.odt .odp, also flat .fodt .fodp): headings, numbered lists, tables, notes, slides.

A slide is a page with its title as heading. What was deleted under track changes is left out, as are pictures.
Spreadsheets (.ods) are read with the others (``xlsx``). OpenDocument 1.3, part 3.
"""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from groundtune.errors import InputError
from groundtune.ingest import archives, reading, sectioning
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.ingest.sectioning import Block
from groundtune.ingest.table_grid import Cell, pipe_rows
from groundtune.ingest.word_blocks import cell_text, table_blocks
from groundtune.ingest.xml_tree import attribute, below, child, children_of, local, parse, text_of
from groundtune.records import Section

EXTENSIONS = (".odt", ".odp", ".ott", ".otp", ".fodt", ".fodp")

_KIND = "an OpenDocument file (.odt or .odp)"
_BODIES = frozenset({"text", "presentation", "drawing"})
_LEFT_OUT = {"tracked-changes", "sequence-decls", "variable-decls", "user-field-decls", "forms", "annotation-end",
             "table-of-content-source", "index-title-template", "desc", "title", "ruby-text", "note-citation"}  # fmt: skip
_FURNITURE = {"date-time", "footer", "header", "page-number"}
_MAX_NESTING = 60
_MAX_REPEATED = 100


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a heading, or one a slide with its number from 1 in ``page``.

    Reads the body element by element: memory holds one paragraph, table or slide.

    Raises:
        InputError: missing, empty, another kind of file, damaged, encrypted, a ZIP bomb, or without text.
    """
    empty = True
    flat = path.suffix.lower().startswith(".fod")
    if flat:
        reading.check_file(path, _KIND)
    else:
        archives.check_zip(path, _KIND, must_hold="content.xml")
    try:
        for section in _flat(path) if flat else _zipped(path):
            empty = False
            yield section
    except archives.ERRORS as error:
        raise reading.damaged(path, _KIND, error) from error
    if empty:
        reading.refuse_blank(path, "a document with text")


def _flat(path: Path) -> Iterator[Section]:
    with path.open("rb") as stream:
        yield from _sections(stream, _Text({}, {}))


def _zipped(path: Path) -> Iterator[Section]:
    with zipfile.ZipFile(path) as archive:
        if "META-INF/manifest.xml" in archive.namelist():
            manifest = parse(archives.read_part(archive, "META-INF/manifest.xml"))
            if next(below(manifest, "encryption-data"), None) is not None:
                raise InputError(f"{path} is encrypted", expected=_KIND, next_step="save it without a password")
        levels: dict[str, set[int]] = {}
        titles: dict[str, str] = {}
        with archive.open("content.xml") as stream:  # the styles stand before the body
            for style in children_of(stream, frozenset({"automatic-styles"})):
                _note_style(style, levels, titles)
        if "styles.xml" in archive.namelist():
            for style in below(parse(archives.read_part(archive, "styles.xml")), "list-style", "style"):
                _note_style(style, levels, titles)
        with archive.open("content.xml") as stream:
            yield from _sections(stream, _Text(levels, titles, archive))


def _note_style(style: Any, levels: dict[str, set[int]], titles: dict[str, str]) -> None:
    name = attribute(style, "name")
    if local(style) == "list-style":
        numbered = [level for level in style if local(level) == "list-level-style-number"]
        levels[name] = {int(n) for level in numbered if (n := attribute(level, "level")).isdigit()}
    elif local(style) == "style" and attribute(style, "parent-style-name") in ("Title", "Subtitle"):
        titles[name] = attribute(style, "parent-style-name")


def _sections(stream: IO[bytes], reader: _Text) -> Iterator[Section]:
    """The sections of a text, or of slides one by one."""
    elements = children_of(stream, _BODIES)
    first = next((e for e in elements if local(e) in ("page", "p", "h", "list", "table", "section", "frame")), None)
    if first is not None and local(first) == "page":
        number, page = 0, first
        while page is not None:
            number += 1
            title, text = reader.slide(page)
            for piece in sectioning.split_long(text or title):
                yield Section(piece, page=number, heading=title)
            page = next((e for e in elements if local(e) == "page"), None)
    elif first is not None:
        yield from sectioning.sections(_text_blocks(first, elements, reader))


def _text_blocks(first: Any, elements: Iterable[Any], reader: _Text) -> Iterator[Block]:
    yield from reader.blocks([first], 0)
    for element in elements:
        yield from reader.blocks([element], 0)


class _Text:
    """Turns the elements of one document into blocks.

    Args:
        numbered: list style -> its levels from 1 that are numbered.
        titles: paragraph style -> "Title" or "Subtitle".
        archive: where embedded formulas and charts lie.
    """

    def __init__(
        self, numbered: dict[str, set[int]], titles: dict[str, str], archive: zipfile.ZipFile | None = None
    ) -> None:
        self._numbered, self._archive = numbered, archive
        self._titles = {"Title": "Title", "Subtitle": "Subtitle", **titles}
        self._titled = False

    def blocks(self, elements: Iterable[Any], depth: int) -> Iterator[Block]:
        """The blocks of these elements and of what they hold."""
        for element in elements:
            kind = local(element)
            if kind in _LEFT_OUT or depth > _MAX_NESTING:
                continue
            if kind in ("p", "h"):
                yield from self._paragraph(element, depth)
            elif kind == "list":
                if lines := list(self._items(element, 0, "")):
                    yield Block("\n".join(lines))
            elif kind == "table":
                yield from table_blocks(pipe_rows(self._rows(element, depth)))
            elif kind == "object" and attribute(element, "href"):
                yield from self._object(attribute(element, "href"), depth)
            elif kind == "math":
                yield from _formula(element)
            elif len(element):
                yield from self.blocks(element, depth + 1)

    def _object(self, href: str, depth: int) -> Iterator[Block]:
        """An embedded formula, or an embedded chart's title and numbers."""
        name = posixpath.normpath(f"{href.removeprefix('./')}/content.xml")
        if self._archive is None or name not in self._archive.namelist():
            return
        root = parse(archives.read_part(self._archive, name))
        if local(root) == "math":
            yield from _formula(root)
            return
        for title in below(root, "title", "subtitle"):
            yield from self.blocks(title, depth + 1)
        for table in below(root, "table"):
            yield from table_blocks(pipe_rows(self._rows(table, depth + 1)))

    def _paragraph(self, element: Any, depth: int) -> Iterator[Block]:
        boxes: list[Any] = []
        notes: list[str] = []
        text = _spaced(self._inline(element, boxes, notes))
        style = self._titles.get(attribute(element, "style-name"), "")
        level = attribute(element, "outline-level") if local(element) == "h" else ""
        if text.strip():
            if style or local(element) == "h":
                at = int(level) if level.isdigit() else 1
                at = {"Title": 1, "Subtitle": 2}.get(style, min(at + self._titled, 9))
                self._titled = self._titled or style == "Title"
                yield Block(" ".join(text.split()), at)
            else:
                yield Block(text.strip())
        yield from (Block(note) for note in notes)
        for box in boxes:
            yield from self.blocks(box, depth + 1)

    def _inline(self, element: Any, boxes: list[Any], notes: list[str]) -> str:
        """A paragraph's text with white space as written; text boxes and notes on the way are collected."""
        parts = [" ".join((element.text or "").replace("\n", " ").split(" "))]
        for inner in element:
            kind = local(inner)
            if kind == "s":
                count = attribute(inner, "c")
                parts.append(" " * min(int(count) if count.isdigit() else 1, 100))
            elif kind in ("tab", "line-break"):
                parts.append("\t" if kind == "tab" else "\v")
            elif kind in ("frame", "custom-shape", "g", "text-box", "rect", "ellipse"):
                boxes.append(inner)
            elif kind in ("note", "annotation"):
                parts.append(self._note(inner, notes))
            elif kind == "a":
                label, address = self._inline(inner, boxes, notes), attribute(inner, "href")
                bare = address.removeprefix("mailto:").split("//")[-1].rstrip("/")
                known = not address.startswith(("http", "mailto:")) or bare in label
                parts.append(label if known else f"{label} ({address.removeprefix('mailto:')})")
            elif kind not in _LEFT_OUT:
                parts.append(self._inline(inner, boxes, notes))
            parts.append((inner.tail or "").replace("\n", " "))
        return "".join(parts)

    def _note(self, element: Any, notes: list[str]) -> str:
        if local(element) == "annotation":
            who = next((text_of(creator) for creator in below(element, "creator")), "")
            said = " ".join(text for p in below(element, "p") if (text := text_of(p)))
            notes.append(f"Comment{f' by {who}' if who else ''}: {said}")
            return ""
        citation, body = child(element, "note-citation"), child(element, "note-body")
        mark = text_of(citation) if citation is not None else "*"
        notes.append(f"[{mark}] {text_of(body) if body is not None else ''}")
        return f"[{mark}]"

    def _items(self, element: Any, depth: int, style: str) -> Iterator[str]:
        """The lines of a list, inner ones indented by two blanks; numbered where its style is."""
        style = attribute(element, "style-name") or style
        numbered = depth + 1 in self._numbered.get(style, ())
        number = 0
        for item in element:
            if local(item) not in ("list-item", "list-header"):
                continue
            number += local(item) == "list-item"
            mark = f"{number}." if numbered else "-"
            for inner in item:
                if local(inner) == "list":
                    if depth < _MAX_NESTING:
                        yield from self._items(inner, depth + 1, style)
                    continue
                text = cell_text(block.text for block in self.blocks([inner], depth + 1))
                if text.strip():
                    yield f"{'  ' * depth}{mark} {' '.join(text.split())}"
                    mark = " " * len(mark)

    def _rows(self, element: Any, depth: int) -> Iterator[list[Cell]]:
        for row in element:
            kind = local(row)
            if kind in ("table-header-rows", "table-rows", "table-row-group"):
                yield from self._rows(row, depth)
            elif kind == "table-row":
                cells: list[Cell] = []
                for cell in row:
                    if local(cell) == "table-cell":
                        cells += self._cell(cell, depth)
                yield cells

    def _cell(self, element: Any, depth: int) -> list[Cell]:
        """A cell, as often as it says it is repeated; those it covers are not written."""
        spans = [
            attribute(element, f"number-{name}") for name in ("columns-spanned", "rows-spanned", "columns-repeated")
        ]
        columns, rows, times = (int(n) if n.isdigit() and len(n) < 6 else 1 for n in spans)
        text = cell_text(block.text for block in self.blocks(element, depth + 1))
        return [Cell(text, columns, rows)] * min(times, _MAX_REPEATED)

    def slide(self, page: Any) -> tuple[str, str]:
        """The title and everything else of a slide, its notes last."""
        title = ""
        parts: list[str] = []
        for shape in page:
            place = attribute(shape, "class")
            if local(shape) == "notes":
                said = "\n".join(
                    b.text for frame in shape if attribute(frame, "class") == "notes" for b in self.blocks(frame, 0)
                )
                parts += [f"Notes: {said}"] if said.strip() else []
            elif place not in _FURNITURE:
                texts = [block.text for block in self.blocks([shape] if local(shape) != "frame" else shape, 0)]
                if place == "title" and not title:
                    title = " ".join(" ".join(texts).split())
                else:
                    parts += texts
        return title, "\n\n".join(parts)


def _formula(root: Any) -> Iterator[Block]:
    """MathML as the text it was typed as, where that is kept."""
    typed = next((text_of(note) for note in below(root, "annotation")), "") or text_of(root)
    if typed:
        yield Block(f"${typed}$")


def _spaced(text: str) -> str:
    """Single blanks but for those written as such; a line break of the document as one."""
    return "\n".join(line.strip() for line in text.split("\v"))
