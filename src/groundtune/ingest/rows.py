"""Rows of tables and records as text, worded alike by every loader: "header: value; header: value".

Shared by the loaders of CSV, spreadsheets, JSON, Parquet and SQL. Leaves out where the values come from.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from groundtune.ingest import sectioning
from groundtune.records import Section

NUMBER = re.compile(r"\s*[-+]?(?:\d[\d,. ]*|[.,]\d+)(?:[eE][-+]?\d+)?\s*%?\s*$")
_MAX_KEY_PARTS = 100


def named(headers: Sequence[str], width: int = 0) -> list[str]:
    """The columns' names: blank ones, and those beyond the header, are "column 3" and so on."""
    blank = [""] * max(0, width - len(headers))
    return [" ".join(name.split()) or f"column {i}" for i, name in enumerate([*headers, *blank], start=1)]


def worded(headers: Sequence[str], cells: Sequence[str]) -> str:
    """One row on one line, without its blank cells."""
    names = headers if len(cells) <= len(headers) else named(headers, len(cells))
    pairs = ((header, " ".join(cell.split())) for header, cell in zip(names, cells, strict=False))
    return "; ".join(f"{header}: {cell}" for header, cell in pairs if cell)


def section(text: str, number: int | None, heading: str = "") -> Iterator[Section]:
    """The sections of one row: one, unless it is over 20,000 characters."""
    for piece in sectioning.split_long(text):
        yield Section(piece, row=number, heading=heading)


def shown(value: Any) -> str:
    """A single value as a person writes it: no ".0" behind whole numbers, a date without midnight, bytes by their size."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.15g}"
    if isinstance(value, Decimal):
        return f"{value:f}" if -30 < value.adjusted() < 30 else str(value)
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time(0) and value.tzinfo is None
        return str(value.date()) if midnight else value.isoformat(" ")
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes_shown(bytes(value))
    return str(value)


def _bytes_shown(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\x00"
    return text if "\x00" not in text and len(text) < 10_000 else f"({len(data):,} bytes)"


def lines_of(value: Any, key: str = "") -> Iterator[str]:
    """A nested value as ``key: value`` lines; an inner key is written "outer.inner", a list of plain values on one line."""
    stack: list[tuple[str, Any]] = [(key, value)]
    while stack:
        name, item = stack.pop()
        if isinstance(item, Mapping):
            inner = [(f"{name}.{k}" if name else str(k), v) for k, v in item.items()]
            stack += reversed(inner)
        elif isinstance(item, list | tuple):
            if all(not isinstance(v, Mapping | list | tuple) for v in item):
                yield from _line(name, ", ".join(filter(None, map(shown, item))))
            else:
                stack += reversed([(f"{name} {i}" if name else str(i), v) for i, v in enumerate(item, start=1)])
        else:
            yield from _line(name, shown(item))


def _line(name: str, text: str) -> Iterator[str]:
    if text.strip():
        parts = name.count(".")
        name = name if parts < _MAX_KEY_PARTS else f"...{name[-200:]}"
        yield f"{name}: {text.strip()}" if name else text.strip()


def record(value: Any, number: int, heading: str = "") -> Iterator[Section]:
    """The sections of one record: flat ones on one line as a table's row, nested ones with a line for each value."""
    flat = isinstance(value, Mapping) and not any(isinstance(v, Mapping | list | tuple) for v in value.values())
    lines: Iterable[str] = lines_of(value)
    short = flat and all("\n" not in v and len(v) < 500 for v in value.values() if isinstance(v, str))
    yield from section(("; " if short else "\n").join(lines), number, heading)
