"""AsciiDoc (.adoc .asciidoc .asc): headings, lists, tables, code, admonitions, attributes filled in, links.

Leaves out comments, pictures, and files that it includes, which are documents of their own. Conditions (``ifdef``) are
not decided: what stands in them is kept.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from groundtune.ingest import reading, sectioning
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.ingest.sectioning import Block
from groundtune.ingest.table_grid import Cell, pipe_rows
from groundtune.ingest.word_blocks import table_blocks
from groundtune.records import Section

EXTENSIONS = (".adoc", ".asciidoc", ".asc")

_ATTRIBUTE = re.compile(r":(!?[\w][\w-]*!?):(?:\s+(.*))?$")
_HEADING = re.compile(r"(={1,6}|#{1,6})\s+(\S.*?)(?:\s+\1)?$")
_UNDERLINES = {"=": 1, "-": 2, "~": 3, "^": 4, "+": 5}
_MAX_TABLE_CHARACTERS = 4_000_000
_RAW = re.compile(r"(-{4,}|\.{4,}|\+{4,}|`{3,})(?:\w+)?$")
_FRAME = re.compile(r"(?:={4,}|\*{4,}|_{4,}|--|~{4,})$")
_TABLE = re.compile(r"([|,:!])={3,}$")
_ITEM = re.compile(r"\s*(\*{1,6}|-|\.{1,6}|\d{1,3}\.|[a-zA-Z]\.|<(?:\d+|\.)>|•)\s+(\S.*)$")
_TERM = re.compile(r"\s*(\S.*?)(:{2,4}|;;)(?:\s+(.*))?$")
_DIRECTIVE = re.compile(
    r"(?:include|ifdef|ifndef|ifeval|endif|image|video|audio|toc)::\S*\[.*\]$|(?:toc|image|video)::"
)
_MENU = r"menu:([^\[\]\s]{1,100})\[([^\]]{0,200})\]"
_CELL = re.compile(
    r"(?:(?<=\s)|^)(?:(?P<times>\d{1,3})\*|(?P<columns>\d{1,3})?(?:\.(?P<rows>\d{1,3}))?(?P<plus>\+))?"
    r"(?:[<^>](?:\.[<^>])?|\.[<^>])?(?P<style>[adehlmsv])?(?<!\\)\|",
    re.MULTILINE,
)
_INLINE = (
    (re.compile(r"\(\(\([^()]{1,500}\)\)\)"), ""),
    (re.compile(r"\[\[[^\[\]]{1,200}\]\]|anchor:[^\s\[]{1,200}\[[^\]]{0,200}\]"), ""),
    (re.compile(r"<<[^,<>]{1,200},\s*([^<>]{1,500})>>"), r"\1"),
    (re.compile(r"<<([^<>]{1,200})>>"), r"\1"),
    (re.compile(r"(?:link|xref):([^\[\s]{1,2000})\[([^\]]{0,500})\]"), None),
    (re.compile(r"\b((?:https?|ftp|irc)://[^\[\s<>]{1,2000}|mailto:[^\[\s]{1,200})\[([^\]]{0,500})\]"), None),
    (re.compile(_MENU), r"\1 > \2"),
    (re.compile(r"(?:kbd|btn):\[([^\]]*)\]"), r"\1"),
    (re.compile(r"footnote(?:ref)?:[\w-]*\[([^\]]*)\]"), r" (\1)"),
    (re.compile(r"(?:stem|latexmath|asciimath):\[([^\]]*)\]"), r"$\1$"),
    (re.compile(r"(?:image|icon):[^\[\s]{0,500}\[([^\]]{0,500})\]"), ""),
    (re.compile(r"pass:\w*\[([^\]]*)\]"), r"\1"),
    (re.compile(r"\(\(([^()]{1,500})\)\)"), r"\1"),
    (re.compile(r"(?:\[[^\[\]\s]{0,100}\])?(\*\*|__|``|##|\+\+\+?)(?=\S)(.{1,500}?)\1"), r"\2"),
    (re.compile(r"(?<![\w\\*_`#+])(?:\[[^\[\]]{0,100}\])?([*_`#+])(?=[^\s*_`#+])(.{1,500}?)(?<=\S)\1(?![\w])"), r"\2"),
    (re.compile(r"\^([^\s^]{1,50})\^|~([^\s~]{1,50})~"), lambda m: m[1] or m[2]),
    (re.compile(r"\\(?=[*_`#+{<\[:^~])"), ""),
    (re.compile(r"(?<=\w)--(?=\w)| -- "), " — "),
)
_BUILT_IN = {"nbsp": " ", "empty": "", "blank": "", "sp": " ", "zwsp": "", "lt": "<", "gt": ">", "amp": "&", "plus": "+",
             "startsb": "[", "endsb": "]", "vbar": "|", "caret": "^", "asterisk": "*", "tilde": "~", "backslash": "\\",
             "quot": '"', "apos": "'", "two-colons": "::", "cpp": "C++", "deg": "°"}  # fmt: skip


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a heading, with the path of headings above it.

    Reads line by line: memory grows with the largest table only.

    Raises:
        InputError: missing, empty, no text, or without text.
    """
    reading.check_file(path, "an AsciiDoc file")
    empty = True
    for section in sectioning.sections(_Reader(reading.lines(path)).blocks()):
        empty = False
        yield section
    if empty:
        reading.refuse_blank(path, "AsciiDoc with text")


