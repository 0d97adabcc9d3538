"""The report's plots as inline SVG.

Strips (dot and whisker, forest) place their marks in per cent of the width, so that they fit any screen while the
text around them, which is HTML, keeps its size. The scatter plot is drawn once for wide and once for narrow screens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from groundtune.page.text import duration, esc, score

_STRIP_HEIGHT: Final = 30
_MARKS: Final = {
    "control": '<path class="mk control" d="M0-6 6 0 0 6-6 0z"/>',
    "baseline": '<rect class="mk baseline" x="-5" y="-5" width="10" height="10"/>',
    "recommended": '<circle class="mk recommended" r="6.5"/>',
    "plain": '<circle class="mk plain" r="5"/>',
    "clear": '<circle class="mk clear" r="5"/>',
    "unclear": '<circle class="mk unclear" r="4.5"/>',
}


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight axis from ``low`` to ``high``."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> str:
        """Where a value stands, in per cent of the width."""
        inside = min(max(value, self.low), self.high)
        return f"{(inside - self.low) / (self.high - self.low) * 100:.2f}%"


@dataclass(frozen=True, slots=True)
class Point:
    """One system in the scatter plot."""

    name: str
    role: str
    seconds: float
    slow_seconds: float
    quality: float


UNIT: Final = Scale(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))


def symmetric_scale(values: Sequence[float]) -> Scale:
    """An axis around zero that holds all values."""
    largest = max((abs(value) for value in values), default=0.0)
    step = next((step for step in (0.05, 0.1, 0.25, 0.5) if largest <= 2 * step), 0.5)
    return Scale(-2 * step, 2 * step, (-2 * step, -step, 0.0, step, 2 * step))


def mark(kind: str) -> str:
    """A mark alone, for legends."""
    return f'<svg class="key" width="16" height="16" viewBox="-8 -8 16 16" aria-hidden="true">{_MARKS[kind]}</svg>'


def strip(
    mean: float,
    low: float | None,
    high: float | None,
    kind: str,
    *,
    scale: Scale = UNIT,
    reference: float | None = None,
) -> str:
    """One row of a dot-and-whisker plot; the text beside it says the same, so it is hidden from screen readers."""
    parts = [_upright("grid", scale.at(tick)) for tick in scale.ticks]
    if reference is not None:
        parts.append(_upright("reference", scale.at(reference)))
    if low is not None and high is not None:
        ends = f'x1="{scale.at(low)}" x2="{scale.at(high)}" y1="50%" y2="50%"'
        parts.append(f'<line class="whisker {kind}" {ends}/>')
    parts.append(f'<svg class="over" x="{scale.at(mean)}" y="50%">{_MARKS[kind]}</svg>')
    return f'<svg class="strip" width="100%" height="{_STRIP_HEIGHT}" aria-hidden="true">{"".join(parts)}</svg>'


def axis(scale: Scale = UNIT, *, signs: bool = False) -> str:
    """The numbers under a column of strips."""
    texts = []
    for index, tick in enumerate(scale.ticks):
        anchor = "start" if index == 0 else "end" if index == len(scale.ticks) - 1 else "middle"
        shown = f"{tick:+g}".replace("-", "\u2212") if signs and tick else f"{tick:g}"
        texts.append(f'<text x="{scale.at(tick)}" y="12" text-anchor="{anchor}">{shown}</text>')
    return f'<svg class="strip axis" width="100%" height="18" aria-hidden="true">{"".join(texts)}</svg>'


def scatter(points: Sequence[Point], control: float | None, metric: str, *, width: int, height: int) -> str:
    """Quality against seconds per question (log scale); ``control`` is drawn as a level line."""
    left, right, top, bottom = 38, 14, 22, 46
    low = math.log10(min(point.seconds for point in points)) - 0.25
    high = math.log10(max(point.slow_seconds for point in points)) + 0.25
    if high - low < 1:
        low, high = (low + high) / 2 - 0.5, (low + high) / 2 + 0.5
    ceiling = min(1.0, math.ceil(max(max(p.quality for p in points), control or 0.0, 0.1) * 1.1 * 5) / 5)

    def across(seconds: float) -> float:
        return left + (math.log10(seconds) - low) / (high - low) * (width - left - right)

    def down(quality: float) -> float:
        return height - bottom - quality / ceiling * (height - top - bottom)

    floor = height - bottom
    parts: list[str] = []
    for step in range(round(ceiling * 5) + 1):
        y = down(step / 5)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{step / 5:g}</text>')
    for seconds in _log_ticks(low, high):
        x = across(seconds)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{floor}"/>')
        anchor = "end" if x > width - right - 20 else "middle"
        parts.append(f'<text x="{x:.1f}" y="{floor + 17}" text-anchor="{anchor}">{esc(_tick(seconds))}</text>')
    parts.append(f'<text class="title" x="{left}" y="12">{esc(metric)} (higher is better)</text>')
    parts.append(
        f'<text class="title" x="{width - right}" y="{height - 8}" text-anchor="end">'
        "seconds per question, log scale (left is faster)</text>"
    )
    taken: list[tuple[float, float, float, float]] = []
    if control is not None:
        y = down(control)
        parts.append(f'<line class="reference" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{width - right}" y="{y - 5:.1f}" text-anchor="end">control {score(control)}</text>')
        taken.append((width - right - 80, y - 16, width - right, y))
    if front := _frontier(points):
        line = " ".join(f"{across(p.seconds):.1f},{down(p.quality):.1f}" for p in front)
        parts.append(f'<polyline class="frontier" points="{line}"/>')
    taken += [(across(p.seconds) - 7, down(p.quality) - 7, across(p.seconds) + 7, down(p.quality) + 7) for p in points]
    for point in points:
        x, y = across(point.seconds), down(point.quality)
        ends = f'x1="{x:.1f}" x2="{across(point.slow_seconds):.1f}" y1="{y:.1f}" y2="{y:.1f}"'
        parts.append(f'<line class="whisker {point.role}" {ends}/>')
        parts.append(f'<g transform="translate({x:.1f} {y:.1f})">{_MARKS[point.role]}</g>')
    for point in sorted(points, key=lambda point: point.role != "recommended"):
        x, y, box = _label_place(point.name, across(point.seconds), down(point.quality), taken, (left, width - right))
        taken.append(box)
        parts.append(f'<text class="label {point.role}" x="{x:.1f}" y="{y:.1f}">{esc(point.name)}</text>')
    told = "; ".join(f"{p.name}: {metric} {score(p.quality)} at {duration(p.seconds)}" for p in points)
    return (
        f'<svg class="scatter" role="img" viewBox="0 0 {width} {height}" '
        f'aria-label="Quality against time per question. {esc(told)}">{"".join(parts)}</svg>'
    )


def _upright(kind: str, x: str) -> str:
    return f'<line class="{kind}" x1="{x}" x2="{x}" y1="0" y2="100%"/>'


def _frontier(points: Sequence[Point]) -> list[Point]:
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.seconds, -point.quality)):
        if not front or point.quality > front[-1].quality:
            front.append(point)
    return front


def _log_ticks(low: float, high: float) -> list[float]:
    steps = (1, 2, 5) if high - low <= 2 else (1, 3) if high - low <= 3 else (1,)
    ticks = [step * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for step in steps]
    return [tick for tick in ticks if low <= math.log10(tick) <= high]


def _tick(seconds: float) -> str:
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def _label_place(
    name: str, x: float, y: float, taken: Sequence[tuple[float, float, float, float]], bounds: tuple[float, float]
) -> tuple[float, float, tuple[float, float, float, float]]:
    """The first free place for a label: above its mark, below, to the left, further off, and last to the right."""
    width = 7.2 * len(name) + 2
    places = [(x - width / 2, y - 12), (x - width / 2, y + 21), (x - width - 11, y + 4)]
    places += [(x - 6, y - 12), (x - 6, y + 21), (x - width + 6, y - 12), (x - width + 6, y + 21)]
    places += [(x - width / 2, y - 27), (x - width / 2, y + 36), (x + 11, y + 4)]
    boxes = [(left, base - 11, left + width, base + 3) for left, base in places]
    for (left, base), box in zip(places, boxes, strict=True):
        if box[0] < bounds[0] or box[2] > bounds[1]:
            continue
        if all(box[2] <= b[0] or b[2] <= box[0] or box[3] <= b[1] or b[3] <= box[1] for b in taken):
            return left, base, box
    left, base = max(bounds[0], min(places[0][0], bounds[1] - width)), places[0][1]
    return left, base, (left, base - 11, left + width, base + 3)
