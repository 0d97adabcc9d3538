"""From the lines of a PDF page to its text: paragraphs, list items, table rows, and the heading at the page's top.

Pure geometry on what ``pdf_page`` or ``ocr`` read and ``pdf_order`` put in order; knows no PDF library.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from groundtune.ingest.pdf_tables import Line, with_rows
from groundtune.ingest.sectioning import LIST_ITEM, dashed, row_of

_NUMBERED = re.compile(
    r"(?:\d+(?:\.\d+)*\.?|[A-Z]\.|(?:Chapter|Section|Part|Appendix|Annex|Article) \w+[.:]?)\s+[^\W\d]"
)
_LEADER = re.compile(r"(?:\.{4,}|(?: \.){4,}) ?\S{1,6}$")  # an entry of a table of contents
_PAGE = re.compile(r"\bpage \d|^\W*\d+\W*$", re.IGNORECASE)
_PAGE_NUMBER = re.compile(r"\W*(?:page |p\. ?)?\d{1,4}(?: ?(?:/|of) ?\d{1,4})?\W*", re.IGNORECASE)
_KEPT_PREFIXES = frozenset({"self", "well", "half", "full", "part", "ex", "long", "short", "high", "low", "non"})


@dataclass(slots=True)
class _Paragraph:
    text: str
    size: float
    is_row: bool
    follows: str = "\n\n"  # what stands before it
    lines: list[Line] = field(default_factory=list)


def page_text(lines: list[Line]) -> tuple[str, str]:
    """The text of a page, paragraphs separated by blank lines, and the heading at its top ("" where there is none)."""
    if not lines:
        return "", ""
    lines = with_rows(lines)
    pitch = _pitch(lines)
    words = {w.strip(".,;:()\"'").lower() for line in lines for w in line.text.split()}
    paragraphs: list[_Paragraph] = []
    edge = 0.0  # the right edge of the block before
    for block in _blocks(lines, pitch):
        right = max(line.right for line in block)
        left = min(line.left for line in block)
        for i, line in enumerate(block):
            previous = block[i - 1] if i else None
            carried = i == 0 and bool(paragraphs) and _carried_over(paragraphs[-1], edge, line)
            if carried or (previous and _continues(previous, line, left, right, paragraphs[-1])):
                last, previous = paragraphs[-1], previous or paragraphs[-1].lines[-1]
                last.text = _joined(last.text, line.text, divided=previous.divided, words=words)
                last.lines.append(line)
            else:
                _end_divided(paragraphs)
                listed = LIST_ITEM.match(line.text) or _LEADER.search(line.text)
                tight = previous is not None and (line.is_row or listed is not None)
                text = row_of(line.cells) if line.is_row else dashed(line.text)
                paragraphs.append(_Paragraph(text, line.size, line.is_row, "\n" if tight else "\n\n", [line]))
        edge = right
    _end_divided(paragraphs)
    text = "".join(f"{p.follows}{' '.join(p.text.split())}" for p in paragraphs)
    return text.strip(), _heading(paragraphs, _body_size(lines))


def without_running_lines(lines: list[Line], before: list[Line], after: list[Line]) -> list[Line]:
    """A page without its running header and footer: its first or last line that a neighbouring page has as well.

    Digits may differ, as page numbers do. A line set larger than the page's text is a title, and a table row that is
    quite the same is a table's header: both stay.
    """
    out = list(lines)
    for end in (0, -1):
        others = [line for page in (before, after) for line in (*page[:2], *page[-2:])]
        for _ in range(2):  # a header may have two lines, and a footer may stand first in the file
            if not out or (len(out) > 1 and out[end].size > 1.05 * _body_size(out) and not _PAGE.search(out[end].text)):
                break
            number = _PAGE_NUMBER.fullmatch(out[end].text) and not _beside_another(out, end)
            if number or any(_same_running(out[end], other) for other in others):
                del out[end]
    return out


def _beside_another(lines: list[Line], at: int) -> bool:
    """True for a line that has another at its height, as the cells of a row have."""
    one = lines[at]
    return any(line is not one and abs(line.bottom - one.bottom) < 0.3 * one.size for line in lines)


def _same_running(line: Line, other: Line) -> bool:
    masked, other_masked = (re.sub(r"\d+", "0", each.text) for each in (line, other))
    numbered = line.text != other.text
    return masked == other_masked and (numbered or not line.is_row) and abs(line.bottom - other.bottom) < 2 * line.size


def _pitch(lines: list[Line]) -> float:
    """The distance of baselines inside paragraphs: the lower quartile of the steps between lines of one size."""
    pairs = ((a.bottom - b.bottom, a.size) for a, b in pairwise(lines) if _same_size(a, b))
    steps = sorted(step for step, size in pairs if 0.5 * size < step < 3 * size)
    return steps[len(steps) // 4] if steps else lines[0].size


def _same_size(a: Line, b: Line) -> bool:
    return abs(a.size - b.size) <= 0.12 * max(a.size, b.size)


def _blocks(lines: list[Line], pitch: float) -> list[list[Line]]:
    """Runs of lines of one size without a gap, a jump up or a change between table and text."""
    blocks: list[list[Line]] = [[lines[0]]]
    for previous, line in pairwise(lines):
        step = previous.bottom - line.bottom
        apart = step > max(1.25 * pitch, 1.2 * previous.size) or step < 0.3 * previous.size
        if previous.is_row and line.is_row:
            apart = step > 3 * previous.size or step < 0
        sideways = line.left > previous.right or line.right < previous.left
        if (apart or sideways or previous.is_row != line.is_row or not _same_size(previous, line)) and not (
            previous.divided and not apart
        ):
            blocks.append([])
        blocks[-1].append(line)
    return blocks


def _continues(previous: Line, line: Line, left: float, right: float, paragraph: _Paragraph) -> bool:
    """True where a line goes on with the paragraph of the line before: it was wrapped, not ended."""
    if previous.divided:
        return True
    if line.is_row or paragraph.is_row or LIST_ITEM.match(line.text) or _LEADER.search(previous.text):
        return False
    first = paragraph.lines[0]
    hanging = LIST_ITEM.match(first.text) is not None
    if line.left > previous.left + 0.8 * line.size and previous.left < left + 0.5 * line.size and not hanging:
        return False  # a first line's indent
    word = line.text.split(maxsplit=1)[0]
    letter = (line.right - line.left) / max(len(line.text), 1)
    return previous.right + (len(word) + 1) * letter > right - 0.5 * line.size


def _end_divided(paragraphs: list[_Paragraph]) -> None:
    """Give the last word its hyphen back where its other half does not follow."""
    if paragraphs and paragraphs[-1].lines[-1].divided:
        paragraphs[-1].text += "-"


def _carried_over(paragraph: _Paragraph, edge: float, line: Line) -> bool:
    """True where a column's first line goes on with the paragraph at the end of the column before."""
    last = paragraph.lines[-1]
    higher = line.bottom > last.bottom + 3 * last.size and (line.left > last.right or line.right < last.left)
    if not higher or len(paragraph.text) < 30 or line.is_row or paragraph.is_row or not _same_size(last, line):
        return False
    full = last.right > edge - 3 * last.size
    return last.divided or (full and paragraph.text[-1] not in ".!?:;" and line.text[:1].islower())


