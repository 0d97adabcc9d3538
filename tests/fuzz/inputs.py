"""Broken files, numbered: input n is the same bytes in every run. Whole files of each format, and ways to break them."""

from __future__ import annotations

import email.message
import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice

TEXT = (
    "The reading rooms open at 9:30. Übersicht: ein Tag kostet 17 €.\n\n| item | price |\n|---|---|\n| kayak | 17 |\n"
)
OFFICE = (".docx", ".pptx", ".xlsx", ".odt", ".epub")


@cache
def whole(suffix: str) -> bytes:
    """A small valid file of a format."""
    return _WHOLE[suffix]()


def _docx() -> bytes:
    import docx

    document = docx.Document()
    document.add_heading("Rooms", 1)
    document.add_paragraph(TEXT)
    table = document.add_table(2, 2)
    table.cell(0, 0).text = "item"
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _pptx() -> bytes:
    import pptx

    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Rooms"
    slide.placeholders[1].text = TEXT
    out = io.BytesIO()
    deck.save(out)
    return out.getvalue()


def _xlsx() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    for row in (("item", "price"), ("kayak", 17), ("canoe", 31.5)):
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def zipped(members: dict[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def _odt() -> bytes:
    space = 'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
    body = f"<office:document-content {space}><office:body><office:text><text:h text:outline-level='1'>Rooms</text:h><text:p>{TEXT}</text:p></office:text></office:body></office:document-content>"
    return zipped({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": body})


def _epub() -> bytes:
    opf = '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>'
    box = '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="c.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    page = f"<html><body><h1>Rooms</h1><p>{TEXT}</p></body></html>"
    return zipped({"mimetype": "application/epub+zip", "META-INF/container.xml": box, "c.opf": opf, "a.xhtml": page})


def _pdf() -> bytes:
    from reportlab.pdfgen.canvas import Canvas

    out = io.BytesIO()
    canvas = Canvas(out)
    for page in range(3):
        for n, line in enumerate(TEXT.splitlines()):
            canvas.drawString(72, 700 - 14 * n, f"{line} {page}")
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table({"item": ["kayak", "canoe"], "price": [17, 31]}), out)
    return out.getvalue()


def _eml() -> bytes:
    mail = email.message.EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "Rooms", "a@example.org", "b@example.org"
    mail.set_content(TEXT)
    mail.add_alternative(f"<p>{TEXT}</p>", subtype="html")
    mail.add_attachment(TEXT.encode(), maintype="text", subtype="plain", filename="a.txt")
    return bytes(mail)


def _chat() -> bytes:
    row = {"messages": [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "9:30"}]}
    return b"".join(json.dumps(row).encode() + b"\n" for _ in range(12))


_WHOLE: dict[str, Callable[[], bytes]] = {
    ".pdf": _pdf, ".docx": _docx, ".pptx": _pptx, ".xlsx": _xlsx, ".odt": _odt, ".epub": _epub, ".parquet": _parquet,
    ".eml": _eml, ".jsonl": _chat,
    ".html": lambda: f"<html><body><main><h1>Rooms</h1><p>{TEXT}</p><table><tr><td>a</td><td>b</td></tr></table></main></body></html>".encode(),
    ".md": lambda: f"# Rooms\n\n{TEXT}".encode(),
    ".txt": lambda: TEXT.encode(),
    ".csv": lambda: b'item,price\nkayak,17\n"rowing, boat",23\n',
    ".json": lambda: json.dumps([{"item": "kayak", "price": {"day": 17, "week": [1, 2]}}] * 5).encode(),
    ".rtf": lambda: rb"{\rtf1\ansi\ansicpg1252 {\b Rooms}\par The rooms open at 9:30. \'fcber\par}",
    ".adoc": lambda: f"= Rooms\n\n== Hours\n\n{TEXT}\n|===\n|a |b\n|===\n".encode(),
    ".xml": lambda: b"<?xml version='1.0'?><article><front><article-title>Rooms</article-title></front><body><sec><title>A</title><p>Open.</p></sec></body></article>",
    ".tex": lambda: rb"\documentclass{article}\begin{document}\section{Rooms}They open at 9:30.\begin{tabular}{ll}a&b\\\end{tabular}\end{document}",
    ".sql": lambda: b"-- groundtune: sqlite:///none.db\nSELECT * FROM products\n",
}  # fmt: skip
SUFFIXES = tuple(_WHOLE)


def _flipped(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 4, 30, 300))):
        if out:
            out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _repeated(data: bytes, rng: random.Random) -> bytes:
    a, b = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    return data[:b] + data[a:b] * rng.choice((1, 3, 50)) + data[b:]


def _holed(data: bytes, rng: random.Random) -> bytes:
    a, b = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    return data[:a] + data[b:]


def _spliced(data: bytes, rng: random.Random) -> bytes:
    other = whole(rng.choice(SUFFIXES))
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[rng.randrange(len(other)) :]


def _random(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.choice((0, 4, 16))] + rng.randbytes(rng.choice((1, 100, 5_000, 200_000)))


def _numbers(data: bytes, rng: random.Random) -> bytes:
    """Every so many digits another number: lengths, offsets and counts go wrong."""
    return bytes(rng.choice(b"0123456789") if chr(c).isdigit() and rng.random() < 0.2 else c for c in data)


def _other_encoding(data: bytes, rng: random.Random) -> bytes:
    text = data.decode("utf-8", "replace")
    return text.encode(rng.choice(("utf-16", "utf-16-be", "utf-32", "cp1252", "utf-7")), "replace")


