"""Tables as CSV: one section a row, written out as "header: value; header: value".

Leaves out spreadsheets with titles above the header or several tables in one file: such a row has another number of
cells than the header, and is refused with its line.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from groundtune.errors import InputError
from groundtune.ingest import reading, sectioning
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.records import Section

EXTENSIONS = (".csv", ".tsv")

_DELIMITERS = ",;\t"
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}
_SAMPLE_CHARACTERS = 1 << 16
_MAX_ROW_CHARACTERS = 1_000_000
_NUMBER = re.compile(r"\s*[-+]?(?:\d[\d,. ]*|[.,]\d+)(?:[eE][-+]?\d+)?\s*%?\s*$")


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a row; ``row`` counts from 1 without the header. Empty cells and blank lines are left out.

    The delimiter (comma, semicolon or tab) is found from the first rows. A first row of numbers only is data, and its
    columns are called "column 1", "column 2" and so on. Reads row by row: memory does not grow with the file, and a
    row over a million characters (as an unclosed quote makes it) is refused.

    Raises:
        InputError: missing, empty, no text, no rows below the header, a row with more or fewer cells than the header
            (empty cells at its end do not count), an unclosed quote; names the line.
    """
    reading.check_file(path, "a CSV file")
    with reading.open_text(path, newline="") as stream:
        delimiter = _delimiter(stream.read(_SAMPLE_CHARACTERS))
        stream.seek(0)
        rows = _rows(path, stream, delimiter)
        _, first = next(rows, (0, []))
        headers = [name.strip() or f"column {i}" for i, name in enumerate(first, start=1)]
        if first and all(_NUMBER.match(cell) for cell in first):
            headers = [f"column {i}" for i in range(1, len(first) + 1)]
            rows = itertools.chain([(1, first)], rows)
        number = 0
        for number, (line, cells) in enumerate(rows, start=1):
            if len(cells) != len(headers):
                cells = _fitted(path, line, cells, len(headers), delimiter)
            pairs = ((header, " ".join(cell.split())) for header, cell in zip(headers, cells, strict=True))
            for text in sectioning.split_long("; ".join(f"{header}: {cell}" for header, cell in pairs if cell)):
                yield Section(text, row=number)
    if not number:
        raise InputError(f"{path} is empty below its header", expected="a header and rows", next_step="leave it out")


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


def _rows(path: Path, stream: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the number of its first line."""
    size = 0

    def bounded() -> Iterator[str]:
        nonlocal size
        while line := stream.readline(_MAX_ROW_CHARACTERS):
            size += len(line)
            if size >= _MAX_ROW_CHARACTERS:
                raise csv.Error(f"a row longer than {_MAX_ROW_CHARACTERS:,} characters")
            yield line

    reader = csv.reader(bounded(), delimiter=delimiter, strict=True)
    start = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(
                f"{path}:{start}: the row that begins here cannot be read: {error}",
                expected=f"cells divided by {_NAMES[delimiter]}, each quote closed",
                next_step='look for a quote (") without its partner in that row',
            ) from error
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield start, cells
        start, size = reader.line_num + 1, 0


def _fitted(path: Path, line: int, cells: list[str], wanted: int, delimiter: str) -> list[str]:
    """The row without the empty cells at its end that the header does not have."""
    if any(cell.strip() for cell in cells[wanted:]) or len(cells) < wanted:
        raise InputError(
            f"{path}:{line}: this row has {len(cells)} cells, the header has {wanted}",
            expected=f"{wanted} cells divided by {_NAMES[delimiter]} in each row",
            next_step="put quotes around a cell that holds the delimiter, or add the missing cells",
        )
    return cells[:wanted]
