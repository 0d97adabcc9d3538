"""PDF: one section a page, read with pypdfium2; paragraphs, list items and table rows found from where lines stand.

pdfium gives the text of a page line by line in the order of the file. A line that was wrapped (the next line's first
word would not have fitted) is joined with the next one, a word divided at a line's end is made whole, a line with wide
gaps is a table row ("| a | b |"). Leaves out pictures: a scanned page has no text and is passed over. pdfium is not
thread-safe: load one PDF at a time in a process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from groundtune.errors import InputError
from groundtune.ingest import reading, sectioning
from groundtune.ingest.pdf_layout import page_text, without_running_lines
from groundtune.ingest.pdf_tables import Line
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.records import Section

EXTENSIONS = (".pdf",)

_HYPHEN = "\ufffe"  # what pdfium puts for a hyphen that divides a word at a line's end
_TAIL_BYTES = 4096
#: a gap divides table cells from so many line heights, and from so many times the line's ordinary word space
_CELL_GAP, _CELL_GAP_STRETCHED = 0.8, 2.2
_LIGATURES = str.maketrans({
    "\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb05": "st", "\ufb06": "st",
    "\u00ad": None, "\x00": None, "\u00a0": " ",
})  # fmt: skip


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a page that has text, its number from 1; a heading at the page's top becomes ``heading``.

    A page with more than 20,000 characters comes as several sections. One page is in memory at a time, with its
    neighbours, by which the headers and footers that run through the document are known and left out.

    Raises:
        InputError: missing, empty, no PDF, cut off, encrypted, damaged, or without text on any page (scanned).
    """
    import pypdfium2  # type: ignore[import-untyped,unused-ignore]

    reading.check_file(path, "a PDF", signature=b"%PDF-")
    _check_end(path)
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        raise _refused(path, error) from error
    empty, pages = True, len(document)
    try:
        before: list[Line] = []
        here = _lines(path, document, 1)
        for number in range(1, pages + 1):
            after = _lines(path, document, number + 1) if number < pages else []
            text, heading = page_text(without_running_lines(here, before, after))
            for piece in sectioning.split_long(text):
                empty = False
                yield Section(piece, page=number, heading=heading)
            before, here = here, after
    finally:
        document.close()
    if empty:
        raise InputError(
            f"{path} has no text on its {pages} page{'s' if pages != 1 else ''}: it seems to be scanned",
            expected="a PDF with a text layer",
            next_step="run text recognition on it first, for example: ocrmypdf in.pdf out.pdf",
        )


def _check_end(path: Path) -> None:
    """A PDF ends with a pointer to its index; without it the file was cut off, and pages may be lost silently."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        tail = stream.read()
    if b"%%EOF" not in tail and b"startxref" not in tail:
        raise _damaged(path, "it is cut off, its end marker is missing")


def _refused(path: Path, error: Exception) -> InputError:
    if "password" in str(error).lower() or "security" in str(error).lower():
        return InputError(f"{path} is encrypted", expected="a PDF that opens without a password",
                          next_step="save a copy without password protection")  # fmt: skip
    return _damaged(path, str(error))


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is a damaged PDF: {reason}", expected="a whole PDF",
                      next_step="copy or download it again, or print it to a new PDF")  # fmt: skip


def _lines(path: Path, document: Any, number: int) -> list[Line]:
    """The lines of a page in file order, with their boxes in points."""
    import pypdfium2  # type: ignore[import-untyped,unused-ignore]

    try:
        with closing(document[number - 1]) as page, closing(page.get_textpage()) as textpage:
            text = _characters(textpage)
            out: list[Line] = []
            start = 0
            for at, character in enumerate(text + "\n"):
                if character in "\r\n" or character == _HYPHEN:
                    if line := _line(textpage, text, start, at, divided=character == _HYPHEN):
                        out.append(line)
                    start = at + 1
            return out
    except pypdfium2.PdfiumError as error:
        raise _damaged(path, f"page {number} of {len(document)} cannot be read") from error


def _characters(textpage: Any) -> str:
    """The page's text with one character for each of pdfium's, so that an index serves both."""
    import pypdfium2.raw as pdfium  # type: ignore[import-untyped,unused-ignore]

    text: str = textpage.get_text_range()
    count: int = textpage.count_chars()
    if len(text) != count:
        codes = [pdfium.FPDFText_GetUnicode(textpage, i) for i in range(count)]
        text = "".join(_HYPHEN if c == 2 else chr(c) if c < 0xD800 or 0xDFFF < c <= 0x10FFFF else " " for c in codes)
    return text


def _line(textpage: Any, text: str, start: int, end: int, *, divided: bool) -> Line | None:
    """The line of the characters from start to end, or None where it is blank."""
    while start < end and not text[start].strip("\x00 \t\u00a0"):
        start += 1
    while start < end and not text[end - 1].strip("\x00 \t\u00a0"):
        end -= 1
    if start == end:
        return None
    letter = next((i for i in range(start, end) if text[i].isalnum()), start)  # a list mark may be set in another size
    _, bottom, _, top = textpage.get_charbox(letter, loose=True)
    size = max(top - bottom, 1.0)
    bounds = _cells(textpage, text, start, end, size)
    edges = [(textpage.get_charbox(a, loose=True), textpage.get_charbox(b - 1, loose=True)) for a, b in bounds]
    spans = tuple((first[0], last[2]) for first, last in edges)
    cells = tuple(text[first:last].translate(_LIGATURES).strip() for first, last in bounds)
    return Line(cells, spans, bottom, size, divided) if all(cells) else None


def _cells(textpage: Any, text: str, start: int, end: int, size: float) -> list[tuple[int, int]]:
    """Where each cell of a line begins and ends: cut at gaps much wider than the line's word spaces."""
    gaps: list[tuple[int, int, float]] = []  # end of a word, begin of the next, distance
    for word in re.finditer(r"[^ ]( +)(?=[^ ])", text[start:end]):
        last, following = start + word.start(1), start + word.end(1)
        left, right = textpage.get_charbox(last - 1, loose=True)[2], textpage.get_charbox(following, loose=True)[0]
        gaps.append((last, following, right - left))
    narrow = sorted(gap for _, _, gap in gaps)[len(gaps) // 4] if gaps else 0.0
    widest = max(_CELL_GAP * size, _CELL_GAP_STRETCHED * narrow if narrow < _CELL_GAP * size else 0.0)
    bounds, begin = [], start
    for last, following, gap in gaps:
        if gap > widest:
            bounds.append((begin, last))
            begin = following
    return [*bounds, (begin, end)]