def _inside(data: bytes, rng: random.Random) -> bytes:
    """One member of a ZIP-based file broken, the archive itself whole."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError):  # an unknown compression is the latter
        return _flipped(data, rng)
    name = rng.choice(sorted(members))
    members[name] = rng.choice((_flipped, _cut, _holed, _repeated, _numbers))(members[name], rng)
    return zipped(members)  # type: ignore[arg-type]


def _nested_archive(data: bytes, rng: random.Random) -> bytes:
    inner = zipped({"a.docx": whole(".docx"), "b.txt": TEXT * 50})
    for _ in range(rng.randint(1, 12)):
        inner = zipped({"inner.zip": inner})
    return rng.choice((inner, gzip.compress(inner)))


def _deep(suffix: str, rng: random.Random) -> bytes:
    depth = rng.choice((500, 20_000, 200_000))
    if suffix == ".json":
        return b"[" * depth + b"1" + b"]" * depth
    if suffix == ".jsonl":
        return b'{"a":' * depth + b"1" + b"}" * depth
    if suffix == ".rtf":
        return rb"{\rtf1 " + b"{" * depth + b"x" + b"}" * depth + b"}"
    if suffix == ".md":
        return b"> " * depth + b"x\n" + b"- " * depth
    if suffix == ".tex":
        return rb"\begin{document}" + rb"\textbf{" * depth + b"x" + b"}" * depth
    return b"<div>" * depth + b"x" + b"</div>" * depth


def _entities(suffix: str, rng: random.Random) -> bytes:
    """Billion laughs, and an entity that reads a file."""
    lines = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{lines}<!ENTITY f SYSTEM "file:///etc/passwd">]><article><body><p>&l11;&f;</p></body></article>'
    if suffix in OFFICE:
        with zipfile.ZipFile(io.BytesIO(whole(suffix))) as archive:
            members: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
        victims = [n for n in members if n.endswith((".xml", ".opf", ".xhtml", ".rels"))]
        members[rng.choice(victims)] = bomb
        return zipped(members)
    return bomb.encode()


def _bomb(suffix: str, rng: random.Random) -> bytes:
    """A small archive that unpacks to gigabytes: one member of zeros or spaces in place of a real one."""
    size = rng.choice((200, 1500)) * 1_000_000
    members: dict[str, str | bytes] = {}
    if suffix in OFFICE:
        with zipfile.ZipFile(io.BytesIO(whole(suffix))) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    victim = rng.choice(sorted(members) or ["a.txt"])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            if name != victim:
                archive.writestr(name, content)
        with archive.open(victim, "w", force_zip64=True) as member:
            block = rng.choice((b"\0", b" ", b"<w:p>")) * 1_000_000
            for _ in range(size // len(block)):
                member.write(block)
    return out.getvalue()


def _long_line(suffix: str, rng: random.Random) -> bytes:
    unit = rng.choice((b"x", b"word ", b'"', b"|", b"<", b"[", b"\\", b"*", b"`", b"&amp;", b"a.b@", b"1,"))
    return unit * (rng.choice((10_000, 1_000_000, 8_000_000)) // len(unit))


def _broken_rows(suffix: str, rng: random.Random) -> bytes:
    rows = [
        '{"messages": []}', '{"messages": [{"role": "user"}]}', "[]", "null", "{", '{"messages": {"role": 1}}', "",
        '{"messages": [{"role": "assistant", "content": null, "tool_calls": [1]}]}', '{"prompt": 1, "completion": {}}',
        '{"instruction": ["x"], "output": null}', '{"conversations": [{"from": 3}]}', '{"text": "\\ud800"}', "NaN",
        '{"preferred_output": [], "non_preferred_output": 3, "input": []}', '{"question": "", "references": [1, null]}',
        '{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', "1e999", '{"a": 1} {"b": 2}', "\x00",
    ]  # fmt: skip
    good = whole(".jsonl").decode().splitlines()
    return "\n".join(rng.choice([*rows, *good]) for _ in range(rng.choice((1, 20, 400)))).encode()


_BYTES = (_flipped, _cut, _repeated, _holed, _spliced, _random, _numbers, _other_encoding, _inside, _inside)


def made(number: int) -> tuple[str, str, bytes]:
    """(suffix, what was done, bytes) of input ``number``."""
    rng = random.Random(number)
    suffix = rng.choice(SUFFIXES)
    chance = rng.random()
    if chance < 0.80:
        way = rng.choice(_BYTES)
        return suffix, way.__name__.strip("_"), way(whole(suffix), rng)
    if chance < 0.84:
        return suffix, "nested archive", _nested_archive(b"", rng)
    if chance < 0.88:
        suffix = rng.choice((".json", ".jsonl", ".rtf", ".md", ".tex", ".html", ".xml"))
        return suffix, "deep", _deep(suffix, rng)
    if chance < 0.92:
        suffix = rng.choice((".xml", ".html", *OFFICE))
        return suffix, "entities", _entities(suffix, rng)
    if chance < 0.925:  # a bomb takes a second to make
        suffix = rng.choice((*OFFICE, ".txt"))
        return suffix, "bomb", _bomb(suffix, rng)
    if chance < 0.96:
        return suffix, "long line", _long_line(suffix, rng)
    return ".jsonl", "broken rows", _broken_rows(suffix, rng)


def sample(count: int, seed: int = 0) -> Iterator[int]:
    """Input numbers below 10,000, in an order that the seed decides."""
    order = list(range(10_000))
    random.Random(seed).shuffle(order)
    return islice(iter(order), count)
