"""The XML of a Word document as blocks: paragraphs, numbered lists, tables, text boxes, equations, notes, comments.

What was deleted under track changes is left out and what was inserted is kept. Leaves out pictures, fields' codes and
embedded files. WordprocessingML: ECMA-376 part 1, 17; transitional and strict files have the same element names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from groundtune.ingest import omml, sectioning
from groundtune.ingest.office_package import Package
from groundtune.ingest.sectioning import Block
from groundtune.ingest.table_grid import Cell, pipe_rows
from groundtune.ingest.word_numbering import Numbering, Style, number_of, numbering, styles
from groundtune.ingest.xml_tree import attribute, below, child, children_of, local

_LEFT_OUT = {"instrText", "del", "moveFrom", "rPr", "pPr", "delText", "Fallback", "sdtPr", "fldData", "delInstrText"}
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "softHyphen": "", "ptab": "\t"}
#: Wingdings' and Symbol's boxes and ticks, which have no place of their own in Unicode text
_SIGNS = {"F0FE": "☒", "F0A8": "☐", "F06F": "☐", "F0FC": "✓", "F0FB": "✗", "F0B7": "•", "F0A7": "▪", "F0E0": "→"}
_MAX_NESTING = 30


@dataclass(slots=True)
class WordText:
    """Reads the parts of one document.

    Attributes:
        styles, numbering: what ``styles.xml`` and ``numbering.xml`` define.
        links: relation id -> address.
        notes: "footnote 2" or "comment 0" -> its text, taken out as it is written.
        titled: a paragraph in the style "Title" came, so that headings stand one level below it.
    """

    styles: dict[str, Style] = field(default_factory=dict)
    numbering: Numbering = field(default_factory=Numbering)
    links: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    titled: bool = False

    def blocks(self, elements: Iterable[Any], depth: int = 0) -> Iterator[Block]:
        """The blocks of a body's, a cell's or a text box's elements; list items that follow each other are one."""
        items: list[str] = []
        for element in elements:
            for block, item in self._one(element, depth):
                if item and sum(map(len, items)) < sectioning.MAX_BLOCK_CHARACTERS:
                    items.append(block.text)
                    continue
                if items:
                    yield Block("\n".join(items))
                items = [block.text] if item else []
                if not item:
                    yield block
        if items:
            yield Block("\n".join(items))

    def _one(self, element: Any, depth: int) -> Iterator[tuple[Block, bool]]:
        """An element's blocks, each with whether it is a list item."""
        name = local(element)
        if name == "p":
            yield from self._paragraph(element, depth)
        elif name == "tbl":
            yield from ((block, False) for block in self._table(element, depth))
        elif name in ("sdt", "sdtContent", "customXml", "ins", "moveTo", "smartTag", "AlternateContent", "Choice"):
            for inner in element:
                yield from self._one(inner, depth)
        elif name in ("oMathPara", "oMath"):
            yield Block(f"${omml.latex(element).strip()}$"), False

    def _paragraph(self, element: Any, depth: int) -> Iterator[tuple[Block, bool]]:
        properties = child(element, "pPr")
        named = child(properties, "pStyle") if properties is not None else None
        style = self.styles.get(attribute(named, "val") if named is not None else "", Style())
        outline = child(properties, "outlineLvl") if properties is not None else None
        level = style.level
        if outline is not None and attribute(outline, "val").isdigit():
            level = int(attribute(outline, "val")) + 1 if int(attribute(outline, "val")) < 9 else None
        boxes: list[Any] = []
        notes: list[str] = []
        text = re.sub(r"[^\S\n]*\n[^\S\n]*", "\n", self._text(element, boxes, notes)).strip("\n")
        number = number_of(properties) or style.number
        if number and number[0] == "":
            number = (style.number[0] if style.number else "", number[1])
        if text.strip():
            label = self.numbering.label(*number) if number else ""
            item = bool(label) and level is None
            label = "" if label == "-" and not item else label
            if level is not None:
                title = " ".join(f"{label} {text}".split())
                yield Block(title, max(1, level + 1 if self.titled or not level else level)), False
                self.titled = self.titled or level == 0
            else:
                indent = "  " * (number[1] if number and item else 0)
                yield Block(f"{indent}{label} {text.strip()}" if label else text.strip(" "), 0), item
        for note in notes:
            yield Block(note), False
        if depth < _MAX_NESTING:
            for box in boxes:
                yield from ((block, False) for block in self.blocks(box, depth + 1))

    def _text(self, element: Any, boxes: list[Any], notes: list[str]) -> str:
        """A paragraph's text; text boxes and notes on the way are collected."""
        parts: list[str] = []
        for inner in element:
            name = local(inner)
            if name == "t":
                parts.append(inner.text or "")
            elif name in _CHARACTERS:
                parts.append(_CHARACTERS[name])
            elif name in _LEFT_OUT:
                continue
            elif name == "txbxContent":
                boxes.append(inner)
            elif name in ("oMath", "oMathPara"):
                formula = omml.latex(inner).strip()
                parts.append(f"${formula}$" if formula else "")
            elif name == "sym":
                parts.append(_SIGNS.get(attribute(inner, "char").upper(), ""))
            elif name in ("footnoteReference", "endnoteReference", "commentReference"):
                parts.append(self._note(name.removesuffix("Reference"), attribute(inner, "id"), notes))
            elif name == "hyperlink":
                label = self._text(inner, boxes, notes)
                parts.append(_linked(label, self.links.get(attribute(inner, "id"), "")))
            elif name == "p":  # a paragraph in a drawing that is no text box
                parts.append(" " + self._text(inner, boxes, notes))
            elif name == "docPr":
                parts.append(_described(attribute(inner, "descr")))
            elif len(inner):
                parts.append(self._text(inner, boxes, notes))
        return "".join(parts)

    def _note(self, kind: str, identity: str, notes: list[str]) -> str:
        text = self.notes.get(f"{kind} {identity}", "")
        if not text:
            return ""
        if kind == "comment":
            notes.append(text)
            return ""
        notes.append(f"[{identity}] {text}")
        return f"[{identity}]"

    def _table(self, element: Any, depth: int) -> Iterator[Block]:
        """A table as one block of pipe rows; one that is a single cell, a frame, as the blocks in it."""
        if depth > _MAX_NESTING:
            return
        rows = list(_flat(element, "tr"))
        if len(rows) == 1 and len(cells := list(_flat(rows[0], "tc"))) == 1:
            yield from self.blocks(cells[0], depth + 1)
            return
        grid = ([*_skipped(row), *(self._cell(cell, depth) for cell in _flat(row, "tc"))] for row in rows)
        yield from table_blocks(pipe_rows(grid))

    def _cell(self, element: Any, depth: int) -> Cell:
        properties = child(element, "tcPr")
        span = child(properties, "gridSpan") if properties is not None else None
        merged = child(properties, "vMerge") if properties is not None else None
        columns = int(attribute(span, "val")) if span is not None and attribute(span, "val").isdigit() else 1
        if merged is not None and attribute(merged, "val") != "restart":
            return Cell(None, columns)
        return Cell(cell_text(block.text for block in self.blocks(element, depth + 1)), columns)


