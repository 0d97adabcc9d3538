"""Tables as CSV: one section a row, written out as "header: value; header: value".

A row with more cells than the header keeps them as "column 5" and so on, one with fewer keeps what it has. Leaves out
several tables in one file: the first header names the columns of all.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from groundtune.errors import InputError
from groundtune.ingest import reading, rows
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.records import Section

EXTENSIONS = (".csv", ".tsv")

_DELIMITERS = ",;\t|"
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SAMPLE_CHARACTERS = 1 << 16
_MAX_ROW_CHARACTERS = 1_000_000


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a row; ``row`` counts from 1 without the header. Empty cells and blank lines are left out.

    The delimiter (comma, semicolon, tab or bar) is found from the first rows. A first row of numbers only, above a
    row that has numbers too, is data, and its columns are called "column 1", "column 2" and so on; a first row with a single cell above a full one is a title.
    Reads row by row: memory does not grow with the file, and a row over a million characters (as an unclosed quote
    makes it) is refused.

    Raises:
        InputError: missing, empty, no text, no rows below the header, an unclosed quote; names the line.
    """
    reading.check_file(path, "a CSV file")
    csv.field_size_limit(_MAX_ROW_CHARACTERS)  # the module's own is 131,072
    with reading.open_text(path, newline="") as stream:
        delimiter = _delimiter(stream.read(_SAMPLE_CHARACTERS))
        stream.seek(0)
        found = _rows(path, stream, delimiter)
        title, headers, found = _header(found)
        number = 0
        for number, cells in enumerate(found, start=1):
            yield from rows.section(rows.worded(headers, cells), number, title)
    if not number:
        raise InputError(f"{path} is empty below its header", expected="a header and rows", next_step="leave it out")


def _header(found: Iterator[list[str]]) -> tuple[str, list[str], Iterator[list[str]]]:
    """The title above the header if there is one, the columns' names, and the rows below."""
    first, second = next(found, []), next(found, None)
    title = ""
    below = [second] if second is not None else []
    if second is not None and len(second) > 1 and _filled(first) == 1 and _filled(second) == len(second):
        title = next(cell.strip() for cell in first if cell.strip())
        first, below = second, []
    number = rows.NUMBER.match
    if first and all(number(cell) for cell in first) and (not below or any(number(cell) for cell in below[0])):
        return title, rows.named([], len(first)), itertools.chain([first], below, found)
    return title, rows.named(first), itertools.chain(below, found)


def _filled(cells: list[str]) -> int:
    return sum(bool(cell.strip()) for cell in cells)


def _delimiter(sample: str) -> str:
    """The delimiter by which most of the sample's rows have as many cells as the first; a comma if none divides it."""
    complete = sample if len(sample) < _SAMPLE_CHARACTERS else sample[: sample.rfind("\n") + 1]
    best, delimiter = (0.0, 0), ","
    for candidate in _DELIMITERS:
        try:
            table = [row for row in csv.reader(complete.splitlines(keepends=True), delimiter=candidate) if row]
        except csv.Error:
            continue
        if table and len(table[0]) > 1:
            score = (sum(len(row) == len(table[0]) for row in table) / len(table), len(table[0]))
            if score > best:
                best, delimiter = score, candidate
    return delimiter


def _rows(path: Path, stream: TextIO, delimiter: str) -> Iterator[list[str]]:
    """Rows that are not blank. A quote inside a cell, which the format forbids, is read as a character of the cell."""
    read: list[str] = []  # the lines of the row being read
    size = 0

    def bounded() -> Iterator[str]:
        nonlocal size
        while line := stream.readline(_MAX_ROW_CHARACTERS):
            read.append(line)
            size += len(line)
            if size >= _MAX_ROW_CHARACTERS:
                raise OverflowError(f"a row longer than {_MAX_ROW_CHARACTERS:,} characters")
            yield line

    reader = csv.reader(bounded(), delimiter=delimiter, strict=True)
    start = 1
    while True:
        try:
            cells = next(reader, None)
            found = [] if cells is None else [cells]
        except (csv.Error, OverflowError) as error:
            if isinstance(error, OverflowError) or "unexpected end" in str(error):
                raise InputError(
                    f"{path}:{start}: the row that begins here cannot be read: {error}",
                    expected=f"cells divided by {_NAMES[delimiter]}, each quote closed",
                    next_step='look for a quote (") without its partner in that row',
                ) from error
            found, cells = list(csv.reader(read, delimiter=delimiter)), []
        if cells is None:
            return
        yield from (row for row in found if any(cell.strip() for cell in row))
        start, size = start + len(read), 0
        read.clear()
