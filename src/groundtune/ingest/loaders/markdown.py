"""Markdown: one section a heading, with the path of headings above it. Front matter becomes a section of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from groundtune.errors import InputError
from groundtune.ingest import reading, sectioning
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.ingest.sectioning import Block
from groundtune.records import Section

EXTENSIONS = (".md", ".markdown", ".mdown", ".mkd")

_MAX_FRONT_MATTER_LINES = 200


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield the sections of a Markdown file, its inline marks taken off and its tables kept as ``| a | b |`` rows.

    Reads line by line: memory does not grow with the file.

    Raises:
        InputError: missing, empty, no text file, or without any text.
    """
    reading.check_file(path, "a Markdown file")
    empty = True
    for section in sectioning.sections(_blocks(reading.lines(path))):
        empty = False
        yield section
    if empty:
        raise InputError(f"{path} is empty but for white space", expected="Markdown text", next_step="leave it out")


def _blocks(lines: Iterator[str]) -> Iterator[Block]:
    """The file's blocks; YAML between two ``---`` lines at its head is kept as it stands."""
    first = next(lines, "")
    head = [first]
    if first.strip() == "---":
        for line in itertools.islice(lines, _MAX_FRONT_MATTER_LINES):
            head.append(line)
            if line.strip() in ("---", "..."):
                if text := "\n".join(head[1:-1]).strip():
                    yield Block(text)
                head = []
                break
    yield from sectioning.markdown_blocks(itertools.chain(head, lines))
