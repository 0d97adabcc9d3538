"""Columns of any table: a question, an answer and perhaps a system text, found by their usual names or by ``--map``.

A mapping names the column of each part: ``{"question": "src", "answer": "eng"}``. A column may lead inside: ``meta.title``,
``summaries[0]`` for the first of a list, ``summaries[*]`` for one item each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from groundtune.dataset.formats._messages import ORIGIN, RowFault, need_object, question_and_answer, text_of
from groundtune.records import Conversation, Message, Preference

#: (question, answer) as tables usually name them
_USUAL = (
    ("question", "answer"), ("question", "response"), ("query", "answer"), ("query", "response"), ("prompt", "response"),
    ("prompt", "answer"), ("prompt", "output"), ("input", "output"), ("user", "assistant"),
    ("text", "summary"), ("document", "summary"), ("article", "summary"), ("instruction", "response"),
)  # fmt: skip
KEYS: frozenset[str] = frozenset({"system"})
PARTS = ("question", "answer", "system", *ORIGIN)


def sniff(row: Any) -> float:
    """Has a pair of columns with usual names."""
    return 0.5 if isinstance(row, dict) and _usual(row) else 0.0


def _usual(row: Mapping[str, Any]) -> tuple[str, str] | None:
    return next((pair for pair in _USUAL if pair[0] in row and pair[1] in row), None)


def read(row: Any) -> Conversation:
    """One row, by the usual names.

    Raises:
        RowFault: no such columns, or an empty one.
    """
    row = need_object(row)
    pair = _usual(row)
    if pair is None:
        raise RowFault(("unknown_format", f"no columns for question and answer among {', '.join(map(str, row))[:120]}"))
    return Mapped({"question": pair[0], "answer": pair[1], **({"system": "system"} if row.get("system") else {})}).read(
        row
    )


def lost(row: dict[str, Any]) -> list[str]:
    """The columns that are not read."""
    used = {*(_usual(row) or ()), "system", *ORIGIN}
    return [str(k) for k in row if k not in used]


def write(item: Conversation | Preference) -> dict[str, Any]:
    """``question``, ``answer`` and, where there is one, ``system``.

    Raises:
        CannotHold: more than one question and its answer.
    """
    system, question, answer = question_and_answer(item, "columns", system=True)
    return {"question": question, "answer": answer, **({"system": system} if system else {})}


@dataclass(frozen=True)
class Mapped:
    """The format of a table whose columns are named by ``columns`` (part -> column); used like a format module."""

    columns: Mapping[str, str]

    @property
    def KEYS(self) -> frozenset[str]:
        """The columns that are read."""
        return frozenset(re.split(r"[.\[]", c, maxsplit=1)[0] for c in self.columns.values())

    def sniff(self, row: Any) -> float:
        """Has the columns."""
        return 1.0 if isinstance(row, dict) and row.keys() >= self.KEYS else 0.0

    def expand(self, row: Any) -> list[Any]:
        """One row for each element of a ``[*]`` column."""
        for part, column in self.columns.items():
            if column.endswith("[*]") and isinstance(row, dict):
                values = _inside(row, column[:-3])
                if isinstance(values, list):
                    return [{**row, "": {**row.get("", {}), part: v}} for v in values]
        return [row]

    def read(self, row: Any) -> Conversation:
        """One row.

        Raises:
            RowFault: a column is missing, or its text empty.
        """
        row = need_object(row)
        chosen = row.get("", {})  # what expand took out of a list
        found: dict[str, Any] = {}
        for part, column in self.columns.items():
            value = chosen[part] if isinstance(chosen, dict) and part in chosen else _inside(row, column)
            if isinstance(value, list):
                if len(value) != 1:
                    advice = f"write {part}={column}[0] for the first or {part}={column}[*] for one item each"
                    raise RowFault(("several_values", f"{column!r} holds {len(value)} values; {advice}"))
                value = value[0]
            found[part] = str(value) if isinstance(value, int | float) else value
        messages = [Message("system", found["system"])] if found.get("system") else []
        faults: list[tuple[str, str]] = []
        for part, role in (("question", "user"), ("answer", "assistant")):
            try:
                text = text_of({self.columns[part]: found.get(part)}, self.columns[part])
                messages.append(Message(role, text))  # type: ignore[arg-type]
            except RowFault as fault:
                faults += fault.faults
                faults += [("empty_answer", str(fault))] if part == "answer" else []
        if faults:
            raise RowFault(*faults)
        origin = {name: found[name] for name in ORIGIN if isinstance(found.get(name), str)}
        return Conversation(tuple(messages), **origin)

    def lost(self, row: dict[str, Any]) -> list[str]:
        """The columns that are not read."""
        return [str(k) for k in row if k and k not in self.KEYS and k not in ORIGIN]

    def write(self, item: Conversation | Preference) -> dict[str, Any]:
        """A row with the mapping's columns.

        Raises:
            CannotHold: more than one question and its answer.
        """
        plain = write(item)
        return {self.columns.get(part, part): value for part, value in plain.items()}


def _inside(row: Any, column: str) -> Any:
    """The value that a column's path leads to; None where it leads nowhere."""
    if isinstance(row, dict) and column in row:
        return row[column]
    value = row
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", column):
        if name:
            value = value.get(name) if isinstance(value, dict) else None
        else:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
    return value