class _Reader:
    """Reads the lines of one document once; knows its attributes so far."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._attributes = dict(_BUILT_IN)
        self._options = ""
        self._paragraph: list[str] = []
        self._list: list[str] = []
        self._size = 0
        self._continued = False  # the item goes on behind a blank line or a frame

    def blocks(self) -> Iterator[Block]:
        """The document's blocks."""
        for raw in self._lines:
            line = raw.rstrip()
            if line.startswith("////"):
                self._skip(line)
            elif line.startswith("//") or _DIRECTIVE.match(line):
                continue
            elif not line.strip():
                yield from self._end_paragraph()
            elif (raw_block := _RAW.match(line)) and not self._is_underline(line):
                yield from self._end()
                yield from self._raw(raw_block[1])
            elif fence := _TABLE.match(line):
                yield from self._end()
                yield from self._table(line, fence[1])
            else:
                yield from self._line(line)
        yield from self._end()

    def _line(self, line: str) -> Iterator[Block]:
        attribute = _ATTRIBUTE.match(line)
        heading = _HEADING.match(line)
        if attribute:
            yield from self._end_paragraph()
            self._attributes[attribute[1].strip("!").lower()] = self._inline(attribute[2] or "")
        elif self._is_underline(line):
            title = self._paragraph.pop()
            yield from self._end()
            yield Block(self._inline(title), _UNDERLINES[line[0]])
        elif heading and not self._paragraph:
            yield from self._end()
            yield Block(self._inline(heading[2]), len(heading[1]))
        elif _FRAME.match(line):
            yield from self._end_paragraph()
        elif re.match(r"\[.*\]$", line) and not self._paragraph:
            self._options = line
            if quoted := re.match(r"\[(?:quote|verse),\s*(.+)\]$", line):
                yield from self._end()
                yield Block(self._inline(quoted[1].replace('"', "")))
        elif line == "+":
            self._continued = True
        elif caption := re.match(r"\.([^\s.].*)$", line):
            yield from self._end()
            yield Block(self._inline(caption[1]))
        elif item := _ITEM.match(line):
            if not self._list:
                yield from self._end_paragraph()
            yield from self._add_item(item[1], item[2])
        elif (term := _TERM.match(line)) and not self._paragraph:
            yield from self._end_list_if_long()
            self._list.append(f"- {term[1]}" + (f": {term[3]}" if term[3] else ":"))
        else:
            yield from self._add(line)

    def _is_underline(self, line: str) -> bool:
        """True under a single line of text of about the same length: the two-line form of a heading."""
        same = len(line) >= 4 and line[0] in _UNDERLINES and not line.strip(line[0])
        return bool(same and len(self._paragraph) == 1 and abs(len(self._paragraph[0]) - len(line)) <= 2)

    def _add_item(self, mark: str, text: str) -> Iterator[Block]:
        yield from self._end_list_if_long()
        depth = len(mark) - 1 if mark[0] in "*." else 0
        if mark == "-" and self._list and re.match(r" *(?:\d+\.|\*)", self._list[-1]):
            depth = 1  # a dash below another kind of item is inside it
        shown = (
            "-"
            if mark[0] in "*-•"
            else f"{self._number(depth)}."
            if mark[0] == "."
            else mark.strip("<>").rstrip(".") + "."
        )
        self._list.append(f"{'  ' * depth}{shown} {text}")
        self._continued = False

    def _number(self, depth: int) -> int:
        """The number of the next item at this depth, one more than the last one's."""
        for line in reversed(self._list):
            indent = (len(line) - len(line.lstrip())) // 2
            if indent < depth:
                break
            if indent == depth and (number := re.match(r"\s*(\d+)\. ", line)):
                return int(number[1]) + 1
        return 1

    def _add(self, line: str) -> Iterator[Block]:
        if self._list and (not self._paragraph and (self._continued or self._list_open)):
            self._list[-1] += f" {line.strip()}"
            self._size += len(line)
            return
        if self._list:
            yield from self._end()
        self._paragraph.append(line)
        self._size += len(line)
        if self._size > sectioning.MAX_BLOCK_CHARACTERS:
            yield from self._end_paragraph()

    _list_open = True  # no blank line since the last item

    def _end_list_if_long(self) -> Iterator[Block]:
        self._list_open = True
        if self._size + sum(map(len, self._list[-1:])) > sectioning.MAX_BLOCK_CHARACTERS:
            yield from self._end()
        self._size += len(self._list[-1]) if self._list else 0

    def _end_paragraph(self) -> Iterator[Block]:
        self._list_open = self._continued
        if self._paragraph:
            text = " ".join(line.strip().removesuffix(" +") for line in self._paragraph)
            self._paragraph, self._size = [], 0
            yield Block(self._inline(text))

    def _end(self) -> Iterator[Block]:
        yield from self._end_paragraph()
        if self._list:
            lines, self._list, self._size = self._list, [], 0
            yield Block("\n".join(self._inline(line) for line in lines))
        self._continued = False

    def _skip(self, fence: str) -> None:
        for line in self._lines:
            if line.rstrip() == fence:
                return

    def _raw(self, fence: str) -> Iterator[Block]:
        """What stands between two fences, as it is written."""
        held: list[str] = []
        size = 0
        for line in self._lines:
            if line.rstrip() == fence:
                break
            held.append(line.rstrip())
            size += len(line)
            if size > sectioning.MAX_BLOCK_CHARACTERS:
                yield Block("\n".join(held))
                held, size = [], 0
        text = re.sub(r"\s*(?://|#|;;)?\s*(?:<(?:\d+|\.)>\s*)+(?=\n|$)", "", "\n".join(held))
        if text.strip():
            yield Block(text.strip("\n"))

    def _inline(self, text: str) -> str:
        """Text without inline marks, attributes filled in; a link to elsewhere keeps its address in brackets."""
        text = re.sub(r"(?<!\\)\{([\w-]+)\}", lambda m: self._attributes.get(m[1].lower(), m[0]), text)
        if not re.search(r"[*_`#+^~\[\]<>(\\]|--|::", text):
            return text
        kept: list[str] = []

        def keep(match: re.Match[str]) -> str:
            kept.append(match[1])
            return f"\ue0f3{len(kept) - 1}\ue0f3"

        text = re.sub(r"(?<![\w\\`])`\+(.+?)\+`(?!\w)", keep, text)
        for pattern, replacement in _INLINE:
            text = pattern.sub(_link if replacement is None else replacement, text)
        return re.sub("\ue0f3(\\d+)\ue0f3", lambda m: kept[int(m[1])] if int(m[1]) < len(kept) else "", text)

    def _table(self, fence: str, mark: str) -> Iterator[Block]:
        lines: list[str] = []
        size = 0
        for line in self._lines:
            if line.rstrip() == fence:
                break
            if not line.startswith("//"):
                lines.append(line)
                size += len(line)
            if size > _MAX_TABLE_CHARACTERS:  # the rest comes as text
                break
        options, self._options = self._options, ""
        text = "\n".join(lines)
        form = re.search(r"format=\"?(\w+)", options)
        if mark in ",:" or (form and form[1] in ("csv", "tsv", "dsv")):
            divider = {"tsv": "\t", "dsv": ":", "csv": ","}.get(form[1] if form else "", "," if mark == "," else ":")
            rows = [
                [Cell(self._inline(cell)) for cell in row] for row in csv.reader(io.StringIO(text), delimiter=divider)
            ]
        else:
            rows = _rows(text.replace("!", "|") if mark == "!" else text, _columns(options))
            rows = [[Cell(self._inline(cell.text or ""), cell.columns, cell.rows) for cell in row] for row in rows]
        yield from table_blocks(pipe_rows(rows))


