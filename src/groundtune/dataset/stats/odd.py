"""The longest examples of a dataset, and those that are unlike the others.

Odd is what stands far from the middle by one of four measures, in robust deviations (distance from the median over
1.4826 times the median absolute deviation; Iglewicz and Hoaglin 1993, who call 3.5 an outlier): the logarithm of the
length, the tokens that a character takes, the share of characters that are symbols, control characters or unassigned, and
the mean cosine distance to the five nearest other examples.
"""

from __future__ import annotations

import heapq
import math
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from groundtune.dataset.stats.sample import HEAD_CHARACTERS, SampledRow, answered, asked

SHOWN = 10
#: robust deviations from which a value is called odd
ODD = 3.5
SNIPPET_CHARACTERS = 280
_MOST_BY_MEASURE = 4
#: a share of characters varies by this much at least
_LEAST_SPREAD = {"strange": 0.02}

MEASURES = {
    "isolation": "mean cosine distance to the five nearest other examples, by what is asked",
    "length": "characters, on a log scale",
    "tokens_per_character": "tokens that a character takes, on a log scale: high where the tokenizer does not know the text",
    "strange": "share of characters that are symbols such as emoji, control characters, or no characters of any script",
}


@dataclass(slots=True)
class Longest:
    """The examples with the most characters, of all that are offered."""

    most: int = SHOWN
    _heap: list[tuple[int, int, SampledRow]] = field(default_factory=list)

    def offer(self, row: SampledRow) -> None:
        """Take the row in if it is among the longest."""
        entry = (row.characters, -row.number, row)
        if len(self._heap) < self.most:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, entry)

    def rows(self) -> list[SampledRow]:
        """Longest first."""
        return [row for _, _, row in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


def snippet(row: SampledRow) -> dict[str, Any]:
    """The beginnings of what is asked and answered, for showing."""
    return {
        "line": row.line,
        "characters": row.characters,
        "asked": _cut(asked(row.item)),
        "answered": _cut(answered(row.item)),
    }


def _cut(text: str) -> str:
    short = " ".join(text[: SNIPPET_CHARACTERS * 2].split())
    return short if len(short) <= SNIPPET_CHARACTERS else short[: SNIPPET_CHARACTERS - 1].rstrip() + "…"


def oddest(
    rows: Sequence[SampledRow], density: Mapping[int, float], isolation: Mapping[int, float], *, most: int = SHOWN
) -> dict[str, Any]:
    """The examples that stand furthest out by any measure.

    Args:
        rows: the sampled rows.
        density: tokens a character of each row that was looked at, by its number.
        isolation: mean distance to the nearest others of each embedded row, by its number.
        most: examples that are given.

    Returns:
        ``rule``, ``measures`` (name -> meaning), ``odd`` (rows over 3.5 deviations) and ``examples``, oddest first, at most four by one
        measure while others are left: a snippet with ``measure``, ``value``, ``usual`` (the median) and ``deviations``.
    """
    values: dict[str, dict[int, float]] = {name: {} for name in MEASURES}
    for row in rows:
        values["length"][row.number] = math.log(row.characters + 1)
        values["strange"][row.number] = _strange(f"{asked(row.item)}\n{answered(row.item)}"[:HEAD_CHARACTERS])
    values["tokens_per_character"] = {number: math.log(value) for number, value in density.items() if value > 0}
    values["isolation"] = dict(isolation)
    worst: dict[int, tuple[float, str, float]] = {}
    for name, found in values.items():
        middle, spread = _middle_and_spread(list(found.values()))
        spread = max(spread, _LEAST_SPREAD.get(name, 0.0))
        for number, value in found.items():
            out = (value - middle) / spread if spread else 0.0
            if name != "length":
                out = max(out, 0.0)  # close to others, well known and plain is not odd
            if abs(out) > abs(worst.get(number, (0.0, "", 0.0))[0]):
                worst[number] = (out, name, middle)
    order = _mixed(sorted(worst, key=lambda number: (-abs(worst[number][0]), number)), worst, most)
    by_number = {row.number: row for row in rows}
    examples = []
    for number in order:
        out, name, middle = worst[number]
        value = values[name][number]
        logarithmic = name in ("length", "tokens_per_character")
        examples.append(
            snippet(by_number[number])
            | {
                "measure": name,
                "value": math.exp(value) if logarithmic else value,
                "usual": math.exp(middle) if logarithmic else middle,
                "deviations": out,
            }
        )
    return {
        "rule": f"furthest from the median by one of the measures, in robust deviations; over {ODD} counts as odd",
        "measures": dict(MEASURES),
        "odd": sum(abs(out) > ODD for out, _, _ in worst.values()),
        "examples": examples,
    }


def _mixed(order: Sequence[int], worst: Mapping[int, tuple[float, str, float]], most: int) -> list[int]:
    """The first of the order, at most four by one measure; the rest only where places are left."""
    by_measure: Counter[str] = Counter()
    first: list[int] = []
    rest: list[int] = []
    for number in order:
        by_measure[worst[number][1]] += 1
        (first if by_measure[worst[number][1]] <= _MOST_BY_MEASURE else rest).append(number)
        if len(first) == most:
            break
    taken = set([*first, *rest][:most])
    return [number for number in order if number in taken]


def _strange(text: str) -> float:
    if text.isascii() and text.isprintable():
        return 0.0
    odd = sum(unicodedata.category(c) in ("So", "Cc", "Cf", "Cn", "Co", "Cs") for c in text if c not in "\n\t\r")
    return odd / max(len(text), 1)


def _middle_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Median and robust deviation; where over half of the values are equal, the mean distance from the median counts."""
    if len(values) < 5:
        return 0.0, 0.0
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    distances = sorted(abs(value - middle) for value in values)
    spread = 1.4826 * distances[len(distances) // 2]
    return middle, spread or 1.2533 * sum(distances) / len(distances)
