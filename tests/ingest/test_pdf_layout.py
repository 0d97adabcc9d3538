"""PDF pages whose lines do not simply run down the page: columns, turned pages and lines, right-to-left, forms, notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from groundtune.ingest import pdf_order
from groundtune.ingest.loaders import pdf
from groundtune.ingest.pdf_tables import Line

LINES = [
    "The harbour office opens at nine and closes at half past five",
    "on every working day of the week, and ferries leave from quay",
    "number two towards the outer islands.",
]
TEXT = " ".join(LINES)
LEFT = [f"left line {i:02} speaks of ferries and of their" for i in range(12)]
RIGHT = [f"right line {i:02} tells what a cabin costs and" for i in range(12)]


def draw(path: Path, paint: Callable[[Any], None], *, size: tuple[float, float] = (600, 800)) -> Path:
    from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped,unused-ignore]

    canvas = Canvas(str(path), pagesize=size)
    paint(canvas)
    canvas.save()
    return path


def put(canvas: Any, x: float, y: float, lines: Sequence[str]) -> None:
    for i, line in enumerate(lines):
        canvas.drawString(x, y - 14 * i, line)


def only(path: Path) -> str:
    (section,) = pdf.load(path)
    assert section.page == 1
    return section.text


def upright(canvas: Any, quarter: int) -> None:
    """Turn what is drawn next counter-clockwise, into the page of 600 x 800 points."""
    canvas.translate(*[(0, 0), (600, 0), (600, 800), (0, 800)][quarter])
    canvas.rotate(90 * quarter)


@pytest.mark.parametrize("turned_by", ["page", "text"])
@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_turned_pages_read_as_upright_ones(tmp_path: Path, quarter: int, turned_by: str) -> None:
    def paint(canvas: Any) -> None:
        if turned_by == "page":
            canvas.setPageRotation(90 * quarter)
        upright(canvas, quarter)
        put(canvas, 72, 500, LINES)
        for i, row in enumerate(
            [("Boat", "Price", "Days"), ("Kelpie", "120 crowns", "5"), ("Dunlin", "80 crowns", "9")]
        ):
            for x, cell in zip((72, 200, 330), row, strict=True):
                canvas.drawString(x, 400 - 14 * i, cell)

    assert only(draw(tmp_path / "a.pdf", paint)) == (
        f"{TEXT}\n\n| Boat | Price | Days |\n| Kelpie | 120 crowns | 5 |\n| Dunlin | 80 crowns | 9 |"
    )


def test_turned_lines_stand_after_the_text_and_in_their_own_order(tmp_path: Path) -> None:
    def paint(canvas: Any) -> None:
        put(canvas, 100, 700, LINES)
        for angle, x, y in ((90, 40, 200), (270, 560, 600), (180, 500, 100)):
            canvas.saveState()
            canvas.translate(x, y)
            canvas.rotate(angle)
            put(canvas, 0, 0, [f"turned by {angle} degrees.", f"second line at {angle}."])
            canvas.restoreState()

    text = only(draw(tmp_path / "a.pdf", paint))
    assert text.startswith(f"{TEXT}\n\n")
    for angle in (90, 180, 270):
        assert text.index(f"turned by {angle} degrees.") < text.index(f"second line at {angle}.")
    assert text.count("turned by") == 3


@pytest.mark.parametrize("order", ["row by row", "right column first line by line", "column by column"])
def test_two_columns_are_read_one_after_the_other(tmp_path: Path, order: str) -> None:
    def paint(canvas: Any) -> None:
        canvas.drawCentredString(300, 760, "A title that runs across both of the columns of this page")
        if order == "column by column":
            put(canvas, 50, 700, LEFT)
            put(canvas, 320, 700, RIGHT)
        for i, (left, right) in enumerate(zip(LEFT, RIGHT, strict=True)):
            if order == "row by row":
                canvas.drawString(50, 700 - 14 * i, left)
                canvas.drawString(320, 700 - 14 * i, right)
            elif order == "right column first line by line":
                canvas.drawString(320, 693 - 14 * i, right)
                canvas.drawString(50, 700 - 14 * i, left)

    text = only(draw(tmp_path / "a.pdf", paint))
    assert (
        text.split()
        == "A title that runs across both of the columns of this page".split() + " ".join(LEFT + RIGHT).split()
    )


def test_three_columns_below_and_above_lines_across(tmp_path: Path) -> None:
    columns = [[f"{name} {i:02} of the news from the quay" for i in range(10)] for name in ("one", "two", "three")]

    def paint(canvas: Any) -> None:
        canvas.drawString(
            30, 760, "Headline of a newsletter that is set across all three columns of the page, from edge to edge"
        )
        for part, y in ((slice(0, 5), 720), (slice(5, 10), 560)):
            for row in range(5):
                for x, column in zip((30, 220, 410), columns, strict=True):
                    canvas.drawString(x, y - 14 * row, column[part][row])
        canvas.drawString(
            30, 620, "A line between the upper and the lower half of the page, it runs across all three columns too"
        )

    text = only(draw(tmp_path / "a.pdf", paint))
    expected = [line[:6] for half in (slice(0, 5), slice(5, 10)) for column in columns for line in column[half]]
    found = [
        word + " " + number for word, number in zip(text.split(), text.split()[1:], strict=False) if number.isdigit()
    ]
    assert [e.strip()[:5] for e in expected] == [f[:5] for f in found]
    assert text.index("Headline") < text.index("three 04") < text.index("A line between") < text.index("one 05")


def test_lines_drawn_in_any_order_come_from_the_top(tmp_path: Path) -> None:
    words = [f"Sentence number {i:02} stands on line {i:02} of this page." for i in range(20)]

    def paint(canvas: Any) -> None:
        for i in [(7 * k) % 20 for k in range(20)]:
            canvas.drawString(72, 700 - 14 * i, words[i])

    assert only(draw(tmp_path / "a.pdf", paint)).split() == " ".join(words).split()


def test_a_table_across_the_page_stays_a_table(tmp_path: Path) -> None:
    rows = [[f"Boat {i}", f"a price of {i} crowns", f"quay {i}", f"{i} days"] for i in range(12)]

    def paint(canvas: Any) -> None:
        for i, row in enumerate(rows):
            for x, cell in zip((50, 160, 330, 450), row, strict=True):
                canvas.drawString(x, 700 - 14 * i, cell)

    assert only(draw(tmp_path / "a.pdf", paint)).splitlines() == [f"| {' | '.join(row)} |" for row in rows]


def test_a_paragraph_goes_on_in_the_next_column(tmp_path: Path) -> None:
    def paint(canvas: Any) -> None:
        put(canvas, 50, 700, [*LEFT[:6], "and here a word is di-"])
        put(canvas, 320, 700, ["vided between two columns of", "text, as it happens."])

    assert "a word is divided between two columns of text" in only(draw(tmp_path / "a.pdf", paint))


def test_order_of_lines_without_a_file() -> None:
    def line(text: str, left: float, bottom: float) -> Line:
        return Line((text,), ((left, left + 6 * len(text)),), bottom, 12)

    two = [
        line(side, x, 700 - 14 * i)
        for i in range(6)
        for side, x in (("left column text here", 0), ("right column text here", 200))
    ]
    assert [x.left for x in pdf_order.in_reading_order(two)] == [0] * 6 + [200] * 6
    down = [*two[::2], *two[1::2]]
    assert pdf_order.in_reading_order(down) == down
    assert pdf_order.in_reading_order([]) == []
    assert pdf_order.in_reading_order(two[:1], trusted=False) == two[:1]
    upside = list(reversed(two[::2]))
    assert pdf_order.in_reading_order(upside, trusted=False) == two[::2]


def test_entries_of_a_table_of_contents_stay_lines(tmp_path: Path) -> None:
    entries = [f"{i} Chapter {'of boats ' * i}{'.' * (60 - 9 * i)} {i * 11}" for i in range(1, 6)]
    text = only(draw(tmp_path / "a.pdf", lambda canvas: put(canvas, 72, 700, entries)))
    assert text.splitlines() == entries


def test_form_fields_and_notes_come_with_their_page(tmp_path: Path) -> None:
    def paint(canvas: Any) -> None:
        canvas.drawString(72, 700, "Application for a berth in the inner harbour")
        form = canvas.acroForm
        form.textfield(
            name="owner", tooltip="Name of the owner", value="Änne Kröger", x=72, y=600, width=200, height=20
        )
        form.textfield(name="empty", tooltip="Second owner", value="", x=72, y=570, width=200, height=20)
        form.checkbox(name="insured", tooltip="Insured", checked=True, x=72, y=540)
        form.checkbox(name="towed", tooltip="Towed", checked=False, x=72, y=510)
        form.choice(name="quay", tooltip="Quay", value="Two", options=["One", "Two"], x=72, y=480, width=90, height=20)
        canvas.textAnnotation("Check the length again", (300, 600, 320, 620))

    text = only(draw(tmp_path / "a.pdf", paint))
    assert "Name of the owner: Änne Kröger\nInsured: yes\nQuay: Two" in text
    assert "Check the length again" in text
    assert "Second owner" not in text
    assert "Towed" not in text


@pytest.fixture
def hebrew_font() -> str:
    """A font with Hebrew letters on this machine; reportlab brings none."""
    from reportlab.pdfbase import pdfmetrics  # type: ignore[import-untyped,unused-ignore]
    from reportlab.pdfbase.ttfonts import TTFont  # type: ignore[import-untyped,unused-ignore]

    found = [p for p in Path("/usr/share/fonts").rglob("*.ttf") if p.name in ("DejaVuSans.ttf", "FreeSans.ttf")]
    if not found:
        pytest.skip("no DejaVu Sans or FreeSans on this machine")
    pdfmetrics.registerFont(TTFont("Hebrew", str(found[0])))
    return "Hebrew"


def test_right_to_left_lines_join_and_rows_begin_on_the_right(tmp_path: Path, hebrew_font: str) -> None:
    def paint(canvas: Any) -> None:
        canvas.setFont(hebrew_font, 12)
        for i, line in enumerate(["הנמל נפתח בשעה תשע ונסגר בשעה חמש", "וחצי"]):
            canvas.drawRightString(500, 700 - 14 * i, line[::-1])
        for i, (label, value) in enumerate([("סירה", "מחיר"), ("גדולה", "מאתיים"), ("קטנה", "מאה")]):
            canvas.drawString(200, 600 - 14 * i, value[::-1])
            canvas.drawRightString(500, 600 - 14 * i, label[::-1])

    assert only(draw(tmp_path / "a.pdf", paint)) == (
        "הנמל נפתח בשעה תשע ונסגר בשעה חמש וחצי\n\n| סירה | מחיר |\n| גדולה | מאתיים |\n| קטנה | מאה |"
    )
