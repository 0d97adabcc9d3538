"""What a search has measured, one line of JSON a measurement, so that a killed search goes on where it was.

A measurement is an arm's values on some questions. A line that a kill cut short is passed over. What was left out for want
of time is written down too: going on within the same budget leaves it out again, and ends where a search without a break
ends. Leaves out what is measured and why (``search``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groundtune.evaluation.search_space import Arm

#: metric -> question id -> value
Values = dict[str, dict[str, float]]


class Journal:
    """The measurements of one search.

    Args:
        path: of the file; a new one begins with the first line.
        minutes: the budget; what an earlier search with less left out is not left out again.

    Attributes:
        seconds: that all measurements took, those of earlier processes included.
    """

    def __init__(self, path: Path, minutes: float) -> None:
        self.path, self.minutes, self.seconds = path, minutes, 0.0
        self._values: dict[tuple[str, str], dict[str, dict[str, float | None]]] = {}
        self._latency: dict[tuple[str, str], list[float]] = {}
        self._left_out: dict[tuple[str, str], str] = {}
        self._decided: dict[str, int] = {}
        self._index: dict[str, dict[str, float]] = {}
        self._rates: dict[str, list[float]] = {}  # part -> seconds, questions
        for row in _rows(path):
            self._take(row)

    def _take(self, row: Mapping[str, Any]) -> None:
        key = (str(row["part"]), str(row["arm"]))
        if row["part"] == "index":
            self._index[row["arm"]] = dict(row["figures"])
        elif "decided" in row:
            if row["minutes"] >= self.minutes:
                self._decided[row["decided"]] = row["value"]
            return
        elif "left_out" in row:
            if row["minutes"] >= self.minutes:
                self._left_out[row["stage"], row["arm"]] = row["left_out"]
            return
        else:
            self._values.setdefault(key, {}).update(row["values"])
            self._latency.setdefault(key, []).extend(row.get("latency_seconds", ()))
            rate = self._rates.setdefault(row["part"], [0.0, 0.0])
            rate[0] += float(row["seconds"])
            rate[1] += len(row["values"])
        self.seconds += float(row["seconds"])

    def _add(self, row: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as out:
            if out.tell() and not _ends_whole(self.path):
                out.write("\n")
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._take(row)

    def add(self, part: str, arm: Arm, values: Mapping[str, Mapping[str, float | None]], seconds: float, latency: Sequence[float] = ()) -> None:  # fmt: skip
        """Write down a measurement: question id -> metric -> value, and seconds of single questions."""
        row = {"part": part, "arm": arm.key, "values": values, "seconds": round(seconds, 4)}
        self._add({**row, "latency_seconds": [round(s, 5) for s in latency]} if latency else row)

    def seconds_for(self, part: str, questions: int) -> float:
        """About how long so many questions take, by those asked so far; 0 before the first."""
        seconds, count = self._rates.get(part, [0.0, 0.0])
        return questions * seconds / count if count else 0.0

    def missing(self, part: str, arm: Arm, questions: Sequence[str]) -> set[str]:
        """The questions without a measurement."""
        return set(questions) - self._values.get((part, arm.key), {}).keys()

    def values(self, part: str, arm: Arm, questions: Sequence[str]) -> Values:
        """Metric -> question id -> value, of these questions; without those for which a metric has none."""
        out: Values = {}
        known = self._values.get((part, arm.key), {})
        for question in questions:
            for metric, value in known.get(question, {}).items():
                if value is not None:
                    out.setdefault(metric, {})[question] = value
        return out

    def latency(self, part: str, arm: Arm) -> list[float]:
        """Seconds of single questions."""
        return self._latency.get((part, arm.key), [])

    def leave_out(self, stage: str, arm: Arm, why: str) -> None:
        """Write down that an arm was left out of a stage."""
        self._add({"part": "left out", "stage": stage, "arm": arm.key, "left_out": why, "minutes": self.minutes})

    def left_out(self, stage: str, arm: Arm) -> str | None:
        """Why an arm was left out of a stage; None where it was not."""
        return self._left_out.get((stage, arm.key))

    def decide(self, what: str, value: int) -> None:
        """Write down a number that the time left decided."""
        self._add({"part": "decided", "arm": "", "decided": what, "value": value, "minutes": self.minutes})

    def decided(self, what: str) -> int | None:
        """A number that was decided; None where none was."""
        return self._decided.get(what)

    def add_index(self, arm: Arm, figures: Mapping[str, float], seconds: float) -> None:
        """Write down that an arm's index was made, with figures to show."""
        self._add({"part": "index", "arm": arm.key, "figures": dict(figures), "seconds": round(seconds, 4)})

    def index(self, arm: Arm) -> dict[str, float]:
        """The figures of an arm's index; empty where none was made."""
        return self._index.get(arm.key, {})


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # cut short by a kill
            continue
        if isinstance(row, dict) and {"part", "arm"} <= row.keys():
            rows.append(row)
    return rows