def _skipped(row: Any) -> list[Cell]:
    """Empty cells for the columns before a row that starts late."""
    before = child(row, "trPr", "gridBefore")
    count = attribute(before, "val") if before is not None else ""
    return [Cell("")] * min(int(count), 100) if count.isdigit() else []


def cell_text(texts: Iterable[str]) -> str:
    """The blocks of a cell on one line; of a table inside it, rows are divided by semicolons and cells by commas."""
    return " ".join(
        "; ".join(row.strip("| ").replace(" | ", ", ") for row in text.split("\n")) if text.startswith("| ") else text
        for text in texts
    )


def table_blocks(rows: Iterable[str]) -> Iterator[Block]:
    """Pipe rows as blocks of bounded size, cut between rows."""
    held: list[str] = []
    size = 0
    for row in rows:
        if held and size + len(row) > sectioning.MAX_BLOCK_CHARACTERS:
            yield Block("\n".join(held))
            held, size = [], 0
        held.append(row)
        size += len(row) + 1
    if held:
        yield Block("\n".join(held))


def _flat(element: Any, wanted: str) -> Iterator[Any]:
    """Rows or cells, also those inside content controls and tracked insertions."""
    for inner in element:
        if local(inner) == wanted:
            yield inner
        elif local(inner) in ("sdt", "sdtContent", "customXml", "ins", "smartTag"):
            yield from _flat(inner, wanted)


def _linked(label: str, address: str) -> str:
    bare = re.sub(r"^(?:mailto:|https?://)", "", address).rstrip("/")
    return label if not bare or bare in label or not label.strip() else f"{label} ({address.removeprefix('mailto:')})"


def _described(text: str) -> str:
    """A picture's description where a person wrote one: five words or more, and not by a program."""
    wrote = len(text.split()) >= 5 and not re.search(r"automatically|AI-generated|automatisch", text)
    return f" (picture: {' '.join(text.split())}) " if wrote else ""


def document(package: Package) -> Iterator[Block]:
    """All blocks of a document; what its headers and footers say comes once, at the end.

    Raises:
        archives.ERRORS, InputError: damaged.
    """
    main = package.main_part("word/document.xml")
    relations = package.relations(main)
    parts = {kind: package.optional_xml(name) for kind, name in relations.values() if kind in ("styles", "numbering")}
    reader = WordText(styles(parts.get("styles")), numbering(parts.get("numbering")), package.addresses(main))
    for kind in ("footnotes", "endnotes", "comments"):
        for name in package.related(main, kind):
            reader.notes.update(_notes(reader, package.optional_xml(name), kind.removesuffix("s")))
    with package.open(main) as stream:
        yield from reader.blocks(children_of(stream, frozenset({"body"})))
    seen: dict[str, None] = {}
    for name in package.related(main, "header", "footer"):
        root = package.optional_xml(name)
        for block in reader.blocks(root) if root is not None else ():
            if re.search(r"[^\W\d_]{3}", re.sub(r"(?i)\b(?:page|seite|of|von)\b", "", block.text)):
                seen.setdefault(block.text)
    if seen:
        yield Block("Header and footer", 1)
        yield Block("\n".join(seen))


def _notes(reader: WordText, root: Any, kind: str) -> Iterator[tuple[str, str]]:
    for element in below(root, kind) if root is not None else ():
        text = cell_text(block.text for block in reader.blocks(element)).strip()
        if text and attribute(element, "type") not in ("separator", "continuationSeparator"):
            who = attribute(element, "author")
            said = f"Comment by {who}: {text}" if kind == "comment" and who else text
            yield f"{kind} {attribute(element, 'id')}", said
