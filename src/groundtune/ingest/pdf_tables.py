"""Lines of a PDF page, and which of them are table rows: what stands side by side, and aligned with the lines around.

Geometry only. Leaves out ruled lines, cells that span columns, and wrapped cells that are not aligned
at the top of their row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARKER = re.compile(r"[-*+•◦▪‣●○■□☐☑☒✓–—\ue000-\uf8ff]|\(?\d+(?:\.\d+)*[.)]?|\(?[A-Za-z][.)]")
_NEIGHBOURS = 8
#: how many line heights a wrapped cell may reach below the first line of its row
_MAX_ROW_HEIGHT = 6.0


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page; lengths in points, y upward.

    Attributes:
        cells: its text, one item unless wide gaps divide it.
        spans: left and right edge of each cell.
        bottom: the lower edge of its box.
        size: height of the box, about 1.2 times the font size.
        divided: a word goes on in the next line, its hyphen taken off.
    """

    cells: tuple[str, ...]
    spans: tuple[tuple[float, float], ...]
    bottom: float
    size: float
    divided: bool = False

    @property
    def text(self) -> str:
        """The cells as running text."""
        return " ".join(self.cells)

    @property
    def left(self) -> float:
        """Where the first cell begins."""
        return self.spans[0][0]

    @property
    def right(self) -> float:
        """Where the last cell ends."""
        return self.spans[-1][1]

    @property
    def is_row(self) -> bool:
        """True for a table row; a list mark or a heading's number before its text is none."""
        return len(self.cells) > 2 or (len(self.cells) == 2 and not _MARKER.fullmatch(self.cells[0].strip()))

    def whole(self) -> Line:
        """The line as one cell."""
        return Line((self.text,), ((self.left, self.right),), self.bottom, self.size, self.divided)


def with_rows(lines: list[Line]) -> list[Line]:
    """The lines with table rows made whole: cells on one height in one row, wrapped cells joined, and a line whose gaps
    align with nothing near it (justified text) as one cell.
    """
    lines = _side_by_side(lines)
    out: list[Line] = []
    for i, line in enumerate(lines):
        if len(line.cells) > 1 and (line.divided or not _in_table(lines, i)):
            line = line.whole()
        if out and (joined := _with_wrapped(out, line)):
            out[-1] = joined
        else:
            out.append(line)
    return out


def _side_by_side(lines: list[Line]) -> list[Line]:
    """Join lines at one height; a first cell of up to three lines may stand before the rest of its row."""
    out: list[Line] = []
    for line in lines:
        for back in range(1, min(3, len(out)) + 1):
            first, wrapped = out[-back], out[len(out) - back + 1 :]
            gap = line.left - first.right
            level = abs(line.bottom - first.bottom) < 0.3 * first.size and gap > -0.1 * first.size
            if not level or first.divided or any(not _below(first, w) for w in wrapped):
                continue
            if wrapped and (len(first.cells) > 1 or gap < 0.8 * first.size):
                continue
            del out[len(out) - back :]
            start = Line((" ".join([first.cells[0], *(w.text for w in wrapped)]), *first.cells[1:]), first.spans,
                         first.bottom, max(first.size, line.size), line.divided)  # fmt: skip
            line = _beside(start, line, apart=gap > 0.8 * first.size)
            break
        out.append(line)
    return out


def _below(first: Line, wrapped: Line) -> bool:
    """True for a further line of the same cell."""
    drop = first.bottom - wrapped.bottom
    return len(wrapped.cells) == 1 and abs(wrapped.left - first.left) < 2 and 0 < drop < 4 * first.size


def _beside(start: Line, line: Line, *, apart: bool) -> Line:
    if apart:
        cells, spans = (*start.cells, *line.cells), (*start.spans, *line.spans)
    else:
        cells = (*start.cells[:-1], f"{start.cells[-1]} {line.cells[0]}", *line.cells[1:])
        spans = (*start.spans[:-1], (start.spans[-1][0], line.spans[0][1]), *line.spans[1:])
    return Line(cells, spans, start.bottom, start.size, line.divided)


def _in_table(lines: list[Line], at: int) -> bool:
    """True where a line with cells aligns with one near it; between two rows may stand lines of wrapped cells."""
    around = range(max(0, at - _NEIGHBOURS), min(len(lines), at + _NEIGHBOURS + 1))
    near = (lines[i] for i in around if i != at and (len(lines[i].cells) > 1 or abs(i - at) <= 2))
    return any(_aligned(lines[at], other) for other in near)


def _aligned(line: Line, other: Line) -> bool:
    """True where at least half of the cells after the first begin, end or are centred where the other line's do."""
    near = 0.3 * line.size
    hits = 0
    for left, right in line.spans[1:]:
        hits += any(
            abs(left - l) < near or abs(right - r) < near or abs(left + right - l - r) < 2 * near
            for l, r in (other.spans[1:] if len(other.spans) > 1 else other.spans)  # noqa: E741
            if abs(l - line.left) >= near or len(other.spans) > 1
        )
    return 2 * hits >= len(line.spans) - 1


def _with_wrapped(out: list[Line], line: Line) -> Line | None:
    """The row at the end of ``out`` with this line as the rest of one of its cells or as its next cells, or None."""
    row, header = out[-1], next((o for o in reversed(out[:-1]) if o.is_row), None)
    near = 0.5 * row.size
    if not row.is_row or not -near < row.bottom - line.bottom < _MAX_ROW_HEIGHT * row.size:
        return None
    if abs(line.left - row.left) < near or len(line.cells) > len(row.cells):
        return None
    cells, spans = list(row.cells), list(row.spans)
    for cell, (left, right) in zip(line.cells, line.spans, strict=True):
        at = next((i for i, span in enumerate(spans) if abs(span[0] - left) < near), None)
        if at is not None:
            cells[at], spans[at] = f"{cells[at]} {cell}", (spans[at][0], max(spans[at][1], right))
        elif header and left > spans[-1][0] + near and any(abs(span[0] - left) < near for span in header.spans):
            cells.append(cell)
            spans.append((left, right))
        else:
            return None
    return Line(tuple(cells), tuple(spans), row.bottom, row.size, line.divided)
