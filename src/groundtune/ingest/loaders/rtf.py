"""Rich text (.rtf): paragraphs, lists and table rows; a paragraph with an outline level is a heading.

Leaves out pictures, fonts and layout. Word 97 files that are named .doc are another format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groundtune.errors import InputError
from groundtune.ingest import reading, sectioning
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.ingest.sectioning import Block
from groundtune.records import Section

EXTENSIONS = (".rtf",)

_KIND = "an RTF document"
_MAX_BYTES = 24 << 20
#: pictures and embedded files: hexadecimal digits that are no text
_DIGITS = re.compile(rb"(?:[0-9a-fA-F]{40,}[\r\n ]*){2,}")
_BINARY = re.compile(rb"\\bin(\d{1,9}) ?")
_HEADING_STYLE = re.compile(
    rb"\\s(\d+)(?=[^{}]*?\\(?:s\d+|[a-z]))(?:[^{};]|\{[^{}]*\})*?[ }](?:heading|[Uu]berschrift) (\d);", re.I
)
_OUTLINE = re.compile(rb"\\outlinelevel(\d)(?!\d)")
_PARAGRAPH = re.compile(rb"\\pard(?![a-z])")
_MARK = "\ue0f0"


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield sections by heading where the document has outline levels, else of up to 20,000 characters.

    Raises:
        InputError: missing, empty, another kind of file, over 24 MiB without its pictures, damaged, or without text.
    """
    reading.check_file(path, _KIND, signature=b"{\\rtf")
    empty = True
    for section in sectioning.sections(_blocks(_text(path))):
        empty = False
        yield section
    if empty:
        reading.refuse_blank(path, "a document with text")


def _text(path: Path) -> str:
    from striprtf.striprtf import rtf_to_text  # type: ignore[import-untyped,unused-ignore]

    data = path.read_bytes() if path.stat().st_size <= 20 * _MAX_BYTES else b""
    data = _DIGITS.sub(b"", _without_binary(data))
    if len(data) > _MAX_BYTES or not data:
        raise InputError(f"{path} has more than {_MAX_BYTES >> 20} MiB", expected="one document", next_step="split it")
    try:
        convert: Any = rtf_to_text
        return str(convert(_marked(data).decode("latin-1"), encoding="cp1252", errors="replace"))
    except Exception as error:  # striprtf raises whatever its parsing meets
        raise reading.damaged(path, _KIND, error) from error


def _without_binary(data: bytes) -> bytes:
    """The file without what follows ``\\bin``: that many bytes of anything."""
    out, at = [], 0
    while match := _BINARY.search(data, at):
        out.append(data[at : match.start()])
        at = match.end() + int(match[1])
    return b"".join([*out, data[at:]])


def _marked(data: bytes) -> bytes:
    """The file with a mark and the level at the start of each heading, which the text would not show."""
    styles = {match[1]: int(match[2]) for match in _HEADING_STYLE.finditer(data[: 1 << 20])}
    body = data.find(b"\\pard")
    if body < 0:
        return data
    out = [data[:body]]
    for piece in re.split(rb"(?=\\pard(?![a-z]))", data[body:]):
        first = piece.partition(b"\\par\n")[0][:400]
        outline = _OUTLINE.search(first)
        style = re.match(rb"\\pard(?:\\[a-z]+-?\d*)*?\\s(\d+)(?!\d)", piece)
        level = int(outline[1]) + 1 if outline and int(outline[1]) < 9 else styles.get(style[1], 0) if style else 0
        mark = b"\\pard {\\u%d?%d}" % (ord(_MARK) - 0x10000, level) if level else b"\\pard"
        out.append(mark + piece.removeprefix(b"\\pard"))
    return b"".join(out)


def _blocks(text: str) -> Iterator[Block]:
    table: list[str] = []
    items: list[str] = []
    for line in text.replace("\u2028", "\n").split("\n"):
        is_row = line.rstrip().endswith("|") and "|" in line.rstrip()[:-1]
        if not is_row and table:
            yield Block("\n".join(table))
            table = []
        bare = line.replace(_MARK, "")
        is_item = bool(sectioning.LIST_ITEM.match(bare)) and not is_row
        if items and not is_item:
            yield Block("\n".join(items))
            items = []
        if heading := re.match(rf"\s*{_MARK}(\d)(.*)$", line):
            if heading[2].strip():
                yield Block(heading[2].strip(), int(heading[1]))
        elif is_row:
            table += filter(None, [sectioning.row_of(bare.rstrip().removesuffix("|").split("|"))])
        elif is_item:
            items.append(sectioning.dashed(bare.replace("\t", " ").rstrip()))
        elif bare.strip():
            yield Block(bare.strip())
    yield from (Block("\n".join(lines)) for lines in (table, items) if lines)
