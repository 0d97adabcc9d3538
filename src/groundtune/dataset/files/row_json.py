"""JSON lines and JSON arrays as rows: the elements of an array one by one, each with its first line, whatever the file's size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

from groundtune.dataset.files import row_bytes as rows_bytes
from groundtune.dataset.files.row_bytes import DAMAGED, Broken, lines_of

#: where the rows stand in a file that is one object
_LISTS = ("data", "rows", "examples", "items", "instances", "questions")
_SPLITS = ("train", "training", "dev", "validation", "test")


def json_lines(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """(line, value) of JSON lines; a blank line is Broken ``empty_row``."""
    decode = json.JSONDecoder().decode
    for number, line in lines_of(file):
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


def json_values(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """The elements of an array, of the one list in an object, or of values after each other, each with its first line."""
    text = _Buffer(file)
    if text.skip(" \t\r\n") == "[":
        text.take(1)
        yield from _elements(text, ",]")
        return
    first = True
    for line, row in _elements(text, ""):
        lists = _lists_in(row) if first else []
        if len(lists) > 1 and not all(name in _SPLITS for name in lists):
            yield (
                line,
                Broken(
                    "unknown_format", f"an object with several lists of rows: {', '.join(lists)}; write each to a file"
                ),
            )
            return
        if lists:
            for name in lists:
                yield from ((line, _in_split(one, name) if len(lists) > 1 else one) for one in row[name])
            continue
        first = False
        yield line, row


def _lists_in(row: Any) -> list[str]:
    """Keys of an object under which whole rows stand. A row of self-instruct has a list of instances itself."""
    if not isinstance(row, dict) or "instruction" in row:
        return []
    return [key for key in row if key in (*_LISTS, *_SPLITS) and isinstance(row[key], list)]


def _in_split(row: Any, name: str) -> Any:
    return {"split": name, **row} if isinstance(row, dict) else row


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

    def _more(self, size: int = 0) -> bool:
        if self._ended:
            return False
        try:
            piece = self._file.read(size or rows_bytes.PIECE_BYTES)
            new = self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            new = error.object[: error.start].decode("utf-8")
            line = self.line + self._text.count("\n", self._at) + new.count("\n")
            self.fault = Broken("wrong_encoding", f"not UTF-8 in line {line}; the rest is not read")
            piece = b""
        except DAMAGED as error:
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
                row
                if size <= rows_bytes.MAX_ROW_BYTES
                else Broken("row_too_long", f"an element over {rows_bytes.MAX_ROW_BYTES >> 20} MiB")
            )

    def _not_a_value(self, error: json.JSONDecodeError) -> Broken | None:
        """What is wrong at this place; None where there is more to read now, and the value may be whole with it."""
        left = len(self._text) - self._at
        if left > rows_bytes.MAX_ROW_BYTES:
            return Broken(
                "row_too_long", f"an element over {rows_bytes.MAX_ROW_BYTES >> 20} MiB, or not JSON: {error.msg}"
            )
        malformed = error.pos < len(self._text) - 32 and not error.msg.startswith("Unterminated")
        if not malformed and self._more(max(rows_bytes.PIECE_BYTES, left)):
            return None
        if self.fault is not None:
            return self.fault
        place = self.line + self._text.count("\n", self._at, error.pos)
        shown = self._text[self._at : self._at + 200]
        return Broken("not_json", f"not JSON in line {place}: {error.msg}; the rest is not read", shown)
