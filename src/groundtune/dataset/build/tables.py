"""Questions from tables: "What is the <column> of <row's name>?", answered by the cell.

Pipe tables (``| a | b |`` lines of a section) and rows written as "header: value; header: value" (CSV, spreadsheets,
databases). A row is named by its first column that differs in every row, or by the fewest leading columns that do so
together; columns with one value throughout name nothing and are not asked for. Leaves out tables without a header,
sums, and rows that no columns tell apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from groundtune.dataset.build.templates import Fact, Place
from groundtune.records import Section

_TOTALS = re.compile(r"\s*(?:(?:sub|grand )?totals?|sum|average|mean|insgesamt|summe|gesamt|durchschnitt)\b", re.I)
_NUMBER = re.compile(r"[-+]?\d[\d,. ]*%?")
_CODE = re.compile(r"\d")
_UNITS = frozenset(
    "crowns euro euros eur usd gbp chf dollars pounds cents percent pct kg g km m cm mm l litres liters hours minutes "
    "seconds days weeks months years tokens bytes kb mb gb watts kw kwh celsius degrees pieces".split()
)
_PREPOSITIONS = frozenset("by in from to on of at for with per as since until about over under between".split())
#: column heads that are no noun phrases: asked for by name, in quotes
_NOT_NOUNS = frozenset(
    "yes no one two three four five six seven eight nine ten when where what who how why which if and or not is are "
    "was were has have made found given shown served used open closed valid renew start starts end ends free monday "
    "tuesday wednesday thursday friday saturday sunday weekdays weekday weekend january february march april may june "
    "july august september october november december".split()
)
#: "half day", "usual": what they qualify is not said
_QUALIFIERS = frozenset(
    "half full normal actual planned budgeted alarm stop single return usual extra other more less each per all new "
    "old".split()
)
MAX_COLUMNS = 30


@dataclass(frozen=True, slots=True)
class Row:
    """A table's row: its cells by column, the text it stands in, and where."""

    cells: dict[str, str]
    passage: str
    place: Place


def pipe_rows(text: str, place: Place) -> Iterator[list[Row]]:
    """The tables among a section's lines, each as its rows; a table without a usable header is left out."""
    run: list[tuple[int, list[str], str]] = []
    for number, line in enumerate([*text.splitlines(), ""], 1):
        stripped = line.strip()
        if stripped.startswith("|") and stripped.endswith("|") and len(stripped) > 2:
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", stripped[1:-1])]
            run.append((number, cells, stripped))
            continue
        if len(run) > 2:
            yield from _table(run, place)
        run = []


def _table(run: list[tuple[int, list[str], str]], place: Place) -> Iterator[list[Row]]:
    _, header, head_line = run[0]
    if not _is_header(header):
        return
    rows = [
        Row(
            dict(zip(header, cells, strict=True)),
            f"{head_line}\n{line}",
            Place(place.document, place.section, number, place.page, place.row),
        )
        for number, cells, line in run[1:]
        if len(cells) == len(header) and not _TOTALS.match(cells[0])
    ]
    if len(rows) > 1:
        yield rows


def _is_header(cells: Sequence[str]) -> bool:
    return (
        2 <= len(cells) <= MAX_COLUMNS
        and len({c.casefold() for c in cells}) == len(cells)
        and all(c and len(c.split()) <= 6 and not _NUMBER.fullmatch(c) and re.search(r"[^\W\d]", c) for c in cells)
        and not any(re.search(r"\d[:.]\d\d", c) for c in cells)  # opening hours: a row of a table without a header
    )