def _link(match: re.Match[str]) -> str:
    address, label = match[1], match[2].partition(",")[0].strip().rstrip("^").strip('"')
    bare = address.removeprefix("mailto:")
    if not label:
        return bare
    return f"{label} ({bare})" if re.match(r"\w+://|mailto:", address) and bare not in label else label


def _columns(options: str) -> int:
    """How many columns ``[cols=...]`` names; 0 where it does not say."""
    found = re.search(r"cols=(?:\"([^\"]*)\"|([^,\]\s]+))", options)
    if not found:
        return 0
    parts = re.split(r"[,;]", (found[1] or found[2]).strip())
    counts = [int(many[1]) if (many := re.match(r"\s*(\d{1,3})\*", part)) else 1 for part in parts]
    return int(parts[0]) if len(parts) == 1 and parts[0].strip().isdigit() and found[2] else sum(counts)


def _rows(text: str, width: int) -> list[list[Cell]]:
    """The rows of a table; without a number of columns, as many as the first line with cells has."""
    cells: list[tuple[int, Cell]] = []  # (line, cell)
    line = 0
    marks = list(_CELL.finditer(text))
    for mark, after in zip(marks, [*marks[1:], None], strict=False):
        content = text[mark.end() : after.start() if after else len(text)].strip().replace("\\|", "|")
        columns, rows = int(mark["columns"] or 1), int(mark["rows"] or 1)
        cells += [(line, Cell(content, columns, rows))] * int(mark["times"] or 1)
        line += text.count("\n", mark.start(), after.start() if after else len(text))
    if not cells:
        return []
    width = width or sum(cell.columns for at, cell in cells if at == cells[0][0])
    out: list[list[Cell]] = [[]]
    covered: dict[int, int] = {}  # row -> columns that cells of rows above cover
    used = 0
    for _, cell in cells:
        if used + covered.get(len(out) - 1, 0) >= width:
            out.append([])
            used = 0
        out[-1].append(cell)
        used += cell.columns
        for row in range(len(out), len(out) + cell.rows - 1):
            covered[row] = covered.get(row, 0) + cell.columns
    return out
