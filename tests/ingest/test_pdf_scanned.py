"""Scanned pages: recognised where the extra is there, and never lost silently where it is not."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from groundtune.errors import InputError
from groundtune.ingest import ocr
from groundtune.ingest.loaders import pdf
from loading import read

needs_ocr = pytest.mark.skipif(not ocr.available(), reason=f"needs text recognition: {ocr.INSTALL}")
ENGLISH = [
    "The harbour office opens at nine o'clock and closes",
    "at half past five. A day ticket costs £12.50,",
    "children under seven pay nothing.",
]
GERMAN = ["Die Gebühr für große Boote beträgt 30 Kronen, außer", "an Sonn- und Feiertagen. Öffnungszeiten: täglich", "von 9 bis 17 Uhr, Änderungen möglich. Übergabe:"]  # fmt: skip
PRINTED = "This page holds text of its own, a sentence that is long enough to be a page and no stamp."


def draw(path: Path, *pages: Callable[[Any], None]) -> Path:
    from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped,unused-ignore]

    canvas = Canvas(str(path), pagesize=(420, 300))
    for paint in pages:
        canvas.setFont("Helvetica", 12)
        paint(canvas)
        canvas.showPage()
    canvas.save()
    return path


def lines(*texts: str, x: float = 40, y: float = 250) -> Callable[[Any], None]:
    def paint(canvas: Any) -> None:
        for i, text in enumerate(texts):
            canvas.drawString(x, y - 16 * i, text)

    return paint


def scan(folder: Path, *paints: Callable[[Any], None], turned: int = 0) -> Callable[[Any], None]:
    """The same drawn as a picture, as a scanner does."""
    import pypdfium2  # type: ignore[import-untyped,unused-ignore]
    from reportlab.lib.utils import ImageReader  # type: ignore[import-untyped,unused-ignore]

    def all_of(canvas: Any) -> None:
        for paint in paints:
            paint(canvas)

    document = pypdfium2.PdfDocument(draw(folder / "drawn.pdf", all_of))
    image = document[0].render(scale=150 / 72).to_pil().convert("L").rotate(turned, expand=True)
    document.close()
    size = (300, 420) if turned % 180 else (420, 300)

    def paint(canvas: Any) -> None:
        canvas.setPageSize(size)
        canvas.drawImage(ImageReader(image), 0, 0, *size)

    return paint


@needs_ocr
@pytest.mark.parametrize("text", [ENGLISH, GERMAN], ids=["English", "German"])
def test_a_scanned_page_is_recognised(tmp_path: Path, text: list[str]) -> None:
    (section,), lost = read(pdf, draw(tmp_path / "a.pdf", scan(tmp_path, lines(*text))))
    assert section.page == 1
    assert section.text == " ".join(text)
    assert lost == ()
    assert 0 < ocr.seconds_spent < 60


@needs_ocr
@pytest.mark.parametrize("turned", [90, 180])
def test_a_page_scanned_the_wrong_way_round_is_recognised(tmp_path: Path, turned: int) -> None:
    (section,), _ = read(pdf, draw(tmp_path / "a.pdf", scan(tmp_path, lines(*ENGLISH), turned=turned)))
    assert section.text == " ".join(ENGLISH)


@needs_ocr
def test_scanned_columns_are_read_one_after_the_other(tmp_path: Path) -> None:
    left = [f"left line {i} speaks of ferry" for i in range(6)]
    right = [f"right line {i} of the cabins" for i in range(6)]
    (section,), _ = read(pdf, draw(tmp_path / "a.pdf", scan(tmp_path, lines(*left, x=30), lines(*right, x=230))))
    assert section.text.split() == " ".join(left + right).split()


@needs_ocr
def test_a_stamp_on_a_scanned_page_does_not_hide_it_and_a_picture_beside_text_is_left_alone(tmp_path: Path) -> None:
    page = scan(tmp_path, lines(*ENGLISH))

    def stamped(canvas: Any) -> None:
        page(canvas)
        canvas.drawString(300, 20, "Received 2026")

    def illustrated(canvas: Any) -> None:
        page(canvas)
        lines(PRINTED, y=100)(canvas)

    (first, second), lost = read(pdf, draw(tmp_path / "a.pdf", stamped, illustrated))
    assert " ".join(ENGLISH) in first.text
    assert "Received 2026" in first.text
    assert second.text == PRINTED
    assert lost == ()


def test_scanned_pages_that_are_not_recognised_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, blank = scan(tmp_path, lines(*ENGLISH)), lambda canvas: None
    path = draw(tmp_path / "a.pdf", lines(PRINTED), page, page, blank, page, lines(PRINTED.upper()))
    sections, lost = read(pdf, path, ocr=False)
    assert [s.page for s in sections] == [1, 6]
    assert lost == ("pages 2-3, 5: scanned, without a text layer; not recognised, ingest.ocr is off",)
    monkeypatch.setattr(ocr, "available", lambda: False)
    sections, lost = read(pdf, path)
    assert [s.page for s in sections] == [1, 6]
    assert lost == (
        "pages 2-3, 5: scanned, without a text layer; not recognised, text recognition is not installed "
        "(pip install 'groundtune[ocr]')",
    )


def test_a_document_of_scanned_pages_alone_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = draw(tmp_path / "a.pdf", scan(tmp_path, lines(*ENGLISH)))
    with pytest.raises(InputError, match=r"it seems to be scanned, and ingest\.ocr is off"):
        read(pdf, path, ocr=False)
    monkeypatch.setattr(ocr, "available", lambda: False)
    with pytest.raises(
        InputError, match=r"scanned, and text recognition is not installed: pip install 'groundtune\[ocr\]'"
    ):
        read(pdf, path)


@needs_ocr
def test_a_picture_without_text_is_named(tmp_path: Path) -> None:
    def drawing(canvas: Any) -> None:
        canvas.circle(200, 150, 90, fill=1)

    sections, lost = read(pdf, draw(tmp_path / "a.pdf", lines(PRINTED), drawing))
    assert [s.page for s in sections] == [1]
    assert lost == ("page 2: a picture in which no text was recognised",)


@needs_ocr
def test_recognition_opens_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    ocr._engine.cache_clear()  # so that the models are loaded here
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    (section,), _ = read(pdf, draw(tmp_path / "a.pdf", scan(tmp_path, lines(*ENGLISH))))
    assert "harbour office" in section.text


@needs_ocr
def test_recognition_of_a_full_page_stays_below_700_megabytes(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is measured where Linux tells it")
    text = [f"Line {i}: the office opens at nine, quay {i} excepted, and" for i in range(17)]
    path = draw(tmp_path / "a.pdf", scan(tmp_path, lines(*text, x=10, y=280)))
    code = (
        "import re, sys; from pathlib import Path; from groundtune.ingest.loaders import pdf;"
        "assert 'quay 16 excepted' in next(pdf.load(Path(sys.argv[1]))).text;"
        "status = Path('/proc/self/status').read_text();"  # ru_maxrss would begin with the size of the test process
        "print(1024 * int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 700_000_000
