"""Word documents: markitdown turns them into Markdown, whose headings make the sections; tables become pipe rows.

Leaves out images, comments, headers and footers. ``.doc`` (the format before 2007) is another format.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from groundtune.errors import InputError
from groundtune.ingest import reading, sectioning
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.records import Section

EXTENSIONS = (".docx",)

_KIND = "a Word document (.docx)"
_MAX_XML_BYTES = 256 << 20
#: a folder in the archive -> what such a file is
_OTHERS = {"xl/": "an Excel workbook (.xlsx)", "ppt/": "a PowerPoint file (.pptx)"}


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a heading, with the path of headings above it.

    Raises:
        InputError: missing, empty, another kind of file, damaged, without text, or with more than 256 MiB of XML.
    """
    reading.check_file(path, _KIND, signature=b"PK\x03\x04")
    _check_archive(path)
    empty = True
    for section in sectioning.sections(sectioning.markdown_blocks(_markdown(path).splitlines())):
        empty = False
        yield section
    if empty:
        raise InputError(f"{path} has no text", expected="a document with text", next_step="leave it out")


def _markdown(path: Path) -> str:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # markitdown imports onnxruntime, which reports unless told not to
    from markitdown import StreamInfo
    from markitdown.converters import DocxConverter

    try:
        with path.open("rb") as stream:
            converter = DocxConverter()  # type: ignore[no-untyped-call,unused-ignore]
            return converter.convert(stream, StreamInfo(extension=".docx")).markdown
    except Exception as error:  # markitdown, mammoth, zipfile and the XML parser each raise their own
        raise _damaged(path, error) from error


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise _damaged(path, error) from error
    names = [member.filename for member in members]
    if not any(name.startswith("word/") for name in names):
        inside = {name.split("/")[0] + "/" for name in names}
        other = next((what for folder, what in _OTHERS.items() if folder in inside), "another ZIP archive")
        raise InputError(f"{path} is {other}, not {_KIND}", expected=_KIND, next_step="save it from Word as .docx")
    if sum(member.file_size for member in members if member.filename.endswith(".xml")) > _MAX_XML_BYTES:
        raise InputError(f"{path} unpacks to more than {_MAX_XML_BYTES >> 20} MiB of XML",
                         expected="a document of ordinary size", next_step="split the document")  # fmt: skip


def _damaged(path: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(
        f"{path} is damaged and cannot be read as {_KIND}: {reason}",
        expected="a whole file",
        next_step="open it in Word and save it again, or copy it again",
    )
