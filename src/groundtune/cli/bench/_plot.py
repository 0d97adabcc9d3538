"""The figures of ``groundtune bench tune`` as one SVG file that needs nothing else: bars side by side, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from groundtune.page.text import esc

_WIDTH, _ROW, _HEAD = 720, 26, 46
#: room for a character, and beside names and values
_CHARACTER, _BESIDE = 7.2, 24
_STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; fill: #1a222c; }
.title { font-size: 16px; font-weight: 600; } .soft { fill: #556170; } .page { fill: #f7f8f9; }
.bar { fill: #9eabb9; } .ours { fill: #0a6b78; } .base { stroke: #dfe3e8; }
@media (prefers-color-scheme: dark) {
 text { fill: #e4e9ee; } .soft { fill: #9eabb9; } .page { fill: #12161b; }
 .bar { fill: #556170; } .ours { fill: #63c5cf; } .base { stroke: #2f3843; } }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One contestant's figure.

    Attributes:
        name: of the contestant.
        value: how long the bar is.
        shown: the value and its ratio as text.
        ours: drawn in the accent colour.
    """

    name: str
    value: float
    shown: str
    ours: bool = False


def bars(title: str, note: str, panels: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """An SVG document of panels with bars one below the other, each panel on a scale of its own from 0.

    Args:
        title, note: heading, and what was measured on.
        panels: what a panel's bars say, and the bars.
    """
    parts = [f'<text class="title" x="16" y="28">{esc(title)}</text>']
    parts.append(f'<text class="soft" x="16" y="50">{esc(note)}</text>')
    every = [bar for _, rows in panels for bar in rows]
    names, values = (
        round(max((len(text) for text in texts), default=0) * _CHARACTER) + _BESIDE
        for texts in ([b.name for b in every], [b.shown for b in every])
    )
    y = 62
    for heading, rows in panels:
        parts.append(f'<text class="soft" x="16" y="{y + 28}">{esc(heading)}</text>')
        top = y + _HEAD - 8
        longest = max((bar.value for bar in rows), default=0) or 1
        for at, bar in enumerate(rows):
            line = top + at * _ROW
            length = max(1.0, bar.value / longest * (_WIDTH - names - values))
            kind = "bar ours" if bar.ours else "bar"
            parts.append(f'<text x="{names - 10}" y="{line + 16}" text-anchor="end">{esc(bar.name)}</text>')
            parts.append(f'<rect class="{kind}" x="{names}" y="{line + 3}" width="{length:.1f}" height="18" rx="2"/>')
            parts.append(f'<text x="{names + length + 8:.1f}" y="{line + 16}">{esc(bar.shown)}</text>')
        y = top + len(rows) * _ROW
        parts.append(f'<line class="base" x1="{names}" x2="{names}" y1="{top}" y2="{y}"/>')
    told = "; ".join(f"{heading}: {', '.join(f'{b.name} {b.shown}' for b in rows)}" for heading, rows in panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 20}" width="{_WIDTH}" height="{y + 20}" '
        f'role="img" aria-label="{esc(title)}. {esc(told)}">\n<style>{_STYLE}</style>\n'
        f'<rect class="page" width="100%" height="100%"/>\n{chr(10).join(parts)}\n</svg>\n'
    )
