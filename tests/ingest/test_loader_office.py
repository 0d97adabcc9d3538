"""Word, PowerPoint, OpenDocument and spreadsheets, from files made here: what is read, where it stands, what is refused."""

from __future__ import annotations

import datetime
import zipfile
from pathlib import Path
from types import ModuleType

from groundtune.errors import InputError
from groundtune.ingest.loaders import docx, odf, pptx, xlsx
from groundtune.records import Section
from loading import refusal

W = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"'
)
ODF = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0" '
    'xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" '
    'xmlns:presentation="urn:oasis:names:tc:opendocument:xmlns:presentation:1.0" '
    'xmlns:xlink="http://www.w3.org/1999/xlink"'
)
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def archive(path: Path, **parts: str) -> Path:
    """A ZIP of parts; "/" in a name is written "__" and "." is written "_DOT_"."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in parts.items():
            out.writestr(name.replace("__", "/").replace("_DOT_", "."), content)
    return path


def word(path: Path, body: str, **parts: str) -> Path:
    return archive(path, word__document_DOT_xml=f"<w:document {W}><w:body>{body}</w:body></w:document>", **parts)


def relations(*targets: tuple[str, str, str]) -> str:
    rows = []
    for i, kind, target in targets:
        mode = "External" if "//" in target else "Internal"
        rows.append(f'<Relationship Id="{i}" Type="{RELATION}/{kind}" Target="{target}" TargetMode="{mode}"/>')
    return f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{"".join(rows)}</Relationships>'


def p(text: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t xml:space='preserve'>{text}</w:t></w:r></w:p>"


def only(loader: ModuleType, path: Path) -> Section:
    (section,) = loader.load(path)
    return section  # type: ignore[no-any-return]


def test_docx_keeps_what_stands_outside_the_text(tmp_path: Path) -> None:
    box = "<w:txbxContent>" + p("In the box.") + "</w:txbxContent>"
    drawing = f"<mc:AlternateContent><mc:Choice Requires='wps'><wps:txbx>{box}</wps:txbx></mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>"
    body = (
        f"<w:p><w:r><w:t>Around it.</w:t></w:r><w:r>{drawing}</w:r></w:p>"
        "<w:p><w:r><w:t>Noted</w:t></w:r><w:r><w:footnoteReference w:id='2'/></w:r><w:r><w:commentReference w:id='0'/></w:r></w:p>"
        "<w:p><w:ins><w:r><w:t>Kept.</w:t></w:r></w:ins><w:del><w:r><w:delText>Gone.</w:delText></w:r></w:del></w:p>"
        "<w:p><w:hyperlink r:id='a1'><w:r><w:t>the site</w:t></w:r></w:hyperlink></w:p>"
        "<w:sdt><w:sdtContent>" + p("In a control.") + "</w:sdtContent></w:sdt>"
    )
    notes = f"<w:footnotes {W}><w:footnote w:id='2'>{p('The note.')}</w:footnote></w:footnotes>"
    comments = f"<w:comments {W}><w:comment w:id='0' w:author='Ann'>{p('Why?')}</w:comment></w:comments>"
    targets = relations(("f", "footnotes", "footnotes.xml"), ("c", "comments", "comments.xml"),
                        ("h", "header", "header1.xml"), ("a1", "hyperlink", "https://x.org/a"))  # fmt: skip
    path = word(tmp_path / "a.docx", body, word__footnotes_DOT_xml=notes, word__comments_DOT_xml=comments,
                word__header1_DOT_xml=f"<w:hdr {W}>{p('Draft 7')}{p('Page 1')}</w:hdr>",
                word___rels__document_DOT_xml_DOT_rels=targets)  # fmt: skip
    first, last = docx.load(path)
    assert first.text.split("\n\n") == [
        "Around it.", "In the box.", "Noted[2]", "[2] The note.", "Comment by Ann: Why?", "Kept.",
        "the site (https://x.org/a)", "In a control.",
    ]  # fmt: skip
    assert last == Section("Draft 7", heading="Header and footer")


def test_docx_counts_lists_and_numbered_headings_as_word_does(tmp_path: Path) -> None:
    numbering = (
        f"<w:numbering {W}><w:abstractNum w:abstractNumId='0'>"
        "<w:lvl w:ilvl='0'><w:start w:val='1'/><w:numFmt w:val='decimal'/><w:lvlText w:val='%1.'/></w:lvl>"
        "<w:lvl w:ilvl='1'><w:start w:val='1'/><w:numFmt w:val='lowerLetter'/><w:lvlText w:val='%1.%2)'/></w:lvl>"
        "</w:abstractNum><w:abstractNum w:abstractNumId='1'><w:lvl w:ilvl='0'><w:numFmt w:val='bullet'/></w:lvl></w:abstractNum>"
        "<w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num><w:num w:numId='2'><w:abstractNumId w:val='1'/></w:num>"
        "<w:num w:numId='3'><w:abstractNumId w:val='0'/><w:lvlOverride w:ilvl='0'><w:startOverride w:val='7'/></w:lvlOverride></w:num>"
        "</w:numbering>"
    )
    style = "<w:style w:styleId='H'><w:name w:val='heading 1'/><w:pPr><w:numPr><w:numId w:val='1'/></w:numPr></w:pPr></w:style>"

    def item(number: int, level: int = 0) -> str:
        return f"<w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='{number}'/></w:numPr>"

    body = p("First", "<w:pStyle w:val='H'/>") + p("sub", item(1, 1)) + p("sub two", item(1, 1)) + p("dot", item(2))
    body += p("Second", "<w:pStyle w:val='H'/>") + p("seven", item(3)) + p("eight", item(3)) + p("off", item(0))
    path = word(tmp_path / "a.docx", body, word__numbering_DOT_xml=numbering, word__styles_DOT_xml=f"<w:styles {W}>{style}</w:styles>",
                word___rels__document_DOT_xml_DOT_rels=relations(("n", "numbering", "numbering.xml"), ("s", "styles", "styles.xml")))  # fmt: skip
    assert list(docx.load(path)) == [
        Section("  1.a) sub\n  1.b) sub two\n- dot".strip(), heading="1. First"),
        Section("7. seven\n8. eight\n\noff", heading="2. Second"),
    ]


def test_docx_writes_merged_cells_in_each_place_and_equations_as_latex(tmp_path: Path) -> None:
    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr>{p(text) if text else '<w:p/>'}</w:tc>"

    inner = f"<w:tbl><w:tr>{cell('x')}{cell('y')}</w:tr></w:tbl>"
    tall, wide = cell("A", "<w:vMerge w:val='restart'/>"), cell("B", "<w:gridSpan w:val='2'/>")
    rows = f"<w:tr>{tall}{wide}</w:tr><w:tr>{cell('', '<w:vMerge/>')}{cell('1')}<w:tc>{inner}<w:p/></w:tc></w:tr>"
    r = "<m:r><m:t>{}</m:t></m:r>".format
    formula = (
        f"<m:oMath>{r('x=')}<m:f><m:num>{r('α')}<m:rad><m:radPr/><m:deg/><m:e>{r('2')}</m:e></m:rad></m:num><m:den>"
        f"<m:sSup><m:e>{r('b')}</m:e><m:sup>{r('2')}</m:sup></m:sSup></m:den></m:f>"
        f"<m:func><m:fName>{r('log')}</m:fName><m:e>{r('y')}</m:e></m:func></m:oMath>"
    )
    section = only(docx, word(tmp_path / "a.docx", f"<w:tbl>{rows}</w:tbl><w:p>{formula}</w:p>"))
    table, equation = section.text.split("\n\n")
    assert table == "| A | B | B |\n| A | 1 | x, y |"
    assert equation == "$x=\\frac{\\alpha\\sqrt{2}}{b^{2}}\\log(y)$".replace("\\alpha", "\\alpha ")


def test_docx_strict_files_have_other_namespaces(tmp_path: Path) -> None:
    body = "<d xmlns='http://purl.oclc.org/ooxml/wordprocessingml/main'><body><p><r><t>Some text</t></r></p></body></d>"
    assert only(docx, archive(tmp_path / "a.docx", word__document_DOT_xml=body)).text == "Some text"


def test_office_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    assert "has no text" in refusal(docx, word(tmp_path / "a.docx", "<w:p/>"))
    assert "is damaged" in refusal(docx, word(tmp_path / "b.docx", "<w:p>"))
    bomb = word(tmp_path / "c.docx", " " * (60 << 20))
    assert "as a ZIP bomb does" in refusal(docx, bomb)
    for loader, name in ((pptx, "d.pptx"), (xlsx, "d.xlsx"), (xlsx, "d.ods"), (odf, "d.odt")):
        path = word(tmp_path / name, p("words"))
        assert "is a Word document (.docx), not" in refusal(loader, path)
        path.write_bytes(path.read_bytes()[:100])
        assert "is damaged" in refusal(loader, path)
    locked = bytearray(word(tmp_path / "e.docx", p("words")).read_bytes())
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "e.docx").write_bytes(bytes(locked))
    assert "is encrypted" in refusal(docx, tmp_path / "e.docx")
    ole = tmp_path / "f.xlsx"
    ole.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 100)
    assert "old or password-protected" in refusal(xlsx, ole)
    (tmp_path / "g.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 100)
    assert "is damaged" in refusal(xlsx, tmp_path / "g.xls")


def test_xml_entities_are_neither_expanded_nor_fetched(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET")
    body = "<d><body><p><r><t>before</t></r><r><t>&x;</t></r><r><t>after</t></r></p></body></d>"
    outside = f'<!DOCTYPE d [<!ENTITY x SYSTEM "{secret.as_uri()}">]>{body}'
    assert only(docx, archive(tmp_path / "a.docx", word__document_DOT_xml=outside)).text == "beforeafter"
    levels = "".join(f'<!ENTITY e{i + 1} "' + f"&e{i};" * 10 + '">' for i in range(9))
    bomb = f'<!DOCTYPE d [<!ENTITY e0 "0123456789">{levels}<!ENTITY x "&e9;">]>{body}'
    try:
        text = only(docx, archive(tmp_path / "b.docx", word__document_DOT_xml=bomb)).text
    except InputError as error:  # newer libxml2 finds it out
        text = error.problem
        assert "is damaged" in text
    assert len(text) < 500


def make_pptx(path: Path) -> Path:
    from pptx import Presentation  # type: ignore[import-untyped,unused-ignore]
    from pptx.util import Inches

    deck = Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Fares & times"
    slide.placeholders[1].text = "Adults\nChildren"
    slide.placeholders[1].text_frame.paragraphs[1].level = 1
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, 100, 100).text_frame.text = "In a group"
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    second = deck.slides.add_slide(deck.slide_layouts[6])
    table = second.shapes.add_table(2, 3, 0, 0, Inches(3), Inches(1)).table
    for i, text in enumerate(["Route", "Price", "", "North", "10", "20"]):
        table.cell(i // 3, i % 3).text = text
    table.cell(0, 1).merge(table.cell(0, 2))
    deck.save(str(path))
    return path


def test_pptx_gives_a_section_a_slide(tmp_path: Path) -> None:
    assert list(pptx.load(make_pptx(tmp_path / "a.pptx"))) == [
        Section("- Adults\n  - Children\n\nIn a group\n\nNotes: Say it slowly.", page=1, heading="Fares & times"),
        Section("| Route | Price | Price |\n| North | 10 | 20 |", page=2),
    ]


def test_pptx_survives_broken_pictures_unknown_shapes_and_reads_comments(tmp_path: Path) -> None:
    whole = make_pptx(tmp_path / "whole.pptx")
    path = tmp_path / "a.pptx"
    body = "<a:bodyPr/><a:p><a:r><a:t>{}</a:t></a:r></a:p>"
    odd = (
        '<p:pic><p:nvPicPr/><p:blipFill><a:blip r:embed="rId99"/></p:blipFill></p:pic><p:pic/>'
        f"<p:strange><p:txBody>{body.format('Odd words')}</p:txBody></p:strange></p:spTree>"
    )
    comment = (
        '<p188:cmLst xmlns:p188="urn:x" xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><p188:cm authorId="7">'
        f"<p188:txBody>{body.format('Really?')}</p188:txBody></p188:cm></p188:cmLst>"
    )
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as out:
        for name in source.namelist():
            data = source.read(name)
            if name == "ppt/slides/slide2.xml":
                data = data.replace(b"</p:spTree>", odd.encode())
            if name == "ppt/slides/_rels/slide2.xml.rels":
                link = f'<Relationship Id="c" Type="{RELATION}/comments" Target="../comments/c.xml"/></Relationships>'
                data = data.replace(b"</Relationships>", link.encode())
            out.writestr(name, data)
        out.writestr("ppt/comments/c.xml", comment)
        out.writestr("ppt/authors.xml", '<a xmlns="urn:x"><author id="7" name="Bo"/></a>')
    last = list(pptx.load(path))[-1]
    assert last.text.endswith("| North | 10 | 20 |\n\nOdd words\n\nComment by Bo: Really?")


def test_xlsx_words_each_row_by_its_header(tmp_path: Path) -> None:
    import openpyxl  # type: ignore[import-untyped,unused-ignore]
    from openpyxl.comments import Comment  # type: ignore[import-untyped,unused-ignore]

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Boats"
    sheet["A1"] = "Fleet 2026"
    for row in [
        ["Name", "Built", "Length", "Sold"],
        ["Puffin", datetime.date(1999, 5, 1), 12.5, False],
        ["Dunlin", None, 9.0, True],
    ]:
        sheet.append(row)
    sheet["G3"], sheet["H3"], sheet["G4"], sheet["H4"] = "Port", "Berth", "Vessa", 4
    sheet["A7"], sheet["A8"] = "All lengths in metres.", "Ask the harbour."
    sheet["A3"].comment = Comment("Check this", "Ann")
    hidden = book.create_sheet("Old")
    hidden.sheet_state = "hidden"
    for row in [["Route", "2024", None], [None, "Adult", "Child"], ["North", 10, 5], ["South", 11, 6]]:
        hidden.append(row)
    hidden.merge_cells("B1:C1")
    hidden.merge_cells("A1:A2")
    book.save(tmp_path / "a.xlsx")
    sections = list(xlsx.load(tmp_path / "a.xlsx"))
    assert sections[:2] == [
        Section("Name: Puffin; Built: 1999-05-01; Length: 12.5; Sold: false", row=1, heading="Boats > Fleet 2026"),
        Section("Name: Dunlin; Length: 9; Sold: true", row=2, heading="Boats > Fleet 2026"),
    ]
    assert sections[2] == Section("Port: Vessa; Berth: 4", row=1, heading="Boats")
    assert sections[3] == Section("All lengths in metres.\nAsk the harbour.", heading="Boats")
    assert sections[4] == Section("Comment on A3 by Ann: Check this", heading="Boats")
    assert [s.text for s in sections[5:]] == [
        "Route: North; 2024 Adult: 10; 2024 Child: 5", "Route: South; 2024 Adult: 11; 2024 Child: 6",
    ]  # fmt: skip
    assert {s.heading for s in sections[5:]} == {"Old"}


def test_xlsx_keeps_a_form_as_it_stands_and_finds_the_columns_of_numbers(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in [["1", "Rated voltage", "kV", "130"], ["2", "Phases", None, "3"], ["3", "Earthing", None, "Solid"]]:
        book.active.append(row)
    numbers = book.create_sheet("n")
    for i in range(1_500):
        numbers.append([i, i * 2])
    book.save(tmp_path / "a.xlsx")
    form, *rest = xlsx.load(tmp_path / "a.xlsx")
    assert form.text == "| 1 | Rated voltage | kV | 130 |\n| 2 | Phases | 3 |\n| 3 | Earthing | Solid |"
    assert [rest[i].text for i in (0, 1_499)] == ["column 1: 0; column 2: 0", "column 1: 1499; column 2: 2998"]
    assert rest[1_499].row == 1_500


def test_xlsx_refuses_cells_too_far_apart(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active["A1"], book.active["XFD1048576"] = 1, 2
    book.save(tmp_path / "a.xlsx")
    assert "reaches to row 1,048,576 and column 16,384" in refusal(xlsx, tmp_path / "a.xlsx")


def content(body: str, styles: str = "") -> str:
    return f"<office:document-content {ODF}><office:automatic-styles>{styles}</office:automatic-styles><office:body>{body}</office:body></office:document-content>"


def test_ods_is_read_with_the_spreadsheets(tmp_path: Path) -> None:
    def row(*cells: str) -> str:
        inner = (f'<table:table-cell office:value-type="string"><text:p>{c}</text:p></table:table-cell>' for c in cells)
        return f"<table:table-row>{''.join(inner)}</table:table-row>"

    table = f'<office:spreadsheet><table:table table:name="T">{row("Name", "Port")}{row("Puffin", "Vessa")}</table:table></office:spreadsheet>'
    path = archive(tmp_path / "a.ods", mimetype="application/vnd.oasis.opendocument.spreadsheet", content_DOT_xml=content(table),
                   **{"META-INF__manifest_DOT_xml": '<m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'})  # fmt: skip
    assert list(xlsx.load(path)) == [Section("Name: Puffin; Port: Vessa", row=1, heading="T")]


def test_odt_gives_headings_numbered_lists_tables_notes_and_formulas(tmp_path: Path) -> None:
    styles = (
        '<style:style style:name="P1" style:parent-style-name="Title"/>'
        '<text:list-style style:name="L1"><text:list-level-style-number text:level="1"/><text:list-level-style-bullet text:level="2"/></text:list-style>'
    )
    body = (
        '<office:text><text:tracked-changes><text:p>gone</text:p></text:tracked-changes><text:p text:style-name="P1">The Title</text:p>'
        '<text:h text:outline-level="1">One</text:h><text:p>A<text:s text:c="2"/>b <text:span>c</text:span> <text:a xlink:href="https://x.org">site</text:a>.'
        "<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>Note.</text:p></text:note-body></text:note></text:p>"
        '<text:list text:style-name="L1"><text:list-item><text:p>first</text:p><text:list><text:list-item><text:p>in</text:p></text:list-item></text:list>'
        "</text:list-item><text:list-item><text:p>second</text:p></text:list-item></text:list>"
        '<table:table><table:table-row><table:table-cell table:number-columns-spanned="2"><text:p>Wide</text:p></table:table-cell><table:covered-table-cell/>'
        '<table:table-cell table:number-columns-repeated="2"><text:p>r</text:p></table:table-cell></table:table-row></table:table>'
        '<text:p><draw:frame><draw:object xlink:href="./Object 1"/></draw:frame></text:p></office:text>'
    )
    formula = "<math><semantics><mi>x</mi><annotation>x over y</annotation></semantics></math>"
    path = archive(tmp_path / "a.odt", content_DOT_xml=content(body, styles), **{"Object 1__content_DOT_xml": formula})
    section = only(odf, path)
    assert section.heading == "The Title > One"
    assert section.text.split("\n\n") == [
        "A  b c site (https://x.org).[1]", "[1] Note.", "1. first\n  - in\n2. second", "| Wide | Wide | r | r |", "$x over y$",
    ]  # fmt: skip


def test_odp_gives_a_section_a_slide(tmp_path: Path) -> None:
    def slide(title: str, text: str) -> str:
        return (
            f'<draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>{title}</text:p></draw:text-box></draw:frame>'
            f"<draw:custom-shape><text:p>{text}</text:p></draw:custom-shape><presentation:notes><draw:frame "
            'presentation:class="notes"><draw:text-box><text:p>Slowly.</text:p></draw:text-box></draw:frame></presentation:notes></draw:page>'
        )

    body = f"<office:presentation>{slide('One', 'Words')}{slide('Two', 'More')}</office:presentation>"
    assert list(odf.load(archive(tmp_path / "a.odp", content_DOT_xml=content(body)))) == [
        Section("Words\n\nNotes: Slowly.", page=1, heading="One"), Section("More\n\nNotes: Slowly.", page=2, heading="Two"),
    ]  # fmt: skip


def test_odt_with_a_password_is_refused(tmp_path: Path) -> None:
    manifest = "<manifest><file-entry><encryption-data/></file-entry></manifest>"
    path = archive(tmp_path / "a.odt", content_DOT_xml="random", **{"META-INF__manifest_DOT_xml": manifest})
    assert "is encrypted" in refusal(odf, path)
