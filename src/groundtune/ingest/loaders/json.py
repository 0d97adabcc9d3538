"""JSON (.json): each element of the outermost array is a row; nested keys are written "outer.inner: value".

Streamed: an array larger than memory is read element by element. Several JSON values in one file are rows too.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from groundtune.errors import InputError
from groundtune.ingest import reading, rows
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.records import Section

EXTENSIONS = (".json", ".geojson")

_MAX_DEPTH = 200
#: text held of one value before it is handed on as a section
_ENOUGH = 16_000
_MAX_PLAIN = 200


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a row; ``row`` counts from 1.

    The elements of an outermost array are rows, and so are those of an array of objects under a key of the outermost
    object, which is their heading; what else an object holds is one section a key that holds more than a plain value.

    Raises:
        InputError: missing, empty, no text, no JSON (with what the parser says), nested deeper than 200, without text.
    """
    import ijson  # type: ignore[import-untyped,unused-ignore]

    reading.check_file(path, "a JSON file")
    empty = True
    with reading.open_text(path) as stream:
        try:
            events = ijson.basic_parse(_Bytes(stream), multiple_values=True, use_float=False)
            for section in _sections(path, events):
                empty = False
                yield section
        except (ijson.JSONError, ValueError, OverflowError) as error:
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise InputError(f"{path} is not JSON: {reason}", expected="one JSON value, or one after another",
                             next_step="check it with `python -m json.tool FILE`")  from error  # fmt: skip
    if empty:
        reading.refuse_blank(path, "JSON with a value in it")


class _Bytes:
    """A text file as a stream of UTF-8, as the parser wants it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size).lstrip("\ufeff").encode("utf-8", "surrogatepass") if size else b""


def _sections(path: Path, events: Iterator[tuple[str, Any]]) -> Iterator[Section]:
    reader = _Reader(path, events)
    number = 0
    for event, value in events:
        if event == "start_array":
            for kind, item in reader.elements():
                number += 1
                yield from reader.value(kind, item, number, "")
        else:
            number += 1
            yield from reader.object(number) if event == "start_map" else reader.value(event, value, number, "")


class _Reader:
    """Turns the parser's events into lines; holds the path to where it is, and no tree."""

    def __init__(self, path: Path, events: Iterator[tuple[str, Any]]) -> None:
        self._path, self._events = path, events

    def elements(self) -> Iterator[tuple[str, Any]]:
        """The first event of each element of the array that just began."""
        for event, value in self._events:
            if event == "end_array":
                return
            yield event, value

    def object(self, number: int) -> Iterator[Section]:
        """The sections of an outermost object, which just began."""
        plain: list[str] = []
        key = ""
        for event, value in self._events:
            if event == "end_map":
                break
            if event in ("start_array", "start_map"):
                yield from rows.section("\n".join(plain), number)
                plain = []
            if event == "map_key":
                key = str(value)
            elif event == "start_array":
                yield from self._array(key)
            elif event == "start_map":
                yield from self.value(event, value, None, key, wide=True)
            else:
                plain += rows.lines_of(_single(value), key)
                if sum(map(len, plain[-_MAX_PLAIN:])) > _ENOUGH or len(plain) >= _MAX_PLAIN:
                    yield from rows.section("\n".join(plain), number)
                    plain = []
        yield from rows.section("\n".join(plain), number)

    def _array(self, key: str) -> Iterator[Section]:
        """An array under a key of the outermost object: plain values on one line, objects as rows."""
        plain: list[str] = []
        for number, (event, value) in enumerate(self.elements(), start=1):
            if event in ("start_map", "start_array"):
                yield from self.value(event, value, number, key)
            else:
                plain.append(rows.shown(_single(value)))
                if len(plain) >= _MAX_PLAIN:
                    yield from rows.section(f"{key}: {', '.join(filter(None, plain))}", None)
                    plain = []
        if text := ", ".join(filter(None, plain)):
            yield from rows.section(f"{key}: {text}", None)

    def value(
        self, event: str, value: Any, number: int | None, heading: str, *, wide: bool = False
    ) -> Iterator[Section]:
        """The sections of a value whose first event came: one, unless it is long.

        ``wide`` puts each value on its own line also where all are short.
        """
        lines: list[str] = []
        size, nested = 0, wide
        for line, deep in self._lines(event, value):
            lines.append(line)
            size += len(line)
            nested = nested or deep or "\n" in line or len(line) > 500
            if size > _ENOUGH:
                yield from rows.section("\n".join(lines), number, heading)
                lines, size, nested = [], 0, True
        yield from rows.section(("\n" if nested else "; ").join(lines), number, heading)

    def _lines(self, event: str, value: Any) -> Iterator[tuple[str, bool]]:
        """``key: value`` lines of a value, each with whether it stands deeper than the value's own keys."""
        stack: list[list[Any]] = []  # [is it an array, key or index, plain values of an array]
        while True:
            if event in ("start_map", "start_array"):
                if stack and stack[-1][0]:
                    yield from self._plain(stack)
                    stack[-1][1] += 1
                stack.append([event == "start_array", 0, []])
                if len(stack) > _MAX_DEPTH:
                    raise InputError(f"{self._path} is nested deeper than {_MAX_DEPTH}", expected="ordinary JSON",
                                     next_step="leave it out")  # fmt: skip
            elif event in ("end_map", "end_array"):
                yield from self._plain(stack)
                stack.pop()
            elif event == "map_key":
                stack[-1][1] = str(value)
            elif stack and stack[-1][0]:
                stack[-1][2].append(rows.shown(_single(value)))
                if len(stack[-1][2]) >= _MAX_PLAIN:
                    yield from self._plain(stack)
            else:
                yield from ((line, len(stack) > 1) for line in rows.lines_of(_single(value), _key(stack)))
            if not stack:
                return
            event, value = next(self._events)

    def _plain(self, stack: list[list[Any]]) -> Iterator[tuple[str, bool]]:
        """The plain values that came since the last line of the innermost array."""
        if text := ", ".join(filter(None, stack[-1][2])):
            key = _key(stack[:-1])
            yield (f"{key}: {text}" if key else text), len(stack) > 2
        stack[-1][2] = []


def _key(stack: list[list[Any]]) -> str:
    """ "outer.inner" for the place in the stack; an element of an array has its number behind the array's name."""
    name = ""
    for is_array, key, _ in stack:
        name = f"{name} {key}".strip() if is_array else f"{name}.{key}" if name else str(key)
    return name


def _single(value: Any) -> Any:
    return (
        int(value)
        if isinstance(value, Decimal) and value == value.to_integral_value() and value.adjusted() < 30
        else value
    )
