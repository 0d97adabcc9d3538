"""PDF: one section a page, read with pypdfium2: paragraphs, list items, table rows, columns; scanned pages through OCR.

Lines come from ``pdf_page``, their order from ``pdf_order``, table rows from ``pdf_tables``, paragraphs and headings
from ``pdf_layout``. A page without a text layer, or with hardly any text beside a picture that fills it, is recognised
by ``ocr`` where that extra is installed. What could not be read is never lost silently: the generator returns it. pdfium
is not thread-safe: load one PDF at a time in a process.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groundtune.errors import InputError
from groundtune.ingest import ocr, pdf_page, pdf_streams, reading, sectioning
from groundtune.ingest.pdf_layout import page_text, without_running_lines
from groundtune.ingest.pdf_order import in_reading_order
from groundtune.ingest.pdf_tables import Line
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.records import Section

EXTENSIONS = (".pdf",)

_TAIL_BYTES = 4096
#: a page with fewer letters and digits, and a picture on at least so much of it, is a scanned one with a stamp
_FEW_LETTERS, _PAGE_FILLING = 60, 0.5
#: so many unreadable pages at its beginning are a damaged document
_MAX_UNREADABLE = 50
_THUMBNAIL_DPI, _THUMBNAIL_PIXELS = 30, 400
_UNREADABLE = "damaged, cannot be read"
_PICTURE = "a picture in which no text was recognised"
_ABSENT, _OFF = f"text recognition is not installed ({ocr.INSTALL})", "ingest.ocr is off"


@dataclass(slots=True)
class _Page:
    lines: list[Line] = field(default_factory=list)  # the main direction, in reading order
    turned: list[list[Line]] = field(default_factory=list)  # other directions
    notes: list[str] = field(default_factory=list)
    lost: str = ""  # why its text is missing


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Generator[Section, None, tuple[str, ...]]:
    """Yield one section a page that has text, its number from 1; a heading at the page's top becomes ``heading``.

    A page with more than 20,000 characters comes as several sections. One page is in memory at a time, with its
    neighbours, by which the headers and footers that run through the document are known and left out. A page takes
    about 5 ms, recognised from a picture about 3 s on two cores.

    Returns:
        What was left out, one line for each reason with its pages ("pages 3, 7-9: scanned, not recognised ..."); empty
        where all pages were read. ``yield from`` and ``StopIteration.value`` give it.

    Raises:
        InputError: missing, empty, no PDF, cut off, damaged, encrypted and opened by none of ``options.passwords``, or
            without text on any page.
    """
    ocr.seconds_spent = 0.0
    reading.check_file(path, "a PDF", signature=b"%PDF-")
    _check_end(path)
    if size := pdf_streams.largest_over_limit(path):
        raise _damaged(path, f"a part of it unpacks to over {size >> 20} MB, more than a page can hold")
    document = _opened(path, options.passwords)
    empty, lost = True, dict[str, list[int]]()
    try:
        pages = len(document)
        before, here = _Page(), _page(document, 1, options)
        for number in range(1, pages + 1):
            after = _page(document, number + 1, options) if number < pages else _Page()
            if here.lost:
                lost.setdefault(here.lost, []).append(number)
                if len(lost.get(_UNREADABLE, ())) == number == _MAX_UNREADABLE:
                    raise _damaged(path, f"none of its first {number} pages can be read")
            text, heading = _text(before, here, after)
            for piece in sectioning.split_long(text):
                empty = False
                yield Section(piece, page=number, heading=heading)
            before, here = here, after
    finally:
        document.close()
    if empty:
        raise _without_text(path, pages, lost)
    return tuple(f"{_pages(numbers)}: {reason}" for reason, numbers in lost.items())


def _text(before: _Page, here: _Page, after: _Page) -> tuple[str, str]:
    """The text of a page and the heading at its top."""
    text, heading = page_text(without_running_lines(here.lines, before.lines, after.lines))
    turned = (page_text(lines)[0] for lines in here.turned)
    return "\n\n".join(part for part in (text, *turned, "\n".join(here.notes)) if part), heading


def _page(document: Any, number: int, options: LoadOptions) -> _Page:
    """What stands on a page, read or recognised."""
    import pypdfium2  # type: ignore[import-untyped,unused-ignore]

    page = _Page()
    try:
        with closing(document[number - 1]) as source:
            runs = pdf_page.runs_of(source)
            page.notes = pdf_page.notes_of(document, source)
            if _letters(line for run in runs for line in run.lines) < _FEW_LETTERS and (
                recognised := _recognised(source, page, runs, options)
            ):
                page.lines = in_reading_order(recognised, trusted=False)
                return page
    except pypdfium2.PdfiumError:
        page.lost = _UNREADABLE
        return page
    if runs:
        page.lines, *page.turned = (in_reading_order(run.lines, trusted=run.upright) for run in runs)
    return page


def _letters(lines: Iterable[Line]) -> int:
    return sum(c.isalnum() for line in lines for c in line.text)


def _recognised(source: Any, page: _Page, runs: list[pdf_page.Run], options: LoadOptions) -> list[Line]:
    """The lines of a scanned page where it is one and they can be recognised; why not, in ``page.lost``."""
    scan = pdf_page.scan_of(source)
    if scan is None or (runs and scan.pictures < _PAGE_FILLING):
        return []
    known = options.ocr and ocr.available()
    if known and scan.too_large:
        page.lost = f"its picture of {scan.too_large // 1_000_000} megapixels is too large to be recognised"
        return []
    if known:
        image, points = pdf_page.image_of(source, ocr.DOTS_PER_INCH, ocr.MAX_SIDE_PIXELS)
        found = ocr.recognise(image, points)
        if not runs and not found and not pdf_page.is_blank(image):
            page.lost = _PICTURE
        return found if _letters(found) > _letters(line for run in runs for line in run.lines) else []
    if runs or not pdf_page.is_blank(pdf_page.image_of(source, _THUMBNAIL_DPI, _THUMBNAIL_PIXELS)[0]):
        what = "hardly any text beside a picture that fills the page" if runs else "scanned, without a text layer"
        page.lost = f"{what}; not recognised, {_OFF if not options.ocr else _ABSENT}"
    return []


def _opened(path: Path, passwords: Iterable[str]) -> Any:
    """The document, opened without a password or with the first that fits."""
    import pypdfium2  # type: ignore[import-untyped,unused-ignore]

    tried = list(dict.fromkeys(["", *passwords]))
    for password in tried:
        try:
            document = pypdfium2.PdfDocument(path, password=password or None)
        except pypdfium2.PdfiumError as error:
            refusal = str(error)
            if "password" not in refusal.lower():
                break
        else:
            pdf_page.open_forms(document)
            return document
    if "password" in refusal.lower():
        given = len(tried) - 1
        none = f", and none of the {given} passwords in ingest.passwords opens it" if given > 1 else ""
        one = ", and the password in ingest.passwords does not open it" if given == 1 else ""
        raise InputError(f"{path} is encrypted{none or one or ': its password is not in ingest.passwords'}",
                         expected="a PDF that opens without a password or with one of ingest.passwords",
                         next_step="add its password to `ingest.passwords` in groundtune.yaml")  # fmt: skip
    if "security" in refusal.lower():
        raise InputError(f"{path} is encrypted in a way that pdfium does not know", expected="a password-protected PDF",
                         next_step="save a copy without protection")  # fmt: skip
    raise _damaged(path, refusal)


def _check_end(path: Path) -> None:
    """A PDF ends with a pointer to its index; without it the file was cut off, and pages may be lost silently."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        tail = stream.read()
    if b"%%EOF" not in tail and b"startxref" not in tail:
        raise _damaged(path, "it is cut off, its end marker is missing")


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is a damaged PDF: {reason}", expected="a whole PDF",
                      next_step="copy or download it again, or print it to a new PDF")  # fmt: skip


