"""Raw rows of any dataset file, as a stream: JSON lines, JSON arrays, tables, plain lines; plain, .gz or .xz.

Memory is bounded by one row. A row that cannot be read comes as :class:`Broken`, with what is wrong, and the run goes on behind
it; only a file that cannot be opened at all is an error. Leaves out what a row means: see ``files`` and ``formats``.
"""

from __future__ import annotations

import csv
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from groundtune.dataset.formats.task_markers import MARKER
from groundtune.errors import InputError

#: the longest row that is read
MAX_ROW_BYTES = 64 * 2**20
#: a single line this long ends the reading: it is no dataset, or a compressed bomb
_MAX_SKIP_BYTES = 2 * 2**30
_PIECE = 2**20
_COMPRESSED = {".gz": "gzip", ".xz": "lzma"}
_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_LISTS = ("data", "rows", "examples", "items", "train", "instances", "questions")
_DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that cannot be read.

    Attributes:
        code: ``not_json``, ``wrong_encoding``, ``row_too_long``, ``wrong_columns``, ``damaged_file`` or ``empty_row``.
        reason: what is wrong, with the byte or column where known.
        text: the beginning of what stands there.
    """

    code: str
    reason: str
    text: str = ""


def kind_of(path: Path) -> str:
    """``jsonl``, ``json``, ``csv``, ``tsv``, ``parquet`` or ``txt``: by the name, and without one by the first bytes."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    known = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".txt": "txt"}
    known |= {".tab": "tsv", ".parquet": "parquet", ".pq": "parquet"}
    if suffixes and suffixes[-1] in known:
        return known[suffixes[-1]]
    with _opened(path) as file:
        head = file.read(512).lstrip()
    if head.startswith(b"PAR1"):
        return "parquet"
    return "json" if head.startswith(b"[") else "jsonl" if head.startswith(b"{") else "txt"


def rows(path: Path) -> Iterator[tuple[int, Any]]:
    """(line, row) of a file, in order; a table's header is line 1, a Parquet row counts from 1.

    Rows are JSON values, dicts of a table's cells, texts of a plain file, or :class:`Broken`. Blank lines of JSON lines come as
    Broken ``empty_row``; those of plain text are passed over.

    Raises:
        InputError: no such file, not to be opened, or not of its kind at all.
    """
    if not path.is_file():
        raise InputError(f"no file {path}", expected="a dataset: .jsonl, .json, .csv, .tsv, .parquet or .txt")
    try:
        kind = kind_of(path)
        if kind == "parquet":
            yield from _parquet(path)
            return
        with _opened(path) as file:
            if bom := _BOMS.get(file.read(2)):
                raise InputError(f"{path}: {bom} text", expected="UTF-8", next_step="save it as UTF-8")
        with _opened(path) as file:
            if kind == "json":
                yield from _json_values(file)
            elif kind == "jsonl":
                yield from _json_lines(file)
            elif kind == "txt":
                yield from _plain(file)
            else:
                yield from _table(file, path, "\t" if kind == "tsv" else "")
    except _DAMAGED as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(
            f"{path}: cannot be read: {reason}",
            expected="a whole file that you may read",
            next_step="check how it was copied",
        ) from None


def _opened(path: Path) -> IO[bytes]:
    import gzip

    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return lzma.open(path, "rb") if path.suffix.lower() == ".xz" else path.open("rb")


def _lines(file: IO[bytes]) -> Iterator[tuple[int, str | Broken]]:
    """(line number, text) of every line; what cannot be read comes as Broken, and damage to the file ends it."""
    number = 0
    while True:
        number += 1
        try:
            line = file.readline(MAX_ROW_BYTES + 1)
            if len(line) > MAX_ROW_BYTES:
                head, size = line[:200], len(line)
                while line and not line.endswith(b"\n") and size < _MAX_SKIP_BYTES:
                    line = file.readline(_PIECE)
                    size += len(line)
                yield number, Broken("row_too_long", f"over {MAX_ROW_BYTES >> 20} MiB", head.decode("utf-8", "replace"))
                if size >= _MAX_SKIP_BYTES:
                    return
                continue
        except _DAMAGED as error:
            yield number, Broken("damaged_file", f"the file is damaged from here on: {error}")
            return
        if not line:
            return
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError as error:
            yield number, Broken("wrong_encoding", f"not UTF-8 at byte {error.start} of the line", _shown(line))


def _shown(line: bytes) -> str:
    return line[:200].decode("utf-8", "replace").rstrip("\n")


