"""Renders the source documents (a simple Markdown) to PDF, DOCX, HTML and TXT, the same bytes every time."""

from __future__ import annotations

import html
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import docx
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import ListFlowable, PageBreak, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

PAGE_BREAK = "<<<page>>>"
ORGANISATION = "Orrin Sound Harbour Cooperative"
#: every date that a file format insists on
FIXED_DATE = datetime(2026, 8, 3, 9, 0, 0)
#: from the largest down; the first with which every source page fits on one PDF page is taken
FONT_SIZES = (10.5, 10.0, 9.5, 9.0, 8.5, 8.0)


@dataclass(frozen=True, slots=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Break:
    pass


Block = Heading | Text | Bullets | Rows | Break


def shipped_name(source: Path) -> str:
    """``x.pdf.md`` -> ``x.pdf``; a CSV keeps its name."""
    return source.name.removesuffix(".md")


def parse(text: str) -> list[Block]:
    """The blocks of a source document, in order."""
    return list(_blocks([line.strip() for line in text.splitlines()]))


def cells(line: str) -> tuple[str, ...]:
    """The cells of one pipe-table line."""
    return tuple(cell.strip() for cell in line.strip("|").split("|"))


def _blocks(lines: list[str]) -> Iterator[Block]:
    i = 0
    while i < len(lines):
        line = lines[i]
        i += 1
        if not line:
            continue
        if line == PAGE_BREAK:
            yield Break()
        elif match := re.fullmatch(r"(#{1,3}) (.+)", line):
            yield Heading(len(match[1]), match[2])
        elif line.startswith(("- ", "|")):
            start, block = line[:1], [line]
            while i < len(lines) and lines[i].startswith(start):
                block.append(lines[i])
                i += 1
            if start == "-":
                yield Bullets(tuple(item[2:].strip() for item in block))
                continue
            header, rule, *rows = [cells(row) for row in block]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in rule) or {len(r) for r in rows} != {len(header)}:
                raise ValueError(f"not a well-formed table: {line}")
            yield Rows(header, tuple(rows))
        else:
            yield Text(line)


def _title(blocks: list[Block]) -> str:
    return next(block.text for block in blocks if isinstance(block, Heading))


# --------------------------------------------------------------------------
# PDF


def _pdf_story(blocks: list[Block], size: float, width: float) -> list[Any]:
    body = ParagraphStyle("body", fontName="Helvetica", fontSize=size, leading=size * 1.3, spaceAfter=size * 0.6)
    head = ParagraphStyle("head", parent=body, fontName="Helvetica-Bold", spaceBefore=size * 0.7)
    headings = {
        n: ParagraphStyle(f"h{n}", parent=head, fontSize=size + grow, leading=(size + grow) * 1.2)
        for n, grow in ((1, 8), (2, 4), (3, 1))
    }
    cell = ParagraphStyle("cell", parent=body, fontSize=size - 1, leading=(size - 1) * 1.2, spaceAfter=0)
    cell_head = ParagraphStyle("cell_head", parent=cell, fontName="Helvetica-Bold")
    grid = TableStyle(
        [
            ("GRID", (0, 0), (-1, -1), 0.4, colors.grey),
            ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor("#dfe7ee")),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ]
    )
    story: list[Any] = []
    for block in blocks:
        match block:
            case Heading(level, text):
                story.append(Paragraph(_escape(text), headings[level]))
            case Text(text):
                story.append(Paragraph(_escape(text), body))
            case Bullets(items):
                story.append(ListFlowable([Paragraph(_escape(i), body) for i in items], bulletType="bullet", start="•"))
            case Rows(header, rows):
                styled = [
                    [Paragraph(_escape(c), style) for c in row]
                    for row, style in ((header, cell_head), *((r, cell) for r in rows))
                ]
                story += [
                    Table(styled, colWidths=[width / len(header)] * len(header), style=grid),
                    Spacer(1, size * 0.8),
                ]
            case Break():
                story.append(PageBreak())
    return story


def to_pdf(blocks: list[Block], language: str) -> bytes:
    """A PDF whose pages are exactly the source's pages.

    Raises:
        ValueError: a source page does not fit on one PDF page even in the smallest type.
    """
    title = _title(blocks)
    pages = 1 + sum(isinstance(block, Break) for block in blocks)
    footing = {"en": "{title} - page {page} of {pages}", "de": "{title} - Seite {page} von {pages}"}[language]

    def footer(canvas: Any, document: Any) -> None:
        canvas.setFont("Helvetica", 8)
        canvas.drawCentredString(A4[0] / 2, 11 * mm, footing.format(title=title, page=document.page, pages=pages))

    for size in FONT_SIZES:
        buffer = io.BytesIO()
        document = SimpleDocTemplate(
            buffer, pagesize=A4, leftMargin=22 * mm, rightMargin=22 * mm, topMargin=20 * mm, bottomMargin=20 * mm,
            title=title, author=ORGANISATION, invariant=1,
        )  # fmt: skip
        document.build(_pdf_story(blocks, size, document.width), onFirstPage=footer, onLaterPages=footer)
        if document.page == pages:
            return buffer.getvalue()
    raise ValueError(f"{title}: {document.page} PDF pages for {pages} source pages; a source page is too long")


# --------------------------------------------------------------------------
# DOCX


