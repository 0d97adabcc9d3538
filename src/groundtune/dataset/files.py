"""Dataset files of any format: finding out which, reading items one by one, and writing them whole or not at all.

``rows`` reads the container (lines, arrays, tables), a module of ``formats`` each row of it. A faulty row is an item with a
fault; it never ends the run and never vanishes.
"""

from __future__ import annotations

import csv
import gzip
import json
import lzma
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

from groundtune import registry
from groundtune.dataset.formats._messages import ORIGIN, CannotHold, RowFault
from groundtune.dataset.formats.columns import PARTS, Mapped
from groundtune.dataset.rows import Broken, first_rows, kind_of, rows, without_blank
from groundtune.errors import ConfigError, InputError
from groundtune.records import Conversation, Preference

__all__ = ["Item", "Reader", "RowWriter", "detect_format", "read_items", "row_writer", "rows", "write_items"]
_SNIFFED = 20


@dataclass(frozen=True, slots=True)
class Item:
    """What one row holds.

    Attributes:
        line: where it stands; a row of several items gives all of them its line.
        item: what it says; None where it has a fault.
        fault: what is wrong with it, else empty.
        faults: the same as (code, reason), every fault of the row.
        row: the row as it stands in the file.
    """

    line: int
    item: Conversation | Preference | None
    fault: str = ""
    faults: tuple[tuple[str, str], ...] = ()
    row: Any = None


class Reader:
    """A format, by its name or a mapping, that turns rows into items.

    Args:
        format: a registered name; None where a mapping says all.
        mapping: part (question, answer, system, id, fact, split, source) -> column.

    Raises:
        UnknownNameError: no such format. ConfigError: a mapping without question and answer, or with an unknown part.
    """

    def __init__(self, format: str | None, mapping: Mapping[str, str] | None = None) -> None:
        if mapping:
            if unknown := sorted(mapping.keys() - set(PARTS)):
                raise ConfigError(f"mapping: unknown part {unknown[0]!r}", expected=f"one of {', '.join(PARTS)}")
            if missing := [p for p in ("question", "answer") if p not in mapping]:
                raise ConfigError(f"mapping: no column for {missing[0]!r}", expected="question=COLUMN,answer=COLUMN")
            self.name = "columns"
            self.module = cast(ModuleType, Mapped(mapping))
        else:
            assert format is not None
            self.name = format
            self.module = registry.get("formats", format)

    def items(self, line: int, row: Any) -> list[Item]:
        """The items of a row: one, or several where the format puts several into a row; or one with its faults."""
        if isinstance(row, Broken):
            return [Item(line, None, row.reason, ((row.code, row.reason),), row.text)]
        expand = getattr(self.module, "expand", None)
        return [self._item(line, one) for one in (expand(row) if expand else [row])]

    def _item(self, line: int, row: Any) -> Item:
        try:
            item = self.module.read(row)
        except RowFault as fault:
            return Item(line, None, str(fault), fault.faults, row)
        except ValueError as fault:  # a format of another package
            return Item(line, None, str(fault), (("unreadable_row", str(fault)),), row)
        return Item(line, _with_origin(item, row), row=row)

    def lost(self, row: Any) -> list[str]:
        """Names of what the row says and an item has no place for."""
        if not isinstance(row, dict):
            return []
        if (own := getattr(self.module, "lost", None)) is not None:
            return list(own(row))
        known = self.module.KEYS
        return [str(k) for k, v in row.items() if k not in known and k not in ORIGIN and v not in (None, "", [])]


def _with_origin(item: Conversation | Preference, row: Any) -> Conversation | Preference:
    if not isinstance(row, dict):
        return item
    known: dict[str, Any] = {
        name: value
        for name in ORIGIN
        if isinstance(value := row.get(name), str) and value and hasattr(item, name) and not getattr(item, name)
    }
    return replace(item, **known) if known else item


def scores(row: Any) -> dict[str, float]:
    """How much a row looks like each registered format; those that it does not look like are left out."""
    found = {}
    for name in registry.names("formats"):
        score = float(registry.get("formats", name).sniff(row))
        if score > 0:
            found[name] = score
    return found


