"""The six loaders on small real files made here: text, page, row and heading, and the message for each bad file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from groundtune.ingest import reading, sectioning
from groundtune.ingest.loaders import csv, docx, html, markdown, pdf, text
from groundtune.records import Section
from loading import peak_bytes, refusal, write

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(range(256))
PROSE = "The harbour office opens at nine and closes at half past five, and ferries leave from quay number two. "


def make_pdf(path: Path, *, password: str = "") -> Path:
    from reportlab.lib.pagesizes import A4  # type: ignore[import-untyped,unused-ignore]
    from reportlab.lib.styles import getSampleStyleSheet  # type: ignore[import-untyped,unused-ignore]
    from reportlab.platypus import PageBreak, Paragraph, Table  # type: ignore[import-untyped,unused-ignore]
    from reportlab.platypus import SimpleDocTemplate as Template

    styles = getSampleStyleSheet()
    rows = [["Grade", "Pay", "Days"], ["A", "100 crowns", "25"], ["Senior B", "200 crowns", "30"]]
    story = [
        Paragraph("Staff Handbook 2026", styles["Title"]), Paragraph("1. Working hours", styles["Heading1"]),
        Paragraph(PROSE * 3, styles["BodyText"]), Paragraph(PROSE * 2, styles["BodyText"]), PageBreak(),
        Paragraph("Annual leave", styles["Heading2"]), Paragraph("Days for each grade. " + PROSE, styles["BodyText"]),
        Table(rows), Paragraph("Below the table. " + PROSE, styles["BodyText"]),
    ]  # fmt: skip

    def footer(canvas: object, document: object) -> None:
        canvas.drawString(250, 30, f"Handbook - page {canvas.getPageNumber()} of 2")  # type: ignore[attr-defined]

    template = Template(str(path), pagesize=A4, encrypt=password or None)
    template.build(story, onFirstPage=footer, onLaterPages=footer)
    return path


def drawn_pdf(path: Path, *pages: list[str]) -> Path:
    from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped,unused-ignore]

    canvas = Canvas(str(path))
    for lines in pages:
        for i, line in enumerate(lines):
            canvas.drawString(72, 700 - 14 * i, line)
        canvas.showPage()
    canvas.save()
    return path


def test_pdf_gives_a_section_a_page_with_paragraphs_tables_and_heading(tmp_path: Path) -> None:
    first, second = pdf.load(make_pdf(tmp_path / "handbook.pdf"))
    assert (first.page, first.heading) == (1, "Staff Handbook 2026 > 1. Working hours")
    assert first.text.split("\n\n") == [
        "Staff Handbook 2026", "1. Working hours", (PROSE * 3).strip(), (PROSE * 2).strip(),
    ]  # fmt: skip
    assert (second.page, second.heading) == (2, "Annual leave")
    assert "| Grade | Pay | Days |\n| A | 100 crowns | 25 |\n| Senior B | 200 crowns | 30 |\n\nBelow" in second.text
    assert "page 2 of 2" not in second.text  # the running footer


def test_pdf_joins_divided_words_and_keeps_real_hyphens(tmp_path: Path) -> None:
    lines = ["Ferries to the outer islands sail under an inter-", "national agreement signed by the well-",
             "known harbour master for the years 2019-", "2020 and it ends there."]  # fmt: skip
    (page,) = pdf.load(drawn_pdf(tmp_path / "a.pdf", lines))
    assert page.text == (
        "Ferries to the outer islands sail under an international agreement signed by the well-known harbour master "
        "for the years 2019-2020 and it ends there."
    )


def test_pdf_joins_wrapped_table_cells(tmp_path: Path) -> None:
    from reportlab.lib.styles import getSampleStyleSheet  # type: ignore[import-untyped,unused-ignore]
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Table  # type: ignore[import-untyped,unused-ignore]

    style = getSampleStyleSheet()["BodyText"]
    rows = [["Boat", "Half day", "Deposit"], ["Puffin", "120 crowns for half a day", "300 crowns in cash or card"],
            ["Dunlin", "140 crowns for half a day", "350 crowns in cash or card"]]  # fmt: skip
    cells = [[Paragraph(cell, style) for cell in row] for row in rows]
    table = Table(cells, colWidths=[80, 90, 90], style=[("VALIGN", (0, 0), (-1, -1), "TOP")])
    SimpleDocTemplate(str(tmp_path / "a.pdf")).build([table])
    (page,) = pdf.load(tmp_path / "a.pdf")
    assert page.text.splitlines() == [
        "| Boat | Half day | Deposit |",
        "| Puffin | 120 crowns for half a day | 300 crowns in cash or card |",
        "| Dunlin | 140 crowns for half a day | 350 crowns in cash or card |",
    ]


def test_pdf_passes_over_pages_without_text(tmp_path: Path) -> None:
    sections = list(pdf.load(drawn_pdf(tmp_path / "a.pdf", ["One sentence here."], [], ["Another sentence."])))
    assert [s.page for s in sections] == [1, 3]


def test_pdf_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    whole = make_pdf(tmp_path / "whole.pdf").read_bytes()
    assert "is a JPEG image, not a PDF" in refusal(pdf, write(tmp_path / "photo.pdf", JPEG))
    assert "is an HTML page, not a PDF" in refusal(pdf, write(tmp_path / "error.pdf", "<!DOCTYPE html><p>Not found"))
    assert "is not a PDF" in refusal(pdf, write(tmp_path / "note.pdf", "just some words"))
    assert "it is cut off" in refusal(pdf, write(tmp_path / "cut.pdf", whole[: len(whole) // 2]))
    assert "is a damaged PDF" in refusal(pdf, write(tmp_path / "bad.pdf", b"%PDF-1.4\nnothing\n%%EOF\n"))
    assert "is encrypted" in refusal(pdf, make_pdf(tmp_path / "locked.pdf", password="secret"))
    assert "seems to be scanned" in refusal(pdf, drawn_pdf(tmp_path / "scan.pdf", []))


def make_docx(path: Path) -> Path:
    import docx as python_docx

    document = python_docx.Document()
    document.add_heading("Ferry manual", 1)
    document.add_paragraph("For the crew of the Kestrel.")
    document.add_heading("Crew & rest", 2)
    document.add_paragraph("Eleven hours of rest, in file_name_one.txt too.")
    document.add_paragraph("Bring a torch.", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for cell, value in zip((c for row in table.rows for c in row.cells), ["Post", "Pay", "Mate", "10"], strict=True):
        cell.text = value
    document.save(str(path))
    return path


def test_docx_gives_sections_by_heading_with_pipe_rows(tmp_path: Path) -> None:
    assert list(docx.load(make_docx(tmp_path / "a.docx"))) == [
        Section("For the crew of the Kestrel.", heading="Ferry manual"),
        Section(
            "Eleven hours of rest, in file_name_one.txt too.\n\n- Bring a torch.\n\n| Post | Pay |\n| Mate | 10 |",
            heading="Ferry manual > Crew & rest",
        ),
    ]


def test_docx_refuses_damaged_and_other_files(tmp_path: Path) -> None:
    import zipfile

    whole = make_docx(tmp_path / "whole.docx").read_bytes()
    assert "is damaged" in refusal(docx, write(tmp_path / "cut.docx", whole[:2000]))
    at = whole.index(b"word/document.xml") + 200
    assert "is damaged" in refusal(docx, write(tmp_path / "bits.docx", whole[:at] + b"\x00" * 300 + whole[at + 300 :]))
    assert "is not a Word document" in refusal(docx, write(tmp_path / "note.docx", "just some words"))
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 9
    assert "old or password-protected Office" in refusal(docx, write(tmp_path / "old.docx", old))
    with zipfile.ZipFile(tmp_path / "table.docx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    assert "is an Excel workbook (.xlsx), not a Word document" in refusal(docx, tmp_path / "table.docx")


PAGE = f"""<!DOCTYPE html><html><head><title>Fares</title><meta charset="utf-8"></head><body>
<nav><a href="/">Home</a> <a href="/shop">Shop</a></nav><main><h1>Fares 2026</h1><p>{PROSE * 3}</p>
<h2>Islands</h2><p>Prices for the <b>outer</b> islands. {PROSE * 2}</p>
<table><tr><th>Route</th><th>Single</th></tr><tr><td>Vessa</td><td>31 crowns</td></tr></table></main>
<footer>Copyright by nobody</footer><script>alert(1)</script></body></html>"""


def test_html_gives_the_main_text_by_heading(tmp_path: Path) -> None:
    first, second = html.load(write(tmp_path / "a.html", PAGE))
    assert (first.heading, first.text) == ("Fares 2026", (PROSE * 3).strip())
    assert second.heading == "Fares 2026 > Islands"
    assert second.text.startswith("Prices for the outer islands. The harbour")
    assert "| Route | Single |\n| Vessa | 31 crowns |" in second.text
    assert not any(word in first.text + second.text for word in ("Shop", "Copyright", "alert"))


def test_html_takes_all_text_of_a_short_page_and_its_declared_encoding(tmp_path: Path) -> None:
    head = '<html><head><meta charset="iso-8859-2"></head>'
    page = f"{head}<body><h1>Łódź</h1>Opłata<ul><li>trzy</li></ul>koniec</body></html>"
    sections = list(html.load(write(tmp_path / "a.htm", page.encode("iso-8859-2"))))
    assert sections == [Section("Opłata\n\n- trzy\n\nkoniec", heading="Łódź")]


def test_html_refuses_what_is_none(tmp_path: Path) -> None:
    assert "it has no HTML tags" in refusal(html, write(tmp_path / "a.html", "only words"))
    assert "has no text" in refusal(html, write(tmp_path / "b.html", "<html><body><script>x()</script></body></html>"))
    assert "is a JPEG image" in refusal(html, write(tmp_path / "c.html", JPEG))


def test_markdown_gives_sections_by_heading_path(tmp_path: Path) -> None:
    source = (
        "---\ntitle: Rules\n---\nBefore any\nheading.\n\n# A #\n\nSome **bold** and `code` in snake_case_name,\n"
        "wrapped [here](https://x.org/f) and [there](b.md).\n\n* one\n  goes on\n* two"
        "\n\n## B\n\n| x | y |\n| --- | :-: |\n"
        "| 1 | **2** |\n\n```python\n# no heading\n\nx = **y\n```\n\nC\n=\n\n### D\n"
    )
    assert list(markdown.load(write(tmp_path / "a.md", source))) == [
        Section("title: Rules\n\nBefore any heading."),
        Section(
            "Some bold and code in snake_case_name, wrapped here (https://x.org/f) and there.\n\n- one goes on\n- two",
            heading="A",
        ),
        Section("| x | y |\n| 1 | 2 |\n\n# no heading\n\nx = **y", heading="A > B"),
        Section("D", heading="C > D"),
    ]
    assert "empty but for white space" in refusal(markdown, write(tmp_path / "b.md", "\n\n---\n \n"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_gives_a_section_a_row(tmp_path: Path, delimiter: str) -> None:
    rows = [["Name", "Price", "Note"], ["Kelpie, anchor; big", "1.5", ""], [], ["Torch", "2", "two\nlines"]]
    lines = (delimiter.join(f'"{c}"' if set(c) & set(",;\n") else c for c in row) for row in rows)
    source = "\r\n".join(lines) + f"{delimiter * 2}\r\n"
    assert list(csv.load(write(tmp_path / "a.csv", source))) == [
        Section("Name: Kelpie, anchor; big; Price: 1.5", row=1),
        Section("Name: Torch; Price: 2; Note: two lines", row=2),
    ]


def test_csv_without_a_header_and_with_decimal_commas(tmp_path: Path) -> None:
    assert [s.text for s in csv.load(write(tmp_path / "a.csv", "1,2\n3,4\n"))] == [
        "column 1: 1; column 2: 2", "column 1: 3; column 2: 4",
    ]  # fmt: skip
    assert [s.text for s in csv.load(write(tmp_path / "b.csv", "Boot;Preis\nA;1,5\nB;2,5\n"))] == [
        "Boot: A; Preis: 1,5", "Boot: B; Preis: 2,5",
    ]  # fmt: skip


def test_csv_keeps_rows_with_more_or_fewer_cells_than_the_header(tmp_path: Path) -> None:
    assert [s.text for s in csv.load(write(tmp_path / "a.csv", 'a,b\n"1\n1",2\n3,4,5\n6\n'))] == [
        "a: 1 1; b: 2", "a: 3; b: 4; column 3: 5", "a: 6",
    ]  # fmt: skip
    assert [s.text for s in csv.load(write(tmp_path / "b.csv", 'a,b\n"x" y,2\n3 "or" 4,5\n'))] == [
        "a: x y; b: 2", 'a: 3 "or" 4; b: 5',
    ]  # fmt: skip


def test_csv_refuses_rows_that_never_end_with_their_line(tmp_path: Path) -> None:
    assert ":2: the row that begins here" in refusal(csv, write(tmp_path / "c.csv", 'a,b\n"1,2\n3,4\n'))
    assert "is empty below its header" in refusal(csv, write(tmp_path / "d.csv", "a,b\n"))
    assert "a row longer than" in refusal(csv, write(tmp_path / "e.csv", "a,b\n" + "1," * 2_000_000))


def test_text_groups_paragraphs_under_recognised_headings(tmp_path: Path) -> None:
    head = "Notice\n======\n\nValid from\nMarch.\n\nNOISE AND DUST\nWear masks.\n\nGas\n---\n\n"
    source = head + f"{PROSE}\n\n" * 60
    sections = list(text.load(write(tmp_path / "a.txt", source)))
    assert [s.heading for s in sections[:3]] == ["Notice", "Notice > NOISE AND DUST", "Notice > Gas"]
    assert [s.text for s in sections[:2]] == ["Valid from\nMarch.", "Wear masks."]
    assert all(2_000 <= len(s.text) <= 4_000 for s in sections[2:-1])
    assert sum(s.text.count("harbour") for s in sections) == 60


def test_text_joins_hard_wrapped_lines_and_keeps_lists(tmp_path: Path) -> None:
    wrapped = "It was in July, 1805, and the speaker was the well-known Anna\nPavlovna Scherer.\n* one\n* two\n"
    (section,) = text.load(write(tmp_path / "a.txt", wrapped))
    assert section.text == wrapped.replace("Anna\nPav", "Anna Pav").replace("* ", "- ").strip()


GERMAN = "Die Gebühr für große Boote beträgt dreißig Kronen, außer am Sonntag."


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (GERMAN, "utf-8"), (GERMAN, "utf-8-sig"), (GERMAN, "utf-16"), (GERMAN, "utf-32"), (GERMAN, "latin-1"),
        ("Le café est fermé à midi. Où êtes-vous allé hier ?", "cp1252"), ("It’s “quoted”: 5 € and £20.", "cp1252"),
        ("Zażółć gęślą jaźń, proszę o więcej łódek na przystani.", "cp1250"),
        ("Стоимость аренды лодки составляет тридцать крон в день.", "cp1251"),
        ("これは日本語のテキストです。料金は三十クローネです。", "shift_jis"),
    ],
)  # fmt: skip
def test_text_is_decoded_whatever_its_encoding(tmp_path: Path, content: str, encoding: str) -> None:
    plain = "Plain words come first. " * 5_000  # the byte that tells stands far behind them
    sections = list(text.load(write(tmp_path / "a.txt", f"{plain}\n\n{content}\n".encode(encoding))))
    assert sections[-1].text.endswith(content)


def test_text_refuses_binary_files_and_names_the_byte(tmp_path: Path) -> None:
    assert "offset 1500000 is NUL" in refusal(text, write(tmp_path / "a.txt", b"a b " * 375_000 + b"\x00abc"))
    assert "is a JPEG image, not a text file" in refusal(text, write(tmp_path / "b.txt", JPEG))
    assert "is not text" in refusal(text, write(tmp_path / "c.txt", bytes(range(1, 256)) * 40))
    assert "UTF-16" in refusal(text, write(tmp_path / "d.txt", GERMAN.encode("utf-16") + b"\x00"))
    assert "white space" in refusal(text, write(tmp_path / "e.txt", " \n\n\t"))
    (tmp_path / "f.txt").mkdir()
    assert "is a folder" in refusal(text, tmp_path / "f.txt")


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path / "a.txt", "words")
    monkeypatch.setattr(Path, "open", refuse)  # chmod would not stop root, nor Windows
    assert "cannot be read: Permission denied" in refusal(text, path)


@pytest.mark.parametrize("name", ["text", "markdown"])
def test_one_line_of_30_megabytes_is_read_in_bounded_memory(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.txt", b"A sentence of a very long line, without any end of line. " * 525_000)
    assert path.stat().st_size > 29_000_000
    peak, characters = peak_bytes({"text": text, "markdown": markdown}[name].load(path))
    assert characters > 29_000_000
    assert peak < 12_000_000


def test_one_word_of_30_megabytes_and_long_fenced_code_are_read_in_bounded_memory(tmp_path: Path) -> None:
    peak, characters = peak_bytes(text.load(write(tmp_path / "a.txt", b"x" * 30_000_000)))
    assert (characters, peak < 12_000_000) == (30_000_000, True)
    peak, characters = peak_bytes(markdown.load(write(tmp_path / "a.md", b"```\n" + b"x = 1\n" * 500_000)))
    assert characters > 2_500_000
    assert peak < 12_000_000


def test_csv_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peak, _ = peak_bytes(csv.load(write(tmp_path / "a.csv", "name,price\n" + "anchor,12\n" * 60_000)))
    assert peak < 4_000_000


def test_long_sections_are_split_at_boundaries() -> None:
    pieces = list(sectioning.split_long(PROSE * 1_000))
    assert len(pieces) > 4
    assert all(len(p) <= sectioning.MAX_SECTION_CHARACTERS and p.endswith("two.") for p in pieces)
    assert list(sectioning.split_long("x" * 45_000)) == ["x" * 20_000, "x" * 20_000, "x" * 5_000]


def test_lines_cut_long_lines_between_words(tmp_path: Path) -> None:
    source = "word " * 10_000 + "\nnext"
    pieces = list(reading.lines(write(tmp_path / "a.txt", source)))
    assert len(pieces) > 3
    assert "".join(pieces[:-1]) == source.removesuffix("\nnext")
    assert pieces[-1] == "next"


def test_importing_the_loaders_is_cheap() -> None:
    code = (
        "import sys; from groundtune.ingest.loaders import csv, docx, html, markdown, pdf, text;"
        "heavy = {'pypdfium2', 'trafilatura', 'lxml', 'markitdown', 'charset_normalizer'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"
