"""One dataset format into another, row by row; what cannot be carried over is counted, named and put aside, never dropped in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from groundtune import registry
from groundtune.dataset.files.items import Item, Reader, detect_format, row_writer, rows, written
from groundtune.dataset.files.row_writer import check_free, check_quarantine
from groundtune.dataset.files.rows import without_blank
from groundtune.dataset.formats._messages import ORIGIN, CannotHold
from groundtune.dataset.formats.task_markers import MARKER
from groundtune.errors import InputError
from groundtune.records import Conversation, Message, Preference

_KEPT = 5


@dataclass(slots=True)
class ConvertReport:
    """What a conversion did.

    Attributes:
        path, format, out, to: from where and to where.
        rows, items, converted: rows read, items in them, items written.
        faults: reason -> items that could not be read or written for it; ``places`` has the first ``file:line``.
        left_behind: what rows say and the new format has no place for -> rows.
    """

    path: str
    format: str
    out: str
    to: str
    rows: int = 0
    items: int = 0
    converted: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    places: list[str] = field(default_factory=list)
    left_behind: dict[str, int] = field(default_factory=dict)

    @property
    def faulty(self) -> int:
        """Items that were not written."""
        return self.items - self.converted

    def to_json(self) -> dict[str, Any]:
        """All of it, for ``--json``."""
        return {**asdict(self), "faulty": self.faulty}


def convert(
    path: Path,
    out: Path,
    to: str,
    *,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    task: str | None = None,
    origin: bool = False,
    quarantine: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int, object], None] | None = None,
) -> ConvertReport:
    """Convert a file.

    Args:
        to: a registered format.
        format, mapping: how to read; by default found out.
        task: a task marker's name (``to-fr``): becomes each item's system message ``<to-fr>``.
        origin: also write id, fact, split and source where known.
        quarantine: where to write rows that could not be converted, as ``{"line", "reason", "row"}``.
        overwrite: replace the files to write where they are there.

    Raises:
        InputError: the file cannot be read, a file to write is there, or not one item can be converted. UnknownNameError: no such format.
    """
    if out.resolve() == path.resolve():
        raise InputError(f"{out}: the input and the output are the same file", next_step="name another with --out")
    module = registry.get("formats", to)
    reader = Reader(None if mapping else format or detect_format(path), mapping)
    marker = _marker(task) if task else ""
    if quarantine:
        check_quarantine(quarantine, path, out)
    check_free({"--out": out, "--quarantine": quarantine}, overwrite=overwrite)
    report = ConvertReport(str(path), reader.name, str(out), to)
    faults: Counter[str] = Counter()
    left: Counter[str] = Counter()
    with ExitStack() as stack:
        writer = stack.enter_context(row_writer(out))
        aside = stack.enter_context(row_writer(quarantine)) if quarantine else None
        for line, row in without_blank(rows(path)):
            report.rows += 1
            for item in reader.items(line, row):
                report.items += 1
                try:
                    new, trimmed = _converted(item, module, marker, origin)
                    writer.add(new)
                    report.converted += 1
                except (CannotHold, UnicodeEncodeError) as error:
                    reason = "half a character" if isinstance(error, UnicodeEncodeError) else str(error)
                    faults[reason] += 1
                    if len(report.places) < _KEPT:
                        report.places.append(f"{path}:{line}: {reason}")
                    if aside is not None:
                        aside.add({"line": line, "reason": reason, "row": repr(row) if not _plain(row) else row})
                    continue
                left.update([*_left_behind(item, reader, to, origin), *trimmed])
            if progress and report.rows % 500 == 0:
                progress(report.rows, 0, f"{sum(faults.values())} faulty" if faults else "")
        if not report.converted:
            first = report.places[0] if report.places else f"{path}: holds no row"
            raise InputError(f"nothing to convert to {to}: {first}", expected="rows that the format has a place for")
    report.faults, report.left_behind = dict(faults.most_common()), dict(left.most_common())
    return report


def _marker(task: str) -> str:
    marker = task if task.startswith("<") else f"<{task}>"
    if not MARKER.fullmatch(marker):
        raise InputError(
            f"task {task!r} is no marker", expected="letters, digits and hyphens, such as to-fr or summarize"
        )
    return marker


def _converted(item: Item, module: Any, marker: str, origin: bool) -> tuple[Any, list[str]]:
    """The row of an item, and what was trimmed to fit."""
    if item.item is None:
        raise CannotHold(item.fault)
    record = with_task(item.item, marker) if marker else item.item
    fit = getattr(module, "fit", None)
    fitted = fit(record) if fit else record
    row = written(module, fitted, origin=origin)
    if not _plain(row):
        raise CannotHold("half a character, which UTF-8 cannot hold")
    return row, ["blanks at the ends of texts"] if fitted != record else []


def with_task(item: Conversation | Preference, marker: str) -> Conversation | Preference:
    """The item with a task marker as its system message.

    Raises:
        CannotHold: it has another one.
    """
    if item.messages and item.messages[0].role == "system":
        if item.messages[0].content == marker:
            return item
        raise CannotHold(f"it has a system message already: {item.messages[0].content[:40]!r}")
    return replace(item, messages=(Message("system", marker), *item.messages))


def _left_behind(item: Item, reader: Reader, to: str, origin: bool) -> list[str]:
    names = reader.lost(item.row)
    if not origin and item.item is not None and to != "groundtune":
        names += [f"{name} (kept with --origin)" for name in ORIGIN if getattr(item.item, name, "")]
    return names


def _plain(row: Any) -> bool:
    import json

    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        return False
    return True
