"""The reading order of a page's lines: down one column, then down the next.

The order of the file is nearly always the reading order, also in columns, so it is kept unless it goes to and fro
between columns, jumps up inside one, or a line runs across the space between two. Then, and where lines were recognised
in a picture, the order is found from where they stand: the space between columns that fewest lines cross, with the lines
that do cross it as bounds of what is read column by column. Cells of tables are no columns: they are short, or fill
their width unevenly. Geometry only, in coordinates in which text reads to the right and down. Leaves out columns of
fewer than four lines.
"""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate, pairwise
from typing import NamedTuple

from groundtune.ingest.pdf_tables import Line

_MIN_LINES = 4
_MAX_DEPTH = 4
#: characters of a column's middle line at least; table cells have fewer
_PROSE_CHARACTERS = 15
#: at least half of a column's lines are so wide, as a share of its wide ones
_FILLED = 0.7
#: a step up at more of a column's lines, or a change of column at more of a page's, is no reading order
_UPWARD, _TO_AND_FRO = 0.15, 0.6
#: an upward step of fewer lines is a formula's
_JUMP = 2.5
#: a line that reaches over the space between columns by less of its width still belongs to its column
_OVERHANG = 0.12

_Span = tuple[float, float]


class _Gutter(NamedTuple):
    """The space between two columns, and how wide the wide lines at its sides are."""

    left: float
    right: float
    widths: tuple[float, float]


def in_reading_order(lines: list[Line], *, trusted: bool = True) -> list[Line]:
    """The lines of a page as they are read; a line that runs on from one column into the next comes as two.

    Args:
        trusted: keep the order they come in where it can be a reading order; False for lines of a picture.
    """
    return _ordered(lines, trusted=trusted, depth=0)


def _ordered(lines: list[Line], *, trusted: bool, depth: int) -> list[Line]:
    gutter = _gutter(lines) if depth < _MAX_DEPTH and len(lines) >= _MIN_LINES else None
    if gutter is None:
        return _one_column(lines, trusted=trusted)
    parts = _parts(lines, gutter)
    sides = [_side(part, gutter) for part in parts]
    across = sorted((-_middle(p), i) for i, p in enumerate(parts) if sides[i] is None)
    if trusted and len(parts) == len(lines) and not _to_and_fro(sides, len(across)):
        return _one_column(lines, trusted=True)
    columns: list[tuple[list[Line], list[Line]]] = [([], []) for _ in range(len(across) + 1)]
    for part, side in zip(parts, sides, strict=True):
        if side is not None:
            columns[bisect(across, (-_middle(part), -1))][side].append(part)
    out: list[Line] = []
    held: list[int] = []
    for band, sides_of_band in enumerate(columns):
        if any(sides_of_band):
            out += _one_column([parts[i] for i in sorted(held)], trusted=trusted)
            held = []
        for column in sides_of_band:
            out += _ordered(column, trusted=trusted, depth=depth + 1)
        held += [i for _, i in across[band : band + 1]]
    return out + _one_column([parts[i] for i in sorted(held)], trusted=trusted)


def _middle(line: Line) -> float:
    return line.bottom + line.size / 2


