"""Word documents: sections by heading; lists with their numbers, tables, text boxes, equations as LaTeX, notes, comments.

Leaves out pictures and embedded files. ``.doc`` (the format before 2007) is another format.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from groundtune.ingest import archives, reading, sectioning, word_blocks
from groundtune.ingest.office_package import Package
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.records import Section

EXTENSIONS = (".docx", ".docm", ".dotx")

_KIND = "a Word document (.docx)"


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a heading, with the path of headings above it; headers and footers come last, once.

    Reads the body element by element: memory holds one paragraph or table, besides styles and notes.

    Raises:
        InputError: missing, empty, another kind of file, damaged, encrypted, a ZIP bomb, or without text.
    """
    archives.check_zip(path, _KIND, must_hold="word/")
    empty = True
    try:
        with Package(path, _KIND) as package:
            for section in sectioning.sections(word_blocks.document(package)):
                empty = False
                yield section
    except archives.ERRORS as error:
        raise reading.damaged(path, _KIND, error) from error
    if empty:
        reading.refuse_blank(path, "a document with text")