def _without_text(path: Path, pages: int, lost: dict[str, list[int]]) -> InputError:
    """Why a document has no text at all."""
    if len(lost.get(_UNREADABLE, ())) == pages:
        return _damaged(path, f"none of its {pages} pages can be read")
    problem = f"{path} has no text on its {pages} page{'s' if pages != 1 else ''}: it seems to be scanned"
    if any(reason.endswith(_ABSENT) for reason in lost):
        return InputError(f"{problem}, and text recognition is not installed: {ocr.INSTALL}",
                          expected="a PDF with a text layer, or the extra `ocr`", next_step=ocr.INSTALL)  # fmt: skip
    if any(reason.endswith(_OFF) for reason in lost):
        return InputError(f"{problem}, and ingest.ocr is off", expected="a PDF with a text layer",
                          next_step="set `ingest.ocr: auto` in groundtune.yaml")  # fmt: skip
    why = "; ".join(f"{_pages(numbers)}: {reason}" for reason, numbers in lost.items())
    return InputError(f"{problem} or blank{f' ({why})' if why else ''}",
                      expected="a PDF with text, or with pictures of text in Latin, Greek, Chinese or Japanese script",
                      next_step="open it and look: leave it out, or scan it again with more contrast")  # fmt: skip


def _pages(numbers: list[int]) -> str:
    """Page numbers in ascending order as "pages 3, 7-9"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][-1] == number - 1:
            ranges[-1] = [ranges[-1][0], number]
        else:
            ranges.append([number])
    return f"page{'s' if len(numbers) > 1 else ''} " + ", ".join("-".join(map(str, r)) for r in ranges)
