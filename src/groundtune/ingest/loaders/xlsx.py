"""Spreadsheets (.xlsx .xlsm .xlsb .xls .ods): the sheet's name, the table's title, one section a row as in CSV.

Hidden sheets come in too, merged cells in each place they cover, and the comments and text boxes of .xlsx. Leaves out
charts, whose numbers stand on a sheet, number formats other than dates, formulas (their last results are read) and macros.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from groundtune.errors import InputError
from groundtune.ingest import archives, reading, rows, sheet_tables, xml_tree
from groundtune.ingest.office_package import Package
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.ingest.xml_tree import attribute, below, child, text_of
from groundtune.records import Section

EXTENSIONS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".xltx")

_KIND = "a spreadsheet"
_MAX_CELLS = 20_000_000
_MAX_MERGED_CELLS = 100_000
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_PLACE = re.compile(rb'\br="([A-Z]{1,3})(\d{1,7})"')
_BLOCK_BYTES = 1 << 20


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a row of each table; ``row`` counts from 1 in each table, the header not counted.

    A sheet is unpacked as a whole, in about 32 bytes a cell: one that spans over 20 million cells is refused.

    Raises:
        InputError: missing, empty, another kind of file, damaged, with a password, a ZIP bomb, too large, without text.
    """
    import python_calamine

    zipped = _check(path)
    empty = True
    try:
        book = python_calamine.CalamineWorkbook.from_path(path)
        remarks = _remarks(path) if zipped else {}
        for sheet in book.sheets_metadata:
            if sheet.typ == python_calamine.SheetTypeEnum.WorkSheet:
                for section in sheet_tables.tables(_cells(book.get_sheet_by_name(sheet.name)), sheet.name):
                    empty = False
                    yield section
            for text in remarks.get(sheet.name, ()):
                empty = False
                yield from rows.section(text, None, sheet.name)
    except python_calamine.PasswordError as error:
        raise InputError(f"{path} is encrypted", expected=_KIND, next_step="save it without a password") from error
    except (python_calamine.CalamineError, python_calamine.XmlError, *archives.ERRORS) as error:
        raise reading.damaged(path, _KIND, error) from error
    except BaseException as error:  # a panic of the Rust code is no Exception
        if type(error).__name__ == "PanicException":
            raise reading.damaged(path, _KIND, error) from error
        raise
    if empty:
        reading.refuse_blank(path, "a spreadsheet with text or numbers")


def _check(path: Path) -> bool:
    """Whether the file is a .xlsx or .xlsm; raises InputError for what is no spreadsheet."""
    suffix = path.suffix.lower()
    if suffix == ".xls":
        reading.check_file(path, "an Excel workbook (.xls)", signature=_OLE)
        return False
    archives.check_zip(
        path, _OPEN if suffix == ".ods" else _EXCEL, must_hold="content.xml" if suffix == ".ods" else "xl/"
    )
    if suffix == ".ods":
        _check_ods(path)
    if suffix in (".ods", ".xlsb"):
        return False
    with Package(path, _KIND) as package:
        for name in package.names:
            if name.startswith("xl/worksheets/") and name.endswith(".xml"):
                _check_extent(path, package, name)
    return True


_EXCEL, _OPEN = "an Excel workbook (.xlsx)", "an OpenDocument spreadsheet (.ods)"


def _check_extent(path: Path, package: Package, name: str) -> None:
    """Refuse a sheet whose outermost cells lie so far apart that the rectangle between them does not fit in memory."""
    last_row, last_column, seam = 0, 0, b""
    try:
        with package.open(name) as stream:
            while data := stream.read(_BLOCK_BYTES):
                for match in _PLACE.finditer(seam + data):
                    last_row = max(last_row, int(match[2]))
                    last_column = max(last_column, _column(match[1]))
                seam = data[-20:]
    except archives.ERRORS as error:
        raise reading.damaged(path, _EXCEL, error) from error
    if last_row * last_column > _MAX_CELLS:
        raise InputError(
            f"{path}: {name} reaches to row {last_row:,} and column {last_column:,}",
            expected=f"at most {_MAX_CELLS:,} cells in a sheet",
            next_step="delete the cells far from the others, or save the sheet as CSV",
        )


