"""The plots of the statistics page as inline SVG: marks stand in per cent of the width, so that they fit any screen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from groundtune.page.text import count, esc

_HEIGHT = 132
_FOOT = 22


def histogram(found: Mapping[str, Any], limit: int | None, label: str, unit: str = "tokens") -> str:
    """Bars of lengths; those beyond the limit in another colour, and the limit as a dashed line where it is in sight."""
    bars = found["bars"]
    top = max([bar["count"] for bar in bars] + [found["beyond"]]) or 1
    slots = len(bars) + (2 if found["beyond"] else 0)
    width = bars[0]["high"] - bars[0]["low"]
    parts = []
    for slot, bar in enumerate(bars):
        over = limit is not None and bar["low"] >= limit
        told = f"{count(bar['low'])} to {count(bar['high'] - 1)} {unit}: {count(bar['count'])} examples"
        parts.append(_bar(slot, slots, bar["count"] / top, over, told))
    if found["beyond"]:
        over = limit is not None and bars[-1]["high"] >= limit
        told = f"{count(bars[-1]['high'])} {unit} and more: {count(found['beyond'])} examples"
        parts.append(_bar(slots - 1, slots, found["beyond"] / top, over, told))
    end = bars[-1]["high"]

    def across(value: float) -> float:
        return float(value / width / slots * 100)

    ticks = [tick for tick in _ticks(end) if across(tick) < (78 if found["beyond"] else 97) or tick == 0]
    for tick in ticks:
        anchor = "start" if tick == 0 else "middle"
        parts.append(f'<text x="{across(tick):.2f}%" y="{_HEIGHT + 16}" text-anchor="{anchor}">{count(tick)}</text>')
    last = "longer" if found["beyond"] else ""
    parts.append(f'<text x="100%" y="{_HEIGHT + 16}" text-anchor="end">{last}</text>')
    if limit is not None and limit <= end:
        x = across(limit)
        side = ("end", -5) if x > 55 else ("start", 5)
        parts.append(f'<line class="limit" x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="{_HEIGHT}"/>')
        parts.append(
            f'<text class="limit" x="{x:.2f}%" dx="{side[1]}" y="11" text-anchor="{side[0]}">{count(limit)}: the context</text>'
        )
    parts.append(f'<line class="base" x1="0" x2="100%" y1="{_HEIGHT}" y2="{_HEIGHT}"/>')
    return (
        f'<svg class="histogram" role="img" width="100%" height="{_HEIGHT + _FOOT}" aria-label="{esc(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _bar(slot: int, slots: int, height: float, over: bool, told: str) -> str:
    tall = max(height * (_HEIGHT - 16), 1.5 if height else 0.0)
    return (
        f'<rect class="{"over" if over else "in"}" x="{slot / slots * 100 + 6 / slots:.2f}%" '
        f'width="{88 / slots:.2f}%" y="{_HEIGHT - tall:.1f}" height="{tall:.1f}"><title>{esc(told)}</title></rect>'
    )


def _ticks(end: float, most: int = 5) -> list[int]:
    step = 10 ** math.floor(math.log10(max(end, 1)))
    step = next((step * f for f in (0.1, 0.2, 0.25, 0.5, 1, 2) if end / (step * f) <= most), step * 2)
    step = max(round(step), 1)
    return [n * step for n in range(int(end / step) + 1)]


def curve(points: Sequence[Sequence[float]], across: str, up: str, label: str) -> str:
    """A line through points from the origin, with the largest values at its axes."""
    right, top = (max((point[at] for point in points), default=0) or 1 for at in (0, 1))
    line = " ".join(f"{x / right * 100:.2f},{100 - y / top * 100:.2f}" for x, y in [(0, 0), *points])
    return (
        f'<div class="curve" role="img" aria-label="{esc(label)}">'
        f"<p><span>{count(top)} {esc(up)}</span></p>"
        f'<svg width="100%" height="{_HEIGHT}" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
        '<line class="guide" x1="0" y1="100" x2="100" y2="0"/>'
        f'<polyline class="line" points="{line}"/></svg>'
        f"<p><span>0</span><span>{count(right)} {esc(across)}</span></p></div>"
    )


def bars(rows: Sequence[tuple[str, float]], total: float, *, sort: str = "", shown: Sequence[str] = ()) -> str:
    """Names with a bar for each one's share of the total, and its number; ``shown`` replaces the numbers."""
    largest = max((amount for _, amount in rows), default=0) or 1
    scale = total or largest
    drawn = "".join(
        f'<li><span class="name" dir="auto">{esc(name)}</span>'
        f'<svg class="share" width="100%" height="8" aria-hidden="true">'
        f'<rect class="part found" width="{min(amount / scale, 1.0) * 100:.2f}%" height="8"/></svg>'
        f'<span class="value">{esc(shown[at]) if shown else count(amount)}</span></li>'
        for at, (name, amount) in enumerate(rows)
    )
    return f'<ul class="bars{" " + sort if sort else ""}">{drawn}</ul>'