def _joined(text: str, following: str, *, divided: bool, words: set[str]) -> str:
    """Two lines of a paragraph as one, the divided word between them made whole."""
    if not divided and not re.search(r"\w-$", text):
        return f"{text} {following}"
    stem = text.removesuffix("-") if not divided else text
    before, after = re.split(r"[\s(\"']", stem)[-1], following.split(maxsplit=1)[0]
    whole, hyphenated = (f"{before}{mark}{after}".strip(".,;:()\"'").lower() for mark in ("", "-"))
    keep = not after[:1].islower() or "-" in before or hyphenated in words or before.lower() in _KEPT_PREFIXES
    return f"{stem}{'-' if keep and whole not in words else ''}{following}"


def _body_size(lines: list[Line]) -> float:
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[round(line.size, 1)] += len(line.text)
    return sizes.most_common(1)[0][0]


def _heading(paragraphs: list[_Paragraph], body: float) -> str:
    """The headings among the first paragraphs: set larger, numbered, or a short title above longer text."""
    titles: list[str] = []
    for at, paragraph in enumerate(paragraphs[:4]):
        text = " ".join(paragraph.text.split())
        words = text.split()
        short = len(text) <= 100 and len(words) <= 14 and text[-1] not in ".,;:" and any(c.isalpha() for c in text)
        larger = paragraph.size > 1.1 * body
        above = at + 1 < len(paragraphs) and len(paragraphs[at + 1].text) > 80 and len(words) <= 8
        titled = at == 0 and above and (text[0].isupper() or text[0].isdigit()) and paragraph.size >= 0.95 * body
        if not short or paragraph.is_row or not (larger or titled or _NUMBERED.match(text)):
            if titles or len(text) > 100:
                break
            continue
        if titles and paragraph.size > paragraphs[at - 1].size * 1.05:
            break
        titles.append(text)
    return " > ".join(titles[:2])
