"""Raw rows of any dataset file, as a stream: JSON lines, JSON arrays, tables, plain lines; plain, .gz or .xz.

Memory is bounded by one row. A row that cannot be read comes as :class:`Broken`, with what is wrong, and the run goes on behind
it; only a file that cannot be opened at all is an error. Leaves out what a row means: see ``files`` and ``formats``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from groundtune.dataset.files import row_bytes as rows_bytes
from groundtune.dataset.files.row_bytes import DAMAGED, Broken, lines_of, opened
from groundtune.dataset.files.row_json import json_lines, json_values
from groundtune.dataset.formats.task_markers import MARKER
from groundtune.errors import InputError

__all__ = ["Broken", "first_rows", "kind_of", "rows", "without_blank"]
_COMPRESSED = {".gz": "gzip", ".xz": "lzma"}
_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def kind_of(path: Path) -> str:
    """``jsonl``, ``json``, ``csv``, ``tsv``, ``parquet`` or ``txt``: by the name, and without one by the first bytes."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    known = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".txt": "txt"}
    known |= {".tab": "tsv", ".parquet": "parquet", ".pq": "parquet"}
    if suffixes and suffixes[-1] in known:
        return known[suffixes[-1]]
    with opened(path) as file:
        head = file.read(512).lstrip()
    if head.startswith(b"PAR1"):
        return "parquet"
    return "json" if head.startswith(b"[") else "jsonl" if head.startswith(b"{") else "txt"


def rows(path: Path) -> Iterator[tuple[int, Any]]:
    """(line, row) of a file, in order; a table's header is line 1, a Parquet row counts from 1.

    Rows are JSON values, dicts of a table's cells, texts of a plain file, or :class:`Broken`. Blank lines of JSON lines come as
    Broken ``empty_row``; those of plain text are passed over.

    Raises:
        InputError: no such file, a folder, not to be opened, or not of its kind at all.
    """
    if path.is_dir():
        raise InputError(
            f"{path} is a folder",
            expected="one dataset file: .jsonl, .json, .csv, .tsv, .parquet or .txt",
            next_step="name a file in it; documents are for groundtune ingest",
        )
    if not path.is_file():
        raise InputError(f"no file {path}", expected="a dataset: .jsonl, .json, .csv, .tsv, .parquet or .txt")
    try:
        kind = kind_of(path)
        if kind == "parquet":
            yield from _parquet(path)
            return
        with opened(path) as file:
            if bom := _BOMS.get(file.read(2)):
                raise InputError(f"{path}: {bom} text", expected="UTF-8", next_step="save it as UTF-8")
        with opened(path) as file:
            if kind == "json":
                yield from json_values(file)
            elif kind == "jsonl":
                yield from json_lines(file)
            elif kind == "txt":
                yield from _plain(file)
            else:
                yield from _table(file, path, "\t" if kind == "tsv" else "")
    except DAMAGED as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(
            f"{path}: cannot be read: {reason}",
            expected="a whole file that you may read",
            next_step="check how it was copied",
        ) from None


def _plain(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in lines_of(file):
        if isinstance(line, Broken) or line.strip():
            yield number, line if isinstance(line, Broken) else line.rstrip("\r\n")


def _table(file: IO[bytes], path: Path, delimiter: str) -> Iterator[tuple[int, Any]]:
    lines = lines_of(file)
    first = next(lines, None)
    if first is None:
        return
    if isinstance(first[1], Broken):
        raise InputError(f"{path}:1: {first[1].reason}", expected="a header line in UTF-8")
    if delimiter and MARKER.search(first[1]):  # task markers between tabs: no table
        yield 1, first[1].rstrip("\r\n")
        yield from ((n, line if isinstance(line, Broken) else line.rstrip("\r\n")) for n, line in lines)
        return
    csv.field_size_limit(rows_bytes.MAX_ROW_BYTES)
    delimiter = delimiter or max(",;\t|", key=first[1].count)
    state = _TableLines(first, lines)
    reader = csv.reader(state, delimiter=delimiter)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise InputError(f"{path}:1: not CSV: {error}", expected="a header line, then one row a line") from None
    if not any(header) or len(set(header)) != len(header):
        raise InputError(
            f"{path}:1: the header {header} is empty or names a column twice", expected="one name a column"
        )
    while True:
        start = state.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield start, Broken("wrong_columns", f"not CSV: {error}")
            continue
        if (fault := state.fault) is not None:
            state.fault = None
            yield fault
        if cells is None:
            return
        if not cells:
            continue
        if fault is not None and len(cells) != len(header):
            continue
        if len(cells) != len(header):
            reason = f"{len(cells)} cells, the header has {len(header)}"
            yield start, Broken("wrong_columns", reason, delimiter.join(cells)[:200])
        else:
            yield start, dict(zip(header, cells, strict=True))


class _TableLines:
    """Lines for ``csv.reader``; what cannot be read is put aside and leaves an empty line."""

    def __init__(self, first: tuple[int, Any], rest: Iterator[tuple[int, Any]]) -> None:
        self._first: tuple[int, Any] | None = first
        self._rest = rest
        self.number = 0
        self.fault: tuple[int, Broken] | None = None

    def __iter__(self) -> _TableLines:
        return self

    def __next__(self) -> str:
        number, line = self._first or next(self._rest)
        self._first = None
        self.number = number
        if isinstance(line, Broken):
            self.fault = (number, line)
            return "\n"
        return str(line)


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path)
        number = 0
        for batch in table.iter_batches(batch_size=500):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a Parquet file that can be read: {str(error).splitlines()[0][:120]}",
            expected="a whole .parquet file",
        ) from None


def first_rows(path: Path, count: int) -> list[tuple[int, Any]]:
    """The first ``count`` rows that can be read, of at most ten times as many."""
    found: list[tuple[int, Any]] = []
    for seen, (line, row) in enumerate(rows(path)):
        if not isinstance(row, Broken):
            found.append((line, row))
        if len(found) == count or seen >= 10 * count:
            break
    return found


def without_blank(found: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Rows without the blank lines."""
    for line, row in found:
        if not (isinstance(row, Broken) and row.code == "empty_row"):
            yield line, row