def detect_format(path: Path) -> str:
    """The format that most of a file's first rows look like.

    Raises:
        InputError: the file cannot be read, holds no row, or looks like no format.
    """
    found = first_rows(path, _SNIFFED)
    if not found:
        _, broken = next(without_blank(rows(path)), (0, None))
        why = f": {broken.reason}" if isinstance(broken, Broken) else ""
        raise InputError(f"{path}: holds no row that can be read{why}", expected="one example a row, in UTF-8")
    totals: dict[str, float] = {}
    for _, row in found:
        for name, score in scores(row).items():
            totals[name] = totals.get(name, 0.0) + score
    if not totals:
        line, row = found[0]
        keys = f"the keys {', '.join(map(str, row))[:120]}" if isinstance(row, dict) else f"{type(row).__name__}"
        raise InputError(
            f"{path}:{line}: looks like no dataset format: it has {keys}",
            expected=f"one of {', '.join(registry.names('formats'))}",
            next_step="say which columns hold question and answer: --map question=COLUMN,answer=COLUMN",
        )
    return max(totals, key=lambda name: (totals[name], name))


def read_items(path: Path, format: str | None = None, mapping: Mapping[str, str] | None = None) -> Iterator[Item]:
    """Every item of a file, in order; a row that cannot be read is an item with a fault. Blank lines are passed over.

    Args:
        format: a registered name; by default the one that the first rows look like.
        mapping: see :class:`Reader`; goes before ``format``.

    Raises:
        InputError: as :func:`detect_format`. UnknownNameError, ConfigError: as :class:`Reader`.
    """
    reader = Reader(None if mapping else format or detect_format(path), mapping)
    for line, row in without_blank(rows(path)):
        yield from reader.items(line, row)


class RowWriter:
    """Takes rows for a file; see :func:`row_writer`."""

    def __init__(self, path: Path, file: IO[str] | None, kind: str) -> None:
        self.count = 0
        self._path = path
        self._file = file
        self._kind = kind
        self._columns: list[str] = []
        self._table: Any = None
        self._parquet: Any = None
        self._waiting: list[dict[str, Any]] = []

    def add(self, row: Any) -> None:
        """Write one row.

        Raises:
            CannotHold: the file's kind has no place for it: a list in a table's cell, a line break in a plain line.
        """
        if self._kind == "parquet":
            self._waiting.append(row)
            if len(self._waiting) == 1000:
                self._flush_parquet()
        elif self._kind in ("csv", "tsv"):
            self._add_cells(row)
        elif self._kind == "txt":
            self._add_line(row)
        else:
            self._add_json(row)
        self.count += 1

    def _add_json(self, row: Any) -> None:
        assert self._file is not None
        try:
            text = json.dumps(row, ensure_ascii=False)
            text.encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair: only the escape can be written
            text = json.dumps(row)
        except RecursionError:
            raise CannotHold("a row nested hundreds deep") from None
        if self._kind == "json":
            self._file.write(("[\n" if not self.count else ",\n") + text)
        else:
            self._file.write(text + "\n")

    def _add_line(self, row: Any) -> None:
        text = row.get("text") if isinstance(row, dict) and row.keys() == {"text"} else row
        if not isinstance(text, str) or len(text.splitlines()) != 1:
            raise CannotHold("a .txt file holds one line a row; write .jsonl for anything else")
        _need_utf8(text)
        assert self._file is not None
        self._file.write(text + "\n")

    def _add_cells(self, row: Any) -> None:
        if not isinstance(row, dict) or not all(isinstance(v, str | int | float) for v in row.values()):
            raise CannotHold("a table holds texts and numbers only; write .jsonl for lists and objects")
        if self._table is None:
            self._columns = list(row)
            self._table = csv.writer(cast(Any, self._file), delimiter="\t" if self._kind == "tsv" else ",")
            self._table.writerow(self._columns)
        if extra := [k for k in row if k not in self._columns]:
            raise CannotHold(
                f"the column {extra[0]!r} is not in the table's first row; write .jsonl for rows that differ"
            )
        _need_utf8("".join(v for v in row.values() if isinstance(v, str)))
        self._table.writerow([row.get(name, "") for name in self._columns])

    def _flush_parquet(self) -> None:
        import pyarrow
        import pyarrow.parquet

        try:
            schema = self._parquet.schema if self._parquet is not None else None
            table = pyarrow.Table.from_pylist(self._waiting, schema=schema)
            if self._parquet is None:
                self._parquet = pyarrow.parquet.ParquetWriter(self._path, table.schema)
            self._parquet.write_table(table)
        except (pyarrow.ArrowException, ValueError, TypeError) as error:
            raise InputError(
                f"{self._path.name}: these rows make no table: {str(error).splitlines()[0][:100]}",
                next_step="write .jsonl instead",
            ) from None
        self._waiting = []

    def finish(self) -> None:
        """Write what a file of this kind ends with."""
        if self._kind == "json" and self._file is not None:
            self._file.write("\n]\n" if self.count else "[]\n")
        if self._kind == "parquet":
            if self._waiting or self._parquet is None:
                self._flush_parquet()
            self._parquet.close()


