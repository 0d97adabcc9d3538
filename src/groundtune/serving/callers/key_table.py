"""Tables of keys: a CSV of people in, a CSV of their keys out.

In: a column ``name`` or ``email``, and, where people are to differ, :data:`COLUMNS`. Separated by commas, semicolons or tabs,
in UTF-8 with or without a mark at its beginning, as spreadsheets save it.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from groundtune.errors import ConfigError, GroundtuneError, InputError, did_you_mean
from groundtune.serving.callers.keys import NewKey, check_name
from groundtune.serving.storage.store import Body

#: columns of a table, with what each may have in it
COLUMNS = {
    "name": "a name", "email": "an e-mail address", "group": "a group of keys", "models": "patterns such as gpt-* rag",
    "budget_tokens": "a whole number over 0", "budget_usd": "a number over 0, such as 1.50",
    "requests_per_minute": "a whole number over 0", "tokens_per_minute": "a whole number over 0",
    "expires": "a day such as 2027-01-31, or a time from now such as 30d",
}  # fmt: skip
_SHORT = {"rpm": "requests_per_minute", "tpm": "tokens_per_minute", "e-mail": "email", "mail": "email"}
#: faults of a table that are shown at once; rows that are read
_SHOWN, _MOST_ROWS = 5, 100_000


def expires_at(text: str, now: float) -> int:
    """When a key ends: the end of a day (UTC), a time with its zone, or a time from now (``12h``, ``30d``, ``4w``).

    Raises:
        ValueError: it says none of these, or a time that is over.
    """
    if found := re.fullmatch(r"\s*(\d{1,5})\s*([hdw])\s*", text):
        return int(now + int(found[1]) * {"h": 3_600, "d": 86_400, "w": 604_800}[found[2]])
    text = text.strip()
    moment = datetime.fromisoformat(text)
    if len(text) <= 10:
        moment += timedelta(days=1)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment.timestamp() <= now:
        raise ValueError("it is over")
    return int(moment.timestamp())


def patterns(text: str) -> tuple[str, ...]:
    """Patterns of models, separated by commas, semicolons, bars or blanks."""
    return tuple(part for part in re.split(r"[\s,;|]+", text) if part)


def _count(text: str) -> int:
    value = int(text)
    if not 0 < value < 2**53:
        raise ValueError
    return value


def _amount(text: str) -> float:
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise ValueError
    return value


_READERS: dict[str, Callable[[str], Any]] = {
    "budget_tokens": _count, "requests_per_minute": _count, "tokens_per_minute": _count, "budget_usd": _amount,
    "models": patterns, "expires": lambda text: expires_at(text, time.time()), "group": check_name, "name": check_name,
}  # fmt: skip


def read_people(path: Path, default: NewKey) -> tuple[list[NewKey], list[str]]:
    """The keys that a table asks for, and the columns that say nothing here.

    Args:
        default: what holds where a row says nothing; its name does not matter.

    Raises:
        InputError: no such file, no table, or rows that are faulty: all are named, with their line.
    """
    names, records = _table(path)
    columns, others = _columns(path, names)
    people: list[NewKey] = []
    faults: list[str] = []
    lines: dict[str, int] = {}
    for line, values in records:
        if len(values) > len(names) or not any(value.strip() for value in values):
            if any(value.strip() for value in values):
                faults.append(f"{path}:{line}: {len(values)} values, expected at most {len(names)}")
            continue
        row = {column: value.strip() for column, value in zip(columns, values, strict=False) if column}
        person = _person(row, default, lambda fault, line=line: faults.append(f"{path}:{line}: {fault}"))  # type: ignore[misc]
        if person is None:
            continue
        first = lines.setdefault(person.name.casefold(), line)
        if first != line:
            faults.append(f"{path}:{line}: name {person.name!r} stands in line {first} already")
        people.append(person)
    if faults:
        more = f"\n... and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise InputError(
            "\n".join(faults[:_SHOWN]) + more, next_step="mend the table, then type it again: no key was made"
        )
    if not people:
        raise InputError(f"{path}: has no rows", expected="a line with the names of columns, then one for each key")
    return people, others


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Names of the columns, and the rows with the line each begins in."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8", next_step="save it as 'CSV UTF-8'") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}", expected="a CSV file") from None
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    records: list[tuple[int, list[str]]] = []
    begins = 1
    try:
        for values in reader:
            records.append((begins, values))
            begins = reader.line_num + 1
            if len(records) > _MOST_ROWS:
                raise InputError(f"{path}: more than {_MOST_ROWS} rows")
    except csv.Error as error:
        raise InputError(f"{path}:{begins}: is no CSV: {error}", expected="quotes that are closed") from None
    if not records:
        raise InputError(f"{path}: is empty", expected="a line with the names of columns, then one for each key")
    return records[0][1], records[1:]


def _columns(path: Path, names: Sequence[str]) -> tuple[list[str | None], list[str]]:
    """What each column means, None where it means nothing here, and the names of those."""
    columns: list[str | None] = []
    others: list[str] = []
    for name in names:
        key = name.strip().lower().replace(" ", "_")
        key = _SHORT.get(key, key)
        if key not in COLUMNS and (near := did_you_mean(key, COLUMNS, cutoff=0.75)):
            raise InputError(
                f"{path}:1: unknown column {name!r}", expected=f"one of {', '.join(COLUMNS)}", next_step=near
            )
        if key in COLUMNS and key in columns:
            raise InputError(f"{path}:1: column {key!r} stands there twice", expected="each column once")
        columns.append(key if key in COLUMNS else None)
        if key not in COLUMNS and name.strip():
            others.append(name.strip())
    if "name" not in columns and "email" not in columns:
        raise InputError(
            f"{path}:1: no column 'name' or 'email' among {', '.join(map(repr, names))}", expected="one of them"
        )
    return columns, others


def _person(row: dict[str, str], default: NewKey, fault: Callable[[str], None]) -> NewKey | None:
    found: dict[str, Any] = {}
    good = True
    for column, value in row.items():
        if value and column != "email":
            try:
                found[column] = _READERS[column](value)
            except (ValueError, GroundtuneError):
                fault(f"column {column!r}: {value!r}, expected {COLUMNS[column]}")
                good = False
    name = row.get("name") or row.get("email") or ""
    if not row.get("name"):
        try:
            found["name"] = check_name(name)
        except ConfigError as error:
            column = "name" if "name" in row else "email"
            fault(f"column {column!r}: {name!r}, expected {error.expected}")
            good = False
    if not good:
        return None
    limits = {key: found[key] for key in ("models", "budget_tokens", "budget_usd", "requests_per_minute", "tokens_per_minute") if key in found}  # fmt: skip
    return replace(
        default, name=found["name"], limits=replace(default.limits, **limits), group=found.get("group", default.group),
        expires_at=found.get("expires", default.expires_at),
    )  # fmt: skip


class KeyFile:
    """A file for keys that only its owner reads; there before the keys are, gone again where they are not made.

    Args:
        path: must not be there: it might hold keys that are nowhere else.

    Raises:
        InputError: it is there, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise InputError(
                f"{path}: is there already, and may hold keys that are nowhere else",
                next_step="--out another file, or put it away first",
            ) from None
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None

    def write(self, made: Sequence[tuple[Body, str]]) -> None:
        """Name and key of each, on disk when this returns."""
        with os.fdopen(self._file, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["name", "key", "id", "group"])
            writer.writerows([body["name"], key, body["id"], body["group"] or ""] for body, key in made)
            file.flush()
            os.fsync(file.fileno())

    def discard(self) -> None:
        """Take it away."""
        self.path.unlink(missing_ok=True)
