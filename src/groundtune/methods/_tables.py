"""Table rows by the values of their columns, of whatever was ingested as a table (CSV, spreadsheets, JSON, Parquet, SQL).

Rows are chunks written ``header: value; header: value`` (:mod:`groundtune.ingest.rows`). They pass ``setup.passage_filter``
before anybody sees them. Leaves out tables inside of text documents, which are found by searching.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

from groundtune.methods._setup import Setup
from groundtune.records import Chunk

#: rows told of one look-up
MOST_ROWS = 5
#: values of a column that are told where none is near the one asked for; rows that are looked at for names of columns
MOST_VALUES, MOST_GUARDED = 12, 50
_CONDITION = re.compile(r"\s*([^=;]+?)\s*==?\s*([^;]*?)\s*(?:;|$)")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its chunk and its cells by column."""

    chunk: Chunk
    cells: tuple[tuple[str, str], ...]


class Tables:
    """The tables of a project.

    Args:
        setup: the project; its index holds the rows.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    @cached_property
    def rows(self) -> list[Row]:
        """Every row, in the order of the index."""
        only = self._setup.document
        chunks = self._setup.retriever.store.chunks()
        return [Row(c, cells_of(c.text)) for c in chunks if c.row is not None and only in (None, c.document)]

    def lookup(self, argument: str) -> tuple[list[Chunk], str]:
        """The rows that all conditions hold of, and what to say of them where that is not just the rows.

        Args:
            argument: ``column=value; column=value``; ``table=name`` means the file; a value alone may stand in any column.
        """
        wanted = conditions(argument)
        if not wanted:
            return [], "Write lookup[column=value], for example lookup[item=kayak]."
        rows = self.rows
        if not rows:
            return [], "There are no tables."
        tables = [v for c, v in wanted if c == "table"]
        if tables:
            rows = [r for r in rows if all(_plain(t) in _plain(r.chunk.document) for t in tables)]
            if not rows:
                known = sorted({r.chunk.document for r in self.rows})
                return [], f"No table {tables[0]!r}. Tables: {', '.join(known[:20])}."
        for column, value in [w for w in wanted if w[0] != "table"]:
            found = _matching(rows, column, value)
            if not found:
                return [], self._nothing(rows, column, value)
            rows = found
        kept = self._setup.passage_filter([r.chunk for r in rows[:MOST_ROWS]])
        more = len(rows) - MOST_ROWS
        note = f"{more} more rows; name another column to tell them apart." if more > 0 else ""
        return kept, note if kept else "No row that may be shown."

    def _nothing(self, rows: Sequence[Row], column: str, value: str) -> str:
        columns = {name: r for r in rows for name, _ in r.cells}
        if column and not any(_plain(column) in _plain(name) for name in columns):
            shown = [name for name in self._may_be_shown(columns, 0) if name][:30]
            return f"No column {column!r}. Columns: {', '.join(shown)}."
        values = {v: r for r in rows for name, v in r.cells if not column or _plain(column) in _plain(name)}
        near = self._may_be_shown({v: values[v] for v in get_close_matches(value, values, 3, cutoff=0.5)}, 1)
        shown = near or (self._may_be_shown(values, 1) if len(values) <= MOST_VALUES else [])
        there = f"; there is {', '.join(map(repr, shown))}" if shown else ""
        return f"No row with {column or 'any column'} = {value!r}{there}."

    def _may_be_shown(self, pieces: Mapping[str, Row], part: int) -> list[str]:
        """Those names (part 0) or values (1) of cells that are left of their rows behind the guards."""
        rows = {r.chunk.id: r.chunk for r in pieces.values()}
        left = {c.id: cells_of(c.text) for c in self._setup.passage_filter(list(rows.values())[:MOST_GUARDED])}
        return [p for p, r in pieces.items() if any(cell[part] == p for cell in left.get(r.chunk.id, ()))]


def cells_of(text: str) -> tuple[tuple[str, str], ...]:
    """The cells of a row's text; a piece without a header belongs to the cell before it."""
    cells: list[tuple[str, str]] = []
    for piece in text.split("; "):
        name, colon, value = piece.partition(": ")
        if colon or not cells:
            cells.append((name.strip(), value.strip()) if colon else ("", piece.strip()))
        else:
            cells[-1] = (cells[-1][0], f"{cells[-1][1]}; {piece}")
    return tuple(cells)


def conditions(argument: str) -> list[tuple[str, str]]:
    """(column, value) of each condition; "" as the column of a value that stands alone."""
    divided = argument if ";" in argument else re.sub(r",\s*(?=[^,=]+=)", ";", argument)
    out = []
    for piece in divided.split(";"):
        found = _CONDITION.fullmatch(piece)
        column, value = (found[1].strip("\"' ").casefold(), found[2]) if found else ("", piece)
        if value := value.strip("\"' "):
            out.append((column, value))
    return out


def _matching(rows: Sequence[Row], column: str, value: str) -> list[Row]:
    """Rows with the value in the column: the whole cell where there is such a row, else within a cell."""
    wanted, name = _plain(value), _plain(column)

    def holds(row: Row, whole: bool) -> bool:
        cells = [_plain(v) for n, v in row.cells if not name or name == _plain(n)]
        cells = cells or [_plain(v) for n, v in row.cells if name in _plain(n)]
        return any(cell == wanted if whole else wanted in cell for cell in cells)

    return [r for r in rows if holds(r, True)] or [r for r in rows if wanted and holds(r, False)]


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() or c in ".:" else " " for c in text.casefold()).split())
