"""Plain text: paragraphs grouped to sections of 2,000 to 4,000 characters, under the headings that can be recognised.

A heading is a short line that is underlined (``=`` is the first level, ``-`` and ``~`` the second) or written in
capitals (the third) at the start of a paragraph. Leaves out numbered and title-case headings, which in plain text look
like list items and sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from groundtune.errors import InputError
from groundtune.ingest import reading, sectioning
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.ingest.sectioning import Block
from groundtune.records import Section

EXTENSIONS = (".txt", ".text", ".log")

_UNDERLINE = re.compile(r"\s*([=~*_-])\1{2,}\s*$")
_ENOUGH, _LIMIT = 2_000, 4_000


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield the sections of a text file in any encoding that :func:`reading.encoding_of` finds.

    Reads line by line: memory does not grow with the file. Hard line wraps inside a paragraph are undone.

    Raises:
        InputError: missing, empty, no text file, or nothing but white space.
    """
    reading.check_file(path, "a text file")
    empty = True
    for section in sectioning.sections(_blocks(reading.lines(path)), enough=_ENOUGH, limit=_LIMIT):
        empty = False
        yield section
    if empty:
        raise InputError(f"{path} is empty but for white space", expected="a file with text", next_step="leave it out")


def _blocks(lines: Iterator[str]) -> Iterator[Block]:
    paragraph: list[str] = []
    size = 0
    for line in lines:
        underline = _UNDERLINE.match(line)
        if underline and len(paragraph) == 1 and len(paragraph[0]) <= 100:
            yield Block(paragraph.pop().strip(), 1 if underline[1] == "=" else 2)
        elif underline or not line.strip():
            yield from _paragraph(paragraph)
            paragraph, size = [], 0
        else:
            paragraph.append(line.rstrip())
            size += len(line)
            if size > sectioning.MAX_BLOCK_CHARACTERS:
                yield from _paragraph(paragraph)
                paragraph, size = [], 0
    yield from _paragraph(paragraph)


def _paragraph(lines: list[str]) -> Iterator[Block]:
    if lines and _is_capitals(lines[0]) and not (len(lines) > 1 and _is_capitals(lines[1])):
        yield Block(lines[0].strip(), 3)
        lines = lines[1:]
    if len(lines) > 1 and all(" | " in line for line in lines):
        yield Block("\n".join(sectioning.row_of(line.strip(" |").split("|")) for line in lines))
    elif lines:
        yield Block(sectioning.join_wrapped(lines))


def _is_capitals(line: str) -> bool:
    """True for a short line in capitals that is no sentence, as headings are written in plain text."""
    text = line.strip()
    letters = [c for c in text if c.isalpha()]
    return len(letters) >= 4 and text.isupper() and len(text) <= 80 and text[-1] not in ".;,!?" and "|" not in text
