"""Dataset files of any format: finding out which, reading items one by one, and writing them whole or not at all.

``rows`` reads the container (lines, arrays, tables), a module of ``formats`` each row of it. A faulty row is an item with a
fault; it never ends the run and never vanishes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from groundtune import registry
from groundtune.dataset.files.row_writer import RowWriter, row_writer
from groundtune.dataset.files.rows import Broken, first_rows, rows, without_blank
from groundtune.dataset.formats._messages import ORIGIN, CannotHold, RowFault
from groundtune.dataset.formats.columns import PARTS, Mapped
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