def _need_utf8(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise CannotHold("half a character, which UTF-8 cannot hold") from None


@contextmanager
def row_writer(path: Path) -> Iterator[RowWriter]:
    """A writer by the file's name (.jsonl, .json, .csv, .tsv, .parquet, .txt; .gz and .xz around them).

    Rows go to a temporary name, which becomes ``path`` at the end; on an error nothing is left behind.

    Raises:
        InputError: an unknown ending, or a folder that is not there.
    """
    plain = path.with_suffix("") if path.suffix.lower() in (".gz", ".xz") else path
    if plain.suffix.lower() not in (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt"):
        raise InputError(
            f"{path}: unknown kind of file", expected="a name that ends in .jsonl, .json, .csv, .tsv, .parquet or .txt"
        )
    if not path.parent.is_dir():
        raise InputError(f"no folder {path.parent}", next_step=f"mkdir -p {path.parent}")
    if path.is_dir():
        raise InputError(f"{path} is a folder", expected="a file's name")
    half = path.with_name(f".{path.name}.part")
    kind = kind_of(plain)
    file: IO[str] | None = None
    try:
        if kind != "parquet":
            opener: Any = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix.lower(), open)
            file = opener(half, "wt", encoding="utf-8", newline="" if kind in ("csv", "tsv") else "\n")
        writer = RowWriter(half, file, kind)
        yield writer
        writer.finish()
        if file is not None:
            file.close()
        half.replace(path)
    finally:
        if file is not None and not file.closed:
            file.close()
        half.unlink(missing_ok=True)


def write_items(path: Path, items: Iterable[Conversation | Preference], format: str, *, origin: bool = False) -> int:
    """Write items as rows of a format; returns their number. Nothing is left of the file if one cannot be written.

    Args:
        origin: also write id, fact, split and source where known, beside what the format itself has.

    Raises:
        InputError: the format or the kind of file has no place for an item. UnknownNameError: no such format.
    """
    module = registry.get("formats", format)
    with row_writer(path) as writer:
        for number, item in enumerate(items, 1):
            try:
                writer.add(written(module, item, origin=origin))
            except CannotHold as error:
                raise InputError(
                    f"{path}: item {number} cannot be written as {format}: {error}",
                    next_step="choose another format, openai_chat holds most, or leave the item out",
                ) from None
    return writer.count


def written(module: Any, item: Conversation | Preference, *, origin: bool = False) -> Any:
    """An item as a row of a format, with where it comes from on request.

    Raises:
        CannotHold: the format has no place for it.
    """
    row = module.write(item)
    if origin and isinstance(row, dict):
        row |= {name: value for name in ORIGIN if (value := getattr(item, name, "")) and name not in row}
    return row
