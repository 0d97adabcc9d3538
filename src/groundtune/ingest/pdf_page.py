"""From a pdfium page to lines with boxes: turned upright, mirrored where the script runs right to left, cut into cells.

pdfium gives the characters of a page line by line in the order of the file, each with its box and angle. Lines that run
in one direction form a run with coordinates of its own in which text goes left to right and down the page, so that
``pdf_order``, ``pdf_tables`` and ``pdf_layout`` know no rotation and no right-to-left script. Also here: values of form
fields, notes, how much of a page pictures fill, and the page as an image. Leaves out reading order and layout.
"""

from __future__ import annotations

import ctypes
import logging
import math
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from groundtune.ingest.pdf_tables import Line

_HYPHEN = "\ufffe"  # what pdfium puts for a hyphen that divides a word at a line's end
#: a gap divides table cells from so many line heights, and from so many times the line's ordinary word space
_CELL_GAP, _CELL_GAP_STRETCHED = 0.8, 2.2
_LIGATURES = str.maketrans({
    "\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb05": "st", "\ufb06": "st",
    "\u00ad": None, "\x00": None, "\u00a0": " ",
})  # fmt: skip
_WORD = re.compile("[^ ]+")
_BLANK = "\x00 \t\u00a0"
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_ALEF_LAM = re.compile("[\u0622\u0623\u0625\u0627]\u0644")
_CONTROL = re.compile("[\x01-\x08\x0e-\x1f\x7f-\x9f]")
_LONE_CONTROL = re.compile(f"(?<!\\S){_CONTROL.pattern}(?!\\S)")
_UNMAPPED = re.compile("[\x01-\x08\x0e-\x1f\x7f-\x9f\ufffd\ue000-\uf8ff]")
#: share of a page's characters that map to no letter from which its text layer is worthless
_GARBLED = 0.3
#: a picture with more pixels is not decoded for text recognition
_MAX_PICTURE_PIXELS = 120_000_000
_MAX_OBJECTS = 2_000
_MAX_NOTE_BYTES = 200_000

Box = tuple[float, float, float, float]  # left, bottom, right, top


class Scan(NamedTuple):
    """What a page without usable text shows.

    Attributes:
        pictures: share of the page that pictures fill, 0 to 1.
        too_large: pixels of the largest picture where they are too many to decode, else 0.
    """

    pictures: float
    too_large: int


class Run(NamedTuple):
    """The lines of a page that run in one direction, as pdfium orders them.

    Attributes:
        lines: with coordinates in which text reads to the right and down.
        upright: they stand upright as the page is shown; of others pdfium's order is not that of the file.
    """

    lines: list[Line]
    upright: bool


