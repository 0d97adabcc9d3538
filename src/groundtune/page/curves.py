"""Lines over steps, as inline SVG: losses of one run or of several side by side, each labelled where it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from groundtune.page.text import esc

#: as the style sheet of a page that shows curves
STYLE = """
.curves { display: block; width: 100%; height: auto; overflow: visible; }
.curve { fill: none; stroke: var(--soft); stroke-width: 1.8; stroke-linejoin: round; }
.curve.best { stroke: var(--accent); stroke-width: 2.6; }
.curve.failed { stroke: var(--wrong); stroke-dasharray: 5 4; }
.curve.dots { stroke: var(--partly); }
.curves .name.best { fill: var(--accent); font-weight: 650; }
.curves .name.failed { fill: var(--wrong); }
.curves .name.dots { fill: var(--partly); }
"""
_WIDTH, _HEIGHT = 720, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 120, 22, 44


@dataclass(frozen=True, slots=True)
class Curve:
    """One line.

    Attributes:
        name: at its end.
        points: (step, value); values that are no number end the line.
        kind: "" or best, failed, dots: how it is drawn.
    """

    name: str
    points: Sequence[tuple[float, float]]
    kind: str = ""


def smoothed(points: Sequence[tuple[int, float]], most: int = 160) -> list[tuple[float, float]]:
    """At most so many points, each the mean of its neighbours: a line that can be followed by eye."""
    size = max(1, -(-len(points) // most))
    groups = [points[n : n + size] for n in range(0, len(points), size)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def curves(
    lines: Sequence[Curve],
    *,
    value: str,
    across: str = "optimizer steps",
    ceiling: float | None = None,
    last: float | None = None,
) -> str:
    """The plot; nothing where there is no point.

    Args:
        value: what is on the upright axis, with its unit.
        across: what is on the level axis.
        ceiling, last: where the axes end; default: as far as the points reach, and no higher than twice the first ones.
    """
    finite = [(x, y) for line in lines for x, y in line.points if math.isfinite(y)]
    if not finite:
        return ""
    starts = [line.points[0][1] for line in lines if line.points and math.isfinite(line.points[0][1])]
    ceiling = (
        ceiling or min(max(y for _, y in finite), 2.0 * max(starts or [1.0])) or 1.0
    )  # a loss that explodes leaves the frame
    last = last or max(x for x, _ in finite) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        inside = min(max(y, 0.0), ceiling)
        high = _HEIGHT - _BOTTOM - inside / ceiling * (_HEIGHT - _TOP - _BOTTOM)
        return _LEFT + x / last * (_WIDTH - _LEFT - _RIGHT), high

    parts = [*_grid(ceiling, last, place), f'<text class="title" x="{_LEFT}" y="12">{esc(value)}</text>']
    parts.append(f'<text class="title" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">{esc(across)}</text>')
    labels: list[tuple[float, Curve]] = []
    for line in lines:
        shown = []
        for x, y in line.points:
            if not math.isfinite(y):
                break
            shown.append(place(x, y))
        if not shown:
            continue
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in shown)
        parts.append(f'<polyline class="curve {line.kind}" points="{drawn}"/>')
        labels.append((shown[-1][1], line))
    parts += _labels(labels)
    told = "; ".join(f"{line.name}: from {line.points[0][1]:.3g} to {line.points[-1][1]:.3g}" for _, line in labels)
    return (
        f'<svg class="curves" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'aria-label="{esc(value)} over {esc(across)}. {esc(told)}">{"".join(parts)}</svg>'
    )


def _grid(ceiling: float, last: float, place: object) -> list[str]:
    assert callable(place)
    parts = []
    for tick in _ticks(ceiling):
        _, y = place(0, tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in _ticks(last):
        x, _ = place(tick, 0)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{tick:g}</text>')
    return parts


def _ticks(top: float) -> list[float]:
    """Round numbers from 0 to below ``top``, about five."""
    size = 10.0 ** math.floor(math.log10(top))
    step = next(s * size for s in (0.1, 0.2, 0.5, 1.0, 2.0) if top / (s * size) <= 6)
    return [round(n * step, 10) for n in range(math.floor(top / step + 1e-9) + 1)]


def _labels(ends: list[tuple[float, Curve]]) -> list[str]:
    """Names at the ends of the lines, moved apart where they would cover each other."""
    parts, free = [], 0.0
    for y, line in sorted(ends, key=lambda end: end[0]):
        at = max(y + 4, free)
        free = at + 14
        parts.append(f'<text class="name {line.kind}" x="{_WIDTH - _RIGHT + 8}" y="{at:.1f}">{esc(line.name)}</text>')
    return parts