def _gutter(lines: list[Line]) -> _Gutter | None:
    """The space that has most cells on either side of it, where both sides are columns of prose."""
    cells = [(span, text, line) for line in lines for span, text in zip(line.spans, line.cells, strict=True)]
    low, high = min(span[0] for span, _, _ in cells), max(span[1] for span, _, _ in cells)
    size = sorted(line.size for line in lines)[len(lines) // 2]
    if not size < high - low < 10_000:
        return None
    ends, starts = [0] * (int(high - low) + 2), [0] * (int(high - low) + 2)
    for (left, right), _, _ in cells:
        ends[int(right - low) + 1] += 1
        starts[int(left - low)] += 1
    before = list(accumulate(ends))  # cells that end at or before each point
    after = list(accumulate(reversed(starts)))[::-1]  # cells that begin at or after it
    least = [min(b, a) for b, a in zip(before, after, strict=True)]
    best = max(least)
    if best < _MIN_LINES:
        return None
    clear = max(b + a for b, a, n in zip(before, after, least, strict=True) if n == best)  # fewest lines cross there
    runs = _runs([i for i, n in enumerate(least) if n == best and before[i] + after[i] == clear])
    first, last = max(runs, key=lambda run: run[1] - run[0])
    if last - first < 0.5 * size:
        return None
    sides = ([c for c in cells if c[0][1] < low + first + 1], [c for c in cells if c[0][0] >= low + last])
    top, bottom = (
        min(max(_middle(line) for _, _, line in side) for side in sides),
        max(min(_middle(line) for _, _, line in side) for side in sides),
    )
    widths = []
    for side in sides:
        beside = [
            (span[1] - span[0], len(text)) for span, text, line in side if bottom - size < _middle(line) < top + size
        ]
        width = sorted(w for w, _ in beside)[-(len(beside) // 10) - 1] if beside else 0.0
        filled = sum(w > _FILLED * width for w, _ in beside)
        if len(beside) < _MIN_LINES or 2 * filled < len(beside):
            return None
        if sorted(n for _, n in beside)[len(beside) // 2] < _PROSE_CHARACTERS:
            return None
        widths.append(width)
    return _Gutter(low + first, low + last, (widths[0], widths[1]))


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _parts(lines: list[Line], gutter: _Gutter) -> list[Line]:
    """The lines, those with text in both columns cut in two; rows of a table that lies across them stay whole."""
    middle = (gutter.left + gutter.right) / 2
    both = [i for i, line in enumerate(lines) if _divides(line, middle)]
    both.sort(key=lambda i: -lines[i].bottom)
    filled = []
    for i in both:
        pieces = _cut(lines[i], middle)
        filled.append(all(p.right - p.left > _FILLED * w for p, w in zip(pieces, gutter.widths, strict=True)))
    prose = {i for at, i in enumerate(both) if 5 * sum(near := filled[max(0, at - 3) : at + 4]) >= 2 * len(near)}
    return [part for i, line in enumerate(lines) for part in (_cut(line, middle) if i in prose else (line,))]


def _divides(line: Line, middle: float) -> bool:
    return line.left < middle < line.right and not any(left < middle < right for left, right in line.spans)


def _cut(line: Line, middle: float) -> tuple[Line, Line]:
    at = sum(right <= middle for _, right in line.spans)
    first = Line(line.cells[:at], line.spans[:at], line.bottom, line.size)
    return first, Line(line.cells[at:], line.spans[at:], line.bottom, line.size, line.divided)


def _side(line: Line, gutter: _Gutter) -> int | None:
    """0 for the column on the left, 1 for that on the right, None for a line across both."""
    allowed = _OVERHANG * (line.right - line.left)
    if line.right <= gutter.right + allowed and line.left < gutter.left:
        return 0
    if line.left >= gutter.left - allowed and line.right > gutter.right:
        return 1
    return None


def _to_and_fro(sides: list[int | None], across: int) -> bool:
    inside = [side for side in sides if side is not None]
    changes = sum(a != b for a, b in pairwise(inside))
    return changes > 2 * across + 2 and changes > _TO_AND_FRO * len(inside)


def _one_column(lines: list[Line], *, trusted: bool) -> list[Line]:
    """The lines of a column from its top, where their own order cannot be trusted."""
    upward = sum(
        b.bottom > a.bottom + _JUMP * a.size and b.left < a.right and a.left < b.right for a, b in pairwise(lines)
    )
    if trusted and (upward < _MIN_LINES or upward <= _UPWARD * len(lines)):
        return lines
    levels: list[list[Line]] = []
    for line in sorted(lines, key=_middle, reverse=True):
        if levels and _middle(levels[-1][0]) - _middle(line) < 0.5 * min(levels[-1][0].size, line.size):
            levels[-1].append(line)
        else:
            levels.append([line])
    return [line for level in levels for line in sorted(level, key=lambda line: line.left)]