def runs_of(page: Any) -> list[Run]:
    """The lines of a page, those of its main direction first, then of each other direction.

    Empty where the page has no text layer, or one in which three of ten characters map to no letter.

    Raises:
        PdfiumError: the page's text cannot be read.
    """
    with closing(page.get_textpage()) as textpage:
        text = _characters(textpage)
        if len(_UNMAPPED.findall(text)) > _GARBLED * len(text):
            return []
        by_quarter: dict[int, list[tuple[int, int, bool]]] = {}
        for start, end, divided in _ranges(text):
            by_quarter.setdefault(_quarter(textpage, text, start, end), []).append((start, end, divided))
        weights = {q: sum(end - start for start, end, _ in ranges) for q, ranges in by_quarter.items()}
        runs = []
        for quarter in sorted(by_quarter, key=lambda q: -weights[q]):
            ranges = by_quarter[quarter]
            mirrored = _mirrored("".join(text[start:end] for start, end, _ in ranges))
            frame = _Frame(textpage, text, quarter, mirrored)
            lines = (frame.line(start, end, divided=divided) for start, end, divided in ranges)
            if run := [line for line in lines if line]:
                runs.append(Run(run, quarter == page.get_rotation() // 90))
        return runs


def _characters(textpage: Any) -> str:
    """The page's text with one character for each of pdfium's, so that an index serves both."""
    import pypdfium2.raw as pdfium  # type: ignore[import-untyped,unused-ignore]

    text: str = textpage.get_text_range()
    count: int = textpage.count_chars()
    if len(text) != count:
        codes = [pdfium.FPDFText_GetUnicode(textpage, i) for i in range(count)]
        text = "".join(_HYPHEN if c == 2 else chr(c) if c < 0xD800 or 0xDFFF < c <= 0x10FFFF else " " for c in codes)
    pieces, done = [], 0
    for match in _ALEF_LAM.finditer(text):  # a ligature of two letters, which pdfium gives in the order of the eye
        at = match.start()
        if textpage.get_charbox(at) == textpage.get_charbox(at + 1):
            pieces += [text[done:at], text[at + 1], text[at]]
            done = at + 2
    return "".join([*pieces, text[done:]])


def _ranges(text: str) -> Iterator[tuple[int, int, bool]]:
    """Begin and end of each line that is not blank, and whether its last word goes on in the next."""
    start = 0
    for end in re.finditer(f"[\r\n{_HYPHEN}]|$", text):
        first, last = start, end.start()
        while first < last and text[first] in _BLANK:
            first += 1
        while first < last and text[last - 1] in _BLANK:
            last -= 1
        if first < last:
            yield first, last, end[0] == _HYPHEN
        start = end.end()


def _quarter(textpage: Any, text: str, start: int, end: int) -> int:
    """In how many quarter turns, counter-clockwise, a line runs."""
    import pypdfium2.raw as pdfium  # type: ignore[import-untyped,unused-ignore]

    letter = next((i for i in range(start, end) if text[i].isalnum()), start)
    angle: float = pdfium.FPDFText_GetCharAngle(textpage, letter)  # clockwise, in radians; -1 for a space made up
    return round(-angle / (math.pi / 2)) % 4 if math.isfinite(angle) and angle >= 0 else 0


def _mirrored(text: str) -> bool:
    letters = sum(map(str.isalpha, text))
    return 2 * len(_RIGHT_TO_LEFT.findall(text)) > letters > 0


def plain(text: str) -> str:
    """Letters for ligatures; a control character that stands alone is a bullet in a font of signs."""
    text = text.translate(_LIGATURES).strip()
    return _CONTROL.sub("", _LONE_CONTROL.sub("\u2022", text)) if _CONTROL.search(text) else text


class _Frame:
    """Coordinates in which the lines of one direction read from left to right and downward."""

    def __init__(self, textpage: Any, text: str, quarter: int, mirrored: bool) -> None:
        self.textpage, self.text, self.quarter, self.mirrored = textpage, text, quarter, mirrored

    def line(self, start: int, end: int, *, divided: bool) -> Line | None:
        """The line of the characters from start to end."""
        letter = next((i for i in range(start, end) if self.text[i].isalnum()), start)  # a list mark may be larger
        _, bottom, _, top = self._box(letter)
        size = max(top - bottom, 1.0)
        cells = self._cells(start, end, size)
        texts = tuple(plain(self.text[a:b]) for a, b, _ in cells)
        return Line(texts, tuple(span for _, _, span in cells), bottom, size, divided) if all(texts) else None

    def _cells(self, start: int, end: int, size: float) -> list[tuple[int, int, tuple[float, float]]]:
        """Begin, end, and left and right edge of each cell: cut at gaps much wider than the line's word spaces."""
        words = self._words(start, end)
        gaps = [after[2][0] - before[2][1] for before, after in pairwise(words)]
        narrow = sorted(gaps)[len(gaps) // 4] if gaps else 0.0
        widest = max(_CELL_GAP * size, _CELL_GAP_STRETCHED * narrow if narrow < _CELL_GAP * size else 0.0)
        cells, backward = [words[0]], False
        for gap, (first, last, span) in zip(gaps, words[1:], strict=True):
            # a part later in the file may stand before; a lone accent or raised number is none
            before = cells[-1][2][0] - span[1] > widest and (self.mirrored or last - first > 1)
            backward |= before
            if gap > widest or before:
                cells.append((first, last, span))
            else:
                begin, _, (left, right) = cells[-1]
                cells[-1] = (begin, last, (min(left, span[0]), max(right, span[1])))
        return sorted(cells, key=lambda cell: cell[2][0]) if backward else cells

    def _words(self, start: int, end: int) -> list[tuple[int, int, tuple[float, float]]]:
        """Begin, end and edges of each word; words that run against the line's direction are one."""
        words = [word.span() for word in _WORD.finditer(self.text, start, end)]
        out = words[:1]
        for first, last in words[1:]:
            if self._against(self.text[out[-1][0] : out[-1][1]]) and self._against(self.text[first:last]):
                out[-1] = (out[-1][0], last)
            else:
                out.append((first, last))
        return [(first, last, self._span(first, last)) for first, last in out]

    def _against(self, word: str) -> bool:
        """True for a word that runs against the line's direction; numbers keep their places."""
        found = _RIGHT_TO_LEFT.search(word) is not None
        return found != self.mirrored and any(map(str.isalpha, word))

    def _span(self, start: int, end: int) -> tuple[float, float]:
        first, last = self._box(start), self._box(end - 1)
        return min(first[0], last[0]), max(first[2], last[2])

    def _box(self, index: int) -> Box:
        left, bottom, right, top = self.textpage.get_charbox(index, loose=True)
        if self.quarter == 1:
            left, bottom, right, top = bottom, -right, top, -left
        elif self.quarter == 2:
            left, bottom, right, top = -right, -top, -left, -bottom
        elif self.quarter == 3:
            left, bottom, right, top = -top, left, -bottom, right
        return (-right, bottom, -left, top) if self.mirrored else (left, bottom, right, top)


def scan_of(page: Any) -> Scan | None:
    """What a page without usable text shows, or None where it is blank."""
    import pypdfium2.raw as pdfium  # type: ignore[import-untyped,unused-ignore]

    width, height = page.get_size()
    filled, largest, seen = 0.0, 0, 0
    for thing in page.get_objects(max_depth=4):
        seen += 1
        if thing.type == pdfium.FPDF_PAGEOBJ_IMAGE:
            left, bottom, right, top = thing.get_bounds()
            filled += abs(right - left) * abs(top - bottom)
            across, down = thing.get_px_size()
            largest = max(largest, across * down)
        if seen == _MAX_OBJECTS:
            break
    if not seen:
        return None
    return Scan(min(1.0, filled / max(width * height, 1.0)), largest if largest > _MAX_PICTURE_PIXELS else 0)


def image_of(page: Any, dots_per_inch: float, max_side: int) -> tuple[Any, float]:
    """The page as an image (height x width x 3, blue-green-red, 8 bits) and how many points a pixel is wide.

    Args:
        max_side: a page larger than so many pixels is drawn smaller.

    Raises:
        PdfiumError: the page cannot be drawn.
    """
    scale = min(dots_per_inch / 72, max_side / max(*page.get_size(), 1.0))
    with closing(page.render(scale=scale, rev_byteorder=False, prefer_bgrx=False)) as bitmap:
        image = bitmap.to_numpy()[..., :3].copy()
    return image, 1 / scale


def is_blank(image: Any) -> bool:
    """True where an image shows nothing but its background."""
    return image.size == 0 or int(image.max()) - int(image.min()) < 16


def open_forms(document: Any) -> None:
    """Make form fields readable; to be called before the first page is opened."""
    log = logging.getLogger("pypdfium2._helpers.document")
    disabled, log.disabled = log.disabled, True  # it warns of forms that have a second description, in XFA
    try:
        document.init_forms()
    finally:
        log.disabled = disabled


def notes_of(document: Any, page: Any) -> list[str]:
    """What stands in the form fields of a page ("name: value") and in its notes, in the order of the file."""
    import pypdfium2.raw as pdfium  # type: ignore[import-untyped,unused-ignore]

    out: list[str] = []
    for index in range(min(pdfium.FPDFPage_GetAnnotCount(page), _MAX_OBJECTS)):
        note = pdfium.FPDFPage_GetAnnot(page, index)
        if not note:
            continue
        try:
            kind = pdfium.FPDFAnnot_GetSubtype(note)
            if kind == pdfium.FPDF_ANNOT_WIDGET:
                text = _field(document.formenv, note) if document.formenv else ""
            elif kind in (pdfium.FPDF_ANNOT_LINK, pdfium.FPDF_ANNOT_POPUP):
                text = ""
            else:
                text = _string(partial(pdfium.FPDFAnnot_GetStringValue, note, b"Contents"))
        finally:
            pdfium.FPDFPage_CloseAnnot(note)
        if text and text not in out:
            out.append(text)
    return out


def _field(forms: Any, note: Any) -> str:
    """A form field as "name: value"; a ticked box as "name: yes"; "" where nothing was filled in."""
    import pypdfium2.raw as pdfium  # type: ignore[import-untyped,unused-ignore]

    kind = pdfium.FPDFAnnot_GetFormFieldType(forms, note)
    name = _string(partial(pdfium.FPDFAnnot_GetFormFieldAlternateName, forms, note))
    name = name or _string(partial(pdfium.FPDFAnnot_GetFormFieldName, forms, note))
    if kind in (pdfium.FPDF_FORMFIELD_CHECKBOX, pdfium.FPDF_FORMFIELD_RADIOBUTTON):
        if not pdfium.FPDFAnnot_IsChecked(forms, note):
            return ""
        value = _string(partial(pdfium.FPDFAnnot_GetFormFieldExportValue, forms, note))
        return f"{name}: {'yes' if value in ('', 'On', 'Yes', '1') else value}"
    if kind not in (pdfium.FPDF_FORMFIELD_TEXTFIELD, pdfium.FPDF_FORMFIELD_COMBOBOX, pdfium.FPDF_FORMFIELD_LISTBOX):
        return ""
    value = _string(partial(pdfium.FPDFAnnot_GetFormFieldValue, forms, note))
    return f"{name}: {value}" if name and value else value


def _string(read: Callable[[Any, int], int]) -> str:
    """A text that pdfium writes into a buffer, as one line."""
    size = read(None, 0)
    if not 2 < size <= _MAX_NOTE_BYTES:
        return ""
    buffer = (ctypes.c_ushort * (size // 2 + 1))()
    read(buffer, size)
    return " ".join(bytes(buffer).decode("utf-16-le", errors="ignore").split("\x00", 1)[0].split())
