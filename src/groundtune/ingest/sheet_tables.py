"""The tables on a spreadsheet: found by blank rows and columns, their titles and headers recognised, their rows worded.

A sheet is read row by row in memory that does not grow with it. Leaves out the file formats (``loaders/xlsx``).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from groundtune.ingest import rows, sectioning
from groundtune.records import Section

#: rows of a band that are looked at before its columns are divided into tables
_PEEKED = 1_000
_MAX_HEADER_CHARACTERS = 200
#: share of the columns that a header names
_NAMED = 0.7
#: characters of a form's or a list's rows in one section
_ENOUGH = 2_000

Row = list[str]


def tables(sheet: Iterable[Row], heading: str) -> Iterator[Section]:
    """The sections of a sheet: one a row of a table, one for a run of single cells, such as notes and titles.

    Args:
        sheet: its rows, with "" for a blank cell.
        heading: the sheet's name, which stands first in each section's heading.
    """
    band: list[Row] = []
    running: _Running | None = None
    for row in sheet:
        blank = not any(cell.strip() for cell in row)
        if blank:
            yield from _band(band, heading) if running is None else running.end()
            band, running = [], None
        elif running is not None:
            yield from running.row(row)
        else:
            band.append(row)
            if len(band) >= _PEEKED:  # a long table: the rest of it as it comes, by the header found in these
                running = _Running(heading)
                yield from running.begin(band)
                band = []
    yield from _band(band, heading) if running is None else running.end()


class _Running:
    """A band too long to hold: its column groups are those of its first rows."""

    def __init__(self, heading: str) -> None:
        self.heading = heading
        self.parts: list[tuple[range, _Table]] = []

    def begin(self, band: list[Row]) -> Iterator[Section]:
        for columns in _groups(band):
            table = _Table(self.heading)
            self.parts.append((columns, table))
            yield from table.begin(_cut(band, columns))

    def row(self, row: Row) -> Iterator[Section]:
        for i, (columns, table) in enumerate(self.parts):
            start = 0 if i == 0 else columns.start
            end = self.parts[i + 1][0].start if i + 1 < len(self.parts) else len(row)
            stray = [cell for cell in row[start : columns.start] if cell.strip()]
            yield from table.row([*row[columns.start : end], *stray])

    def end(self) -> Iterator[Section]:
        for _, table in self.parts:
            yield from table.end()


class _Table:
    """One table: records under a header, or else a form or a list, whose rows are kept as they stand."""

    def __init__(self, heading: str) -> None:
        self.heading, self.number = heading, 0
        self.headers: list[str] = []
        self._lines: list[str] = []
        self._size = 0

    def begin(self, cells: list[Row]) -> Iterator[Section]:
        """Find title and header in the first rows and give all of them."""
        cells = [row for row in cells if any(cell.strip() for cell in row)]
        while len(cells) > 1 and _filled(cells[0]) == 1 and _filled(cells[1]) > 1:  # titles above
            title = " ".join(next(cell for cell in cells.pop(0) if cell.strip()).split())
            if len(title) <= _MAX_HEADER_CHARACTERS:
                self.heading = f"{self.heading} > {title}"
            else:
                yield from rows.section(title, None, self.heading)
        taken, self.headers = _header(cells)
        for row in cells[taken:]:
            yield from self.row(row)

    def row(self, row: Row) -> Iterator[Section]:
        """The sections that are complete with the next row."""
        if not any(cell.strip() for cell in row):
            return
        if self.headers:
            self.number += 1
            width = max(i for i, cell in enumerate(row, start=1) if cell.strip())
            yield from rows.section(rows.worded(self.headers, row[:width]), self.number, self.heading)
            return
        cells = [cell for i, cell in enumerate(row) if cell.strip() and (i == 0 or cell != row[i - 1])]
        line = sectioning.row_of(cells)
        self._lines.append(line)
        self._size += len(line)
        if self._size >= _ENOUGH:
            yield from self.end()

    def end(self) -> Iterator[Section]:
        """What was held back."""
        yield from rows.section("\n".join(self._lines), None, self.heading)
        self._lines, self._size = [], 0


def _band(band: list[Row], heading: str) -> Iterator[Section]:
    """The tables that stand side by side between two blank rows."""
    for columns in _groups(band):
        table = _Table(heading)
        yield from table.begin(_cut(band, columns))
        yield from table.end()


def _cut(band: list[Row], columns: range) -> list[Row]:
    return [row[columns.start : columns.stop] for row in band]


def _groups(band: list[Row]) -> list[range]:
    """Column ranges divided by blank columns; one that fills the same rows as its neighbour, or is a single column
    beside one, belongs to it."""
    groups: list[range] = []
    for column in sorted({i for row in band for i, cell in enumerate(row) if cell.strip()}):
        if groups and column == groups[-1].stop:
            groups[-1] = range(groups[-1].start, column + 1)
        else:
            groups.append(range(column, column + 1))
    merged: list[range] = []
    for group in groups:
        lone = bool(merged) and (len(group) == 1 or len(merged[-1]) == 1)
        if lone or (merged and len(band) > 1 and _rows_of(band, merged[-1]) == _rows_of(band, group)):
            merged[-1] = range(merged[-1].start, group.stop)
        else:
            merged.append(group)
    return merged


def _rows_of(band: list[Row], columns: range) -> tuple[int, int]:
    filled = [i for i, row in enumerate(band) if any(cell.strip() for cell in row[columns.start : columns.stop])]
    return filled[0], filled[-1]


def _filled(row: Sequence[str]) -> int:
    """Cells with something in them; the same words side by side are one merged cell."""
    pairs = itertools.pairwise(["", *row])
    return sum(bool(cell.strip()) and (cell != left or bool(rows.NUMBER.match(cell))) for left, cell in pairs)


def _header(cells: list[Row]) -> tuple[int, list[str]]:
    """How many rows the header takes, and the columns' names; no names where the table is a form or a list.

    A header is a row of different words over nearly every column; a second row belongs to it under a merged cell. A
    table of mostly numbers without one has "column 1" and so on.
    """
    first, width = cells[0], max(map(len, cells))
    used = {i for row in cells for i, cell in enumerate(row) if cell.strip()}
    words = [cell for cell in first if cell.strip()]
    if len(cells) < 2 or len(used) < 2:
        return 0, []
    numbers = sum(bool(rows.NUMBER.match(cell)) for cell in words)
    wordy = all(re.search(r"\w", cell) and len(cell) <= _MAX_HEADER_CHARACTERS for cell in words)
    years = numbers == len(words) - 1 and not rows.NUMBER.match(words[0])  # behind a name
    if wordy and len(words) >= _NAMED * len(used) and (not numbers or years):
        names, taken = _two_rows(cells, width) if _has_merged(first) else (list(first), 1)
        named = [name for name in names if name.strip()]
        if len(set(named)) == len(named):
            return taken, rows.named(names, width)
    filled = [cell for row in cells for cell in row if cell.strip()]
    if numbers and sum(bool(rows.NUMBER.match(cell)) for cell in filled) * 2 > len(filled):
        return 0, rows.named([], width)
    return 0, []


def _has_merged(row: Row) -> bool:
    return any(a.strip() and a == b for a, b in itertools.pairwise(row))


def _two_rows(cells: list[Row], width: int) -> tuple[list[str], int]:
    """The names of a header whose merged cells stand over a row of names of their own."""
    first, second = ([*row, *[""] * (width - len(row))] for row in cells[:2])
    if len(cells) < 3 or any(rows.NUMBER.match(cell) for cell in second if cell.strip()):
        return list(cells[0]), 1
    pairs = zip(first, second, strict=True)
    return [a.strip() if a.strip() == b.strip() else f"{a.strip()} {b.strip()}".strip() for a, b in pairs], 2
