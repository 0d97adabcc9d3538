"""Tables with merged cells to full rows: each row can be read by itself, without the row or column it borrows from.

Shared by the loaders whose formats merge cells (Word, PowerPoint, OpenDocument, HTML, JATS).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from groundtune.ingest.sectioning import row_of

_MAX_COLUMNS = 1_000
#: a longer text is not repeated in the other places that its merged cell covers
_MAX_REPEATED_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as written: its text, how many columns and rows it covers.

    ``text`` None is a place that continues the cell above it.
    """

    text: str | None
    columns: int = 1
    rows: int = 1


def full_rows(rows: Iterable[Iterable[Cell]]) -> Iterator[list[str]]:
    """The rows with the text of merged cells in every place they cover, one at a time."""
    hanging: dict[int, tuple[str, int]] = {}  # column -> (text, rows still covered)
    above: list[str] = []
    for cells in rows:
        out: list[str] = []
        below: dict[int, tuple[str, int]] = {}
        for cell in cells:
            _hang(out, hanging, below)
            for place in range(max(1, min(cell.columns, _MAX_COLUMNS - len(out)))):
                if cell.text is None:
                    text = _repeated(above[len(out)]) if len(out) < len(above) else ""
                else:
                    text = _repeated(cell.text) if place else cell.text
                if cell.rows > 1:
                    below[len(out)] = (_repeated(text), cell.rows - 1)
                out.append(text)
        _hang(out, hanging, below)
        hanging, above = below, out
        if out and all(out) and [text for text, _ in below.values()] == out:  # nothing that the row below lacks
            continue
        yield out


def _hang(out: list[str], hanging: dict[int, tuple[str, int]], below: dict[int, tuple[str, int]]) -> None:
    """Fill the next places of a row that cells of earlier rows cover."""
    while len(out) in hanging:
        text, left = hanging[len(out)]
        if left > 1:
            below[len(out)] = (text, left - 1)
        out.append(text)


def _repeated(text: str) -> str:
    return text if len(text) <= _MAX_REPEATED_CHARACTERS else ""


def pipe_rows(rows: Iterable[Iterable[Cell]]) -> Iterator[str]:
    """The rows that are not blank as ``| a | b |``; a row that is one merged cell, and a single column, as plain text."""
    for row in full_rows(rows):
        written = [" ".join(text.split()) for text in row]
        single = len(row) > 1 and written[0] and len(set(written)) == 1
        if text := row_of(written[:1] if single else written):
            yield text
