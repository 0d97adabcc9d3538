"""ZIP archives, as office files and e-books are: is it whole, is it bearable, and its members one at a time.

Never unpacks to disk, and no archive inside an archive. Leaves out what the members mean.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from groundtune.errors import InputError
from groundtune.ingest import reading

#: a ZIP archive over the first size is refused; over the second one where it unpacks to more than so many times its size
_MAX_UNPACKED_BYTES, _SUSPICIOUS_BYTES, _MAX_UNPACKED_RATIO = 500 << 20, 50 << 20, 200
#: the XML of a body may have so many bytes: a table is held whole, in about 14 times its size; sheets are read otherwise
_MAX_XML_BYTES = 100 << 20
#: a part of an archive that is read whole (one XML file) may have so many bytes
_MAX_PART_BYTES = 64 << 20
#: a member, or the beginning of one's name -> what such a ZIP archive is
_ARCHIVES = (
    ("word/", "a Word document (.docx)"),
    ("xl/", "an Excel workbook (.xlsx)"),
    ("ppt/", "a PowerPoint file (.pptx)"),
    ("META-INF/container.xml", "an e-book (.epub)"),
    ("content.xml", "an OpenDocument file (.odt, .ods or .odp)"),
)
#: what reading a member of an archive raises when the archive is damaged
ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    KeyError,
    NotImplementedError,  # how zipfile says that it does not know a member's compression, or the archive's version
    RuntimeError,
    ValueError,
)


def check_zip(path: Path, kind: str, *, must_hold: str) -> None:
    """Check that a file is a whole ZIP archive of its kind, not encrypted, that unpacks to a bearable size.

    Only the archive's directory is read here, and nothing is unpacked; :func:`read_part` trusts no size that it names.

    Args:
        path: the file.
        kind: what it claims to be, with its article, as in "a Word document (.docx)".
        must_hold: a member, or a folder ending in "/", that every such archive has.

    Raises:
        InputError: as :func:`reading.check_file`; damaged, encrypted, another kind of archive, over 500 MiB unpacked, or over
            50 MiB and more than 200 times its own size, or with over 100 MiB of XML in one part that is no sheet.
    """
    reading.check_file(path, kind, signature=b"PK\x03\x04")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except ERRORS as error:
        raise reading.damaged(path, kind, error) from error
    names = [member.filename for member in members]
    if not any(name.startswith(must_hold) if must_hold.endswith("/") else name == must_hold for name in names):
        other = next(
            (what for mark, what in _ARCHIVES if any(n.startswith(mark) for n in names)), "another ZIP archive"
        )
        problem = f"{path} is {other}, not {kind}" if other != kind else f"{path} is {kind} without {must_hold!r}"
        raise InputError(problem, expected=kind, next_step="give it the extension of what it is, or save it again")
    if any(member.flag_bits & 1 for member in members):
        raise InputError(f"{path} is encrypted", expected=kind, next_step="save it without a password")
    large = next((m for m in members if m.file_size > _MAX_XML_BYTES and m.filename.endswith("ml")), None)
    if large and not large.filename.startswith("xl/"):
        raise InputError(f"{path}: {large.filename} unpacks to {large.file_size:,} bytes",
                         expected=f"at most {_MAX_XML_BYTES >> 20} MiB of text in one part", next_step="split the file")  # fmt: skip
    unpacked, packed = sum(member.file_size for member in members), path.stat().st_size
    if unpacked > _MAX_UNPACKED_BYTES or (unpacked > _SUSPICIOUS_BYTES and unpacked > _MAX_UNPACKED_RATIO * packed):
        raise InputError(f"{path} unpacks from {packed:,} to {unpacked:,} bytes, as a ZIP bomb does",
                         expected=f"{kind} of ordinary size", next_step="split it, or leave it out")  # fmt: skip


def read_part(archive: zipfile.ZipFile, name: str) -> bytes:
    """One member of an archive, unpacked in memory.

    Raises:
        ERRORS: not there, damaged, or over 64 MiB; callers name the file (see :func:`reading.damaged`).
    """
    with archive.open(name) as stream:
        data = stream.read(_MAX_PART_BYTES + 1)
    if len(data) > _MAX_PART_BYTES:
        raise ValueError(f"{name} has more than {_MAX_PART_BYTES >> 20} MiB")
    return data