def to_docx(blocks: list[Block], _: str) -> bytes:
    """A Word document with real heading, list and table styles."""
    document: Any = docx.Document()
    properties = document.core_properties
    properties.title, properties.author, properties.last_modified_by = _title(blocks), ORGANISATION, ORGANISATION
    properties.created = properties.modified = properties.last_printed = FIXED_DATE
    properties.comments, properties.revision = "", 1
    for block in blocks:
        match block:
            case Heading(level, text):
                document.add_heading(text, level=level)
            case Text(text):
                document.add_paragraph(text)
            case Bullets(items):
                for item in items:
                    document.add_paragraph(item, style="List Bullet")
            case Rows(header, rows):
                table = document.add_table(rows=0, cols=len(header), style="Table Grid")
                for number, row in enumerate((header, *rows)):
                    for cell, text in zip(table.add_row().cells, row, strict=True):
                        cell.paragraphs[0].add_run(text).bold = True if number == 0 else None
                document.add_paragraph()
            case Break():
                document.add_page_break()
    written, fixed = io.BytesIO(), io.BytesIO()
    document.save(written)
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(fixed, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(
                zipfile.ZipInfo(entry.filename, FIXED_DATE.timetuple()[:6]), source.read(entry), zipfile.ZIP_DEFLATED
            )
    return fixed.getvalue()


# --------------------------------------------------------------------------
# HTML, TXT

_HTML = """<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<title>{title} | {organisation}</title>
<style>
body {{ font-family: sans-serif; max-width: 52rem; margin: auto }}
td, th {{ border: 1px solid #999; padding: 0.3rem }}
</style>
<script>document.documentElement.className = "js";</script>
</head>
<body>
<header><p><a href="/">{organisation}</a></p></header>
<nav aria-label="{main}"><ul>
{links}
</ul></nav>
<main>
<article>
{article}
</article>
</main>
<aside><p>{letter}</p></aside>
<footer><p>&copy; {organisation}. <a href="/privacy">{privacy}</a> <a href="/imprint">{imprint}</a></p></footer>
</body>
</html>
"""


#: what surrounds an article, by language: the pages the navigation links to, and the rest
_LINKS = {
    "en": {"ferries": "Ferries", "marinas": "Marinas", "museum": "Museum", "members": "Members", "contact": "Contact"},
    "de": {"ferries": "Fähren", "marinas": "Häfen", "museum": "Museum", "members": "Mitglieder", "contact": "Kontakt"},
}
_AROUND = {
    "en": {"main": "Main", "letter": "Sign up for our monthly letter.", "privacy": "Privacy", "imprint": "Imprint"},
    "de": {
        "main": "Menü",
        "letter": "Bestellen Sie unseren Rundbrief.",
        "privacy": "Datenschutz",
        "imprint": "Impressum",
    },
}


def to_html(blocks: list[Block], language: str) -> bytes:
    """A web page: the article with the navigation, header and footer that surround such pages."""
    return _HTML.format(
        language=language,
        links="\n".join(f'<li><a href="/{page}">{name}</a></li>' for page, name in _LINKS[language].items()),
        title=_escape(_title(blocks)),
        organisation=ORGANISATION,
        article="\n".join(_article(blocks)),
        **_AROUND[language],
    ).encode()


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def _article(blocks: list[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Heading(level, text):
                yield f"<h{level}>{_escape(text)}</h{level}>"
            case Text(text):
                yield f"<p>{_escape(text)}</p>"
            case Bullets(items):
                yield "\n".join(["<ul>", *(f"<li>{_escape(item)}</li>" for item in items), "</ul>"])
            case Rows(header, rows):
                yield (
                    "<table>\n<thead><tr>"
                    + "".join(f"<th>{_escape(c)}</th>" for c in header)
                    + "</tr></thead>\n<tbody>"
                )
                yield from ("<tr>" + "".join(f"<td>{_escape(c)}</td>" for c in row) + "</tr>" for row in rows)
                yield "</tbody>\n</table>"
            case Break():
                yield "<hr>"


def to_txt(blocks: list[Block], _: str) -> bytes:
    """Plain text: headings underlined (the third level in capitals), tables as aligned ``a | b`` lines."""
    return ("\n\n".join(_plain(blocks)) + "\n").encode()


def _plain(blocks: list[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Heading(level, text):
                yield text.upper() if level == 3 else f"{text}\n{' =-'[level] * len(text)}"
            case Text(text):
                yield text
            case Bullets(items):
                yield "\n".join(f"* {item}" for item in items)
            case Rows(header, rows):
                widths = [max(len(row[n]) for row in (header, *rows)) for n in range(len(header))]
                yield "\n".join(
                    " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in (header, *rows)
                )
            case Break():
                yield "\f"


_RENDERERS: dict[str, Callable[[list[Block], str], bytes]] = {
    ".pdf": to_pdf,
    ".docx": to_docx,
    ".html": to_html,
    ".txt": to_txt,
}


def render(source: Path, language: str = "en") -> bytes:
    """The shipped bytes of one source document; the language is that of what a format puts around it.

    Raises:
        ValueError: a malformed table, or a page that is too long.
    """
    name = Path(shipped_name(source))
    if name.suffix in (".md", ".csv"):
        return source.read_bytes()
    return _RENDERERS[name.suffix](parse(source.read_text(encoding="utf-8")), language)