def written_rows(sections: Iterable[tuple[int, Section]], document: str) -> Iterator[list[Row]]:
    """Sections that are rows ("header: value; header: value"), grouped by heading (a sheet), as tables.

    Args:
        sections: (number from 1, section), of one document, those with a ``row`` only.
        document: its path.
    """
    groups: dict[str, list[tuple[int, Section]]] = {}
    for number, section in sections:
        groups.setdefault(section.heading, []).append((number, section))
    for group in groups.values():
        seen = Counter(key for _, s in group for key in _keys(s.text))
        headers = {key for key, count in seen.items() if count >= max(2, len(group) // 50)}
        rows = [
            Row(cells, s.text, Place(document, number, 1, s.page, s.row))
            for number, s in group
            if len(cells := _cells(s.text, headers)) >= 2 and not _TOTALS.match(next(iter(cells.values())))
        ]
        if len(rows) > 1:
            yield rows


def _keys(text: str) -> list[str]:
    return [key for piece in text.split("; ") if (key := piece.partition(": ")[0]) != piece and 0 < len(key) <= 60]


def _cells(text: str, headers: set[str]) -> dict[str, str]:
    """Cells by column; a cell next to a piece that may be a column or not is left out, as its end is uncertain."""
    cells: dict[str, str] = {}
    last = ""
    for piece in text.split("; "):
        key, colon, value = piece.partition(": ")
        if colon and key in headers and key not in cells:
            last, cells[key] = key, value
        elif colon and key not in headers and len(key.split()) <= 4:
            cells.pop(last, None)
            last = ""
        elif last:
            cells[last] += "; " + piece
    return {k: v.strip() for k, v in cells.items()}


def table_facts(rows: Sequence[Row], *, german: bool = False) -> Iterator[Fact]:
    """Every cell that can be asked for by its column and its row's name."""
    columns = list(dict.fromkeys(k for row in rows for k in row.cells))[:MAX_COLUMNS]
    constant = {c for c in columns if len({row.cells.get(c, "") for row in rows}) == 1}
    keys = key_columns(rows, [c for c in columns if c not in constant])
    if not keys:
        return
    context = [c for c in columns[:1] if c in constant and len(rows) > 1 and len(rows[0].cells[c].split()) <= 6]
    for row in rows:
        if not all(row.cells.get(k) for k in keys) or any(len(row.cells[k].split()) > 8 for k in keys):
            continue
        for column in columns:
            value = row.cells.get(column, "")
            if column in keys or column in constant or not value:
                continue
            questions = _questions(column, value, row, keys, context, german=german)
            named_by = tuple(f"{k}: {row.cells[k]}" for k in keys) if row.place.row is not None else ()
            yield Fact(questions, value, row.passage, "table", f"column {column}", row.place, named_by)


def key_columns(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """The columns that name a row: one with words before one with codes, else up to three leading ones together."""
    unique = [c for c in columns if _tells_apart(rows, [c]) and not _is_quantity(c, rows)]
    words = [c for c in unique if sum(not _CODE.search(r.cells.get(c, "0")) for r in rows) > 0.9 * len(rows)]
    if unique and unique[0] == columns[0] and not words:
        return [unique[0]]
    if words and columns.index(words[0]) <= 1:
        return [words[0]]
    if unique and columns.index(unique[0]) <= 1:
        return [unique[0]]
    for count in (2, 3):
        if _tells_apart(rows, columns[:count]) and len(columns) > count:
            return list(columns[:count])
    return []


def _is_quantity(column: str, rows: Sequence[Row]) -> bool:
    """True for a plural head over numbers ("Years: 12"): it counts something and names nothing."""
    phrase = _noun_phrase(column)
    return bool(phrase and phrase[1]) and all(_NUMBER.fullmatch(r.cells.get(column, "")) for r in rows)


def _tells_apart(rows: Sequence[Row], columns: Sequence[str]) -> bool:
    values = [tuple(row.cells.get(c, "").casefold() for c in columns) for row in rows]
    return len(set(values)) == len(values) and all(all(v) for v in values)


def _questions(
    column: str, value: str, row: Row, keys: Sequence[str], context: Sequence[str], *, german: bool
) -> tuple[str, ...]:
    named = [*context, *keys]
    name = ", ".join(row.cells[k] for k in named)
    pairs = " and ".join(f"{_phrase(k)} {_quoted(row.cells[k])}" for k in named)
    if german:
        full = " und ".join(f"{_spaced(k)} {row.cells[k]}" for k in named)
        return (
            f'Was steht unter "{_spaced(column)}" für {name}?',
            f'Welche Angabe gibt es unter "{_spaced(column)}" zu {full}?',
        )
    bare = name if len(named) == 1 and not _CODE.search(name) else pairs
    head = _noun_phrase(column)
    if head is None:
        quoted = f'"{_spaced(column)}"'
        return (f"What is listed under {quoted} for {bare}?", f"For the {pairs}, what is the entry under {quoted}?")
    phrase, plural = head
    verb = "are" if plural else "is"
    if plural and _NUMBER.fullmatch(value) and " in " not in phrase:
        return (f"How many {phrase} are listed for {bare}?", f"For the {pairs}, what is the number of {phrase}?")
    of = "for" if " for " in phrase or " of " in phrase or " in " in phrase or len(named) > 1 else "of"
    return (f"What {verb} the {phrase} {of} {bare}?", f"For the {pairs}, what {verb} the {phrase}?")


def _spaced(column: str) -> str:
    return " ".join(column.replace("_", " ").split())


def _quoted(value: str) -> str:
    return value if _CODE.search(value) or '"' in value else f'"{value}"'


def _phrase(column: str) -> str:
    """A column's name inside a sentence: the first word in lower case, all of them in Title Case; not abbreviations."""
    words = _spaced(column).split()
    small = [w if w[1:] != w[1:].lower() else w.lower() for w in words]
    return " ".join(small if all(w[0].isupper() for w in words) else [*small[:1], *words[1:]])


def _noun_phrase(column: str) -> tuple[str, bool] | None:
    """(the column's name as a noun phrase, whether it is plural); None where it may not be one."""
    words = _phrase(column).split()
    if "_" in column and len(words) > 1 and words[-1] in _UNITS:
        words[-1:] = ["in", words[-1]]
    if len(words) > 1 and re.fullmatch(r"(?:19|20)\d\d", words[-1]):
        words[-1:] = [words[-1]] if words[-2] in _PREPOSITIONS else ["in", words[-1]]
    if (
        not words
        or not re.fullmatch(r"[^\W\d_]{2,}[\w'-]*", words[0])
        or words[0] in _NOT_NOUNS
        or words[0] in _PREPOSITIONS
        or words[-1] in _PREPOSITIONS
        or words[-1] in _NOT_NOUNS
        or (words[0] in _QUALIFIERS and len(words) <= 2 and not words[-1].endswith("s"))
        or any(not re.fullmatch(r"[\w'-]+", w) for w in words)
        or (len(words) == 1 and re.search(r"(?:ed|ing)$", words[0]))
    ):
        return None
    head = next((words[i - 1] for i, w in enumerate(words) if i and w in _PREPOSITIONS), words[-1])
    if re.search(r"(?:ed|held|kept|sold|lost|taken|bought|left)$", head) and words.index(head):
        head = words[words.index(head) - 1]
    plural = head.endswith("s") and not head.endswith(("ss", "us", "is", "series", "status"))
    return " ".join(words), plural or head in {"people", "men", "women", "children", "staff"}