def _json_lines(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    decode = json.JSONDecoder().decode
    for number, line in _lines(file):
        if isinstance(line, Broken):
            yield number, line
        elif not line.strip():
            yield number, Broken("empty_row", "blank line")
        else:
            try:
                row = decode(line)
            except json.JSONDecodeError as error:
                row = Broken("not_json", f"not JSON: {error.msg} (column {error.colno})", line[:200].rstrip("\n"))
            except (ValueError, RecursionError) as error:
                row = Broken("not_json", f"not to be read as JSON: {str(error)[:80]}", line[:200].rstrip("\n"))
            yield number, row


def _json_values(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """The elements of an array, of the one list in an object, or of values after each other, each with its first line."""
    text = _Buffer(file)
    if text.skip(" \t\r\n") == "[":
        text.take(1)
        yield from _elements(text, ",]")
        return
    first = True
    for line, row in _elements(text, ""):
        key = (
            next((k for k in _LISTS if isinstance(row, dict) and isinstance(row.get(k), list)), None) if first else None
        )
        if key and "instruction" not in row:  # self-instruct's rows have a list of instances themselves
            yield from ((line, one) for one in row[key])
            continue
        first = False
        yield line, row


def _elements(text: _Buffer, separators: str) -> Iterator[tuple[int, Any]]:
    while True:
        char = text.skip(" \t\r\n")
        if char == "]" and separators:
            return
        if not char and text.fault is not None:
            yield text.line, text.fault
            return
        if not char and not separators:
            return
        if not char:
            yield text.line, Broken("not_json", "the file ends inside the list: it is cut off")
            return
        line = text.line
        row = text.value()
        yield line, row
        if text.lost:
            return
        if separators:
            char = text.skip(" \t\r\n")
            if char == ",":
                text.take(1)
            elif char and char != "]":
                yield (
                    text.line,
                    Broken("not_json", f"{char!r} between two elements, expected ','; the rest is not read"),
                )
                return


class _Buffer:
    """Text of a file in pieces, with the line that it has come to."""

    def __init__(self, file: IO[bytes]) -> None:
        import codecs

        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._ended = False
        self.line = 1
        self.fault: Broken | None = None
        self.lost = False

    def _more(self, size: int = _PIECE) -> bool:
        if self._ended:
            return False
        try:
            piece = self._file.read(size)
            new = self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            new = error.object[: error.start].decode("utf-8")
            line = self.line + self._text.count("\n", self._at) + new.count("\n")
            self.fault = Broken("wrong_encoding", f"not UTF-8 in line {line}; the rest is not read")
            piece = b""
        except _DAMAGED as error:
            self.fault = Broken("damaged_file", f"the file is damaged from here on: {error}")
            new, piece = "", b""
        self._ended = not piece
        self._text = self._text[self._at :] + new
        self._at = 0
        return bool(new or piece)

    def take(self, count: int) -> None:
        """Pass over ``count`` characters."""
        self.line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def skip(self, blanks: str) -> str:
        """Pass over blanks; the character behind them, or "" at the end."""
        while True:
            start = self._at
            while self._at < len(self._text) and self._text[self._at] in blanks:
                self._at += 1
            self.line += self._text.count("\n", start, self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def value(self) -> Any:
        """The JSON value that begins here, or Broken; then ``lost`` says that where the next one begins is not known."""
        decoder = json.JSONDecoder()
        while True:
            try:
                row, end = decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if (fault := self._not_a_value(error)) is not None:
                    self.lost = True
                    return fault
                continue
            except (ValueError, RecursionError) as error:
                self.lost = True
                return Broken("not_json", f"not to be read as JSON: {str(error)[:80]}; the rest is not read")
            if end == len(self._text) and self._more(len(self._text)):
                continue  # a number may go on in the next piece
            size = end - self._at
            self.take(size)
            return (
                row if size <= MAX_ROW_BYTES else Broken("row_too_long", f"an element over {MAX_ROW_BYTES >> 20} MiB")
            )

    def _not_a_value(self, error: json.JSONDecodeError) -> Broken | None:
        """What is wrong at this place; None where there is more to read now, and the value may be whole with it."""
        left = len(self._text) - self._at
        if left > MAX_ROW_BYTES:
            return Broken("row_too_long", f"an element over {MAX_ROW_BYTES >> 20} MiB, or not JSON: {error.msg}")
        malformed = error.pos < len(self._text) - 32 and not error.msg.startswith("Unterminated")
        if not malformed and self._more(max(_PIECE, left)):
            return None
        if self.fault is not None:
            return self.fault
        place = self.line + self._text.count("\n", self._at, error.pos)
        shown = self._text[self._at : self._at + 200]
        return Broken("not_json", f"not JSON in line {place}: {error.msg}; the rest is not read", shown)


def _plain(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in _lines(file):
        if isinstance(line, Broken) or line.strip():
            yield number, line if isinstance(line, Broken) else line.rstrip("\r\n")


def _table(file: IO[bytes], path: Path, delimiter: str) -> Iterator[tuple[int, Any]]:
    lines = _lines(file)
    first = next(lines, None)
    if first is None:
        return
    if isinstance(first[1], Broken):
        raise InputError(f"{path}:1: {first[1].reason}", expected="a header line in UTF-8")
    if delimiter and MARKER.search(first[1]):  # task markers between tabs: no table
        yield 1, first[1].rstrip("\r\n")
        yield from ((n, line if isinstance(line, Broken) else line.rstrip("\r\n")) for n, line in lines)
        return
    csv.field_size_limit(MAX_ROW_BYTES)
    delimiter = delimiter or max(",;\t|", key=first[1].count)
    state = _TableLines(first, lines)
    reader = csv.reader(state, delimiter=delimiter)
    header = [name.strip() for name in next(reader, [])]
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