def _check_ods(path: Path) -> None:
    """Refuse content that is not well-formed, on which calamine hangs, and cells repeated without end."""
    row = cells = 0

    def count(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal row, cells
        repeated = next((n for key, n in attributes.items() if key.endswith("}number-rows-repeated")), "1")
        if name == "table-row":
            row = int(repeated) if repeated.isdigit() else 1
        elif name in ("table-cell", "covered-table-cell") and any(key.endswith("}value-type") for key in attributes):
            times = next((n for key, n in attributes.items() if key.endswith("}number-columns-repeated")), "1")
            cells += row * (int(times) if times.isdigit() else 1)

    try:
        with Package(path, _KIND) as package, package.open("content.xml") as stream:
            xml_tree.check(stream, count)
    except archives.ERRORS as error:
        raise reading.damaged(path, _OPEN, error) from error
    if cells > _MAX_CELLS:
        raise InputError(f"{path} repeats cells to {cells:,} of them", expected=f"at most {_MAX_CELLS:,} cells",
                         next_step="save the sheet as CSV")  # fmt: skip


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _cells(sheet: Any) -> Iterator[list[str]]:
    """The sheet's rows as text, with merged cells filled."""
    merged: dict[int, list[tuple[int, int, int, int]]] = {}
    left = sheet.start[1] if sheet.start else 0
    covered = 0
    for (top, first), (bottom, last) in sheet.merged_cell_ranges or ():
        covered += (bottom - top + 1) * (last - first + 1)
        if covered > _MAX_MERGED_CELLS:
            break
        for row in range(top, bottom + 1):
            merged.setdefault(row, []).append((top, first - left, bottom, last - left))
    above: dict[tuple[int, int], str] = {}
    for number, values in enumerate(sheet.iter_rows()):
        cells = [rows.shown(value) for value in values]
        for top, first, _, last in merged.get(number, ()):
            if 0 <= first < len(cells):
                text = above.setdefault((top, first), cells[first]) if number == top else above.get((top, first), "")
                if len(text) <= 200:
                    cells[first : last + 1] = [text] * (min(last + 1, len(cells)) - first)
        yield cells


def _remarks(path: Path) -> dict[str, list[str]]:
    """Sheet's name -> its comments and what its text boxes say."""
    out: dict[str, list[str]] = {}
    with Package(path, _KIND) as package:
        main = package.main_part("xl/workbook.xml")
        relations = package.relations(main)
        book = package.optional_xml(main)
        people = {
            attribute(person, "id"): attribute(person, "displayName")
            for name in package.related(main, "person")
            for person in (package.optional_xml(name) if package.optional_xml(name) is not None else ())
        }
        for sheet in below(book, "sheet") if book is not None else ():
            part = relations.get(attribute(sheet, "id"), ("", ""))[1]
            if texts := [*_comments(package, part, people), *_boxes(package, part)]:
                out[attribute(sheet, "name")] = texts
    return out


def _comments(package: Package, part: str, people: dict[str, str]) -> Iterator[str]:
    threaded = [
        root for name in package.related(part, "threadedComment") if (root := package.optional_xml(name)) is not None
    ]
    answered = set()
    for comment in (c for root in threaded for c in below(root, "threadedComment")):
        text = child(comment, "text")
        answered.add(attribute(comment, "ref"))
        who = people.get(attribute(comment, "personId"), "")
        if text is not None and text_of(text):
            yield f"Comment on {attribute(comment, 'ref')}{f' by {who}' if who else ''}: {text_of(text)}"
    for root in filter(lambda r: r is not None, map(package.optional_xml, package.related(part, "comments"))):
        authors = [text_of(author) for author in below(root, "author")]
        for comment in below(root, "comment"):
            number, ref = attribute(comment, "authorId"), attribute(comment, "ref")
            who = authors[int(number)] if number.isdigit() and int(number) < len(authors) else ""
            who = "" if who.startswith("tc=") else who
            text = " ".join("".join(t.text or "" for t in below(comment, "t")).removeprefix(f"{who}:").split())
            if text and ref not in answered:
                yield f"Comment on {ref}{f' by {who}' if who else ''}: {text}"


def _boxes(package: Package, part: str) -> Iterator[str]:
    for name in package.related(part, "drawing"):
        root = package.optional_xml(name)
        for paragraph in below(root, "p") if root is not None else ():
            if text := " ".join("".join(run.text or "" for run in below(paragraph, "t")).split()):
                yield text
