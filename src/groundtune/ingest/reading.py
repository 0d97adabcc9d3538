"""Reading files for the loaders: is it there, is it what it claims, which encoding, its lines in bounded memory.

Leaves out what a format means (the loaders) and how text becomes sections (``sectioning``).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TextIO

from groundtune.errors import InputError

_BLOCK_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 15
_MAX_LINE_CHARACTERS = 16_000
#: first bytes -> what such a file is
_SIGNATURES = (
    (b"%PDF-", "a PDF"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"PK\x03\x04", "a ZIP archive (as .docx, .xlsx, .pptx, .odt and .epub are)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old or password-protected Office file"),
    (b"{\\rtf", "an RTF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "a program"),
)
_BOMS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: encodings in real use besides Unicode; a wider choice makes detection on short texts worse
_LEGACY = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "koi8_r", "cp932", "euc_jp", "gb18030", "cp949", "big5"]
_CONTROLS = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")
_HTML = re.compile(rb"\s*(<\?xml[^>]*>\s*)?<(!doctype html|html|head|body)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a user sets for reading files; each loader uses what concerns it.

    Attributes:
        passwords: tried in order on encrypted files.
        ocr: recognise the text of scanned pages, where the extra is installed.
    """

    passwords: tuple[str, ...] = ()
    ocr: bool = True


DEFAULT_OPTIONS = LoadOptions()


def check_file(path: Path, kind: str, *, signature: bytes = b"") -> None:
    """Check that a file can be read and begins as its kind does.

    Args:
        path: the file.
        kind: what it claims to be, with its article, as in "a PDF".
        signature: bytes that stand in the first 1,024 bytes of such a file; empty for text, where instead no binary
            format's signature may stand at the start.

    Raises:
        InputError: missing, a folder, not readable, empty, or another kind of file (which is named).
    """
    head = _head(path)
    found = next((name for magic, name in _SIGNATURES if head.startswith(magic)), "")
    if signature:
        if signature in head:
            return
        found = found or ("an HTML page" if _HTML.match(head) else "")
        what = f"is {found}, not {kind}" if found else f"is not {kind}: its first bytes are {head[:8]!r}"
        problem = f"{path} {what}"
    elif found:
        problem = f"{path} is {found}, not {kind}"
    else:
        return
    raise InputError(problem, expected=kind, next_step="give the file the extension of what it is, or export it again")


def damaged(path: Path, kind: str, error: BaseException | str) -> InputError:
    """The error for a file that begins as its kind does and cannot be read to its end."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"{path} is damaged and cannot be read as {kind}: {reason[:200]}",
        expected="a whole file",
        next_step="open it in the program that made it and save it again, or copy it again",
    )


def refuse_blank(path: Path, expected: str = "a file with text") -> NoReturn:
    """Refuse a file that was read to its end and held no text.

    Raises:
        InputError: always.
    """
    raise InputError(f"{path} has no text", expected=expected, next_step="leave it out")


def _head(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder", expected="a file", next_step="name a file in it")
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is a device or a pipe", expected="a regular file", next_step="copy it to a file")
        with path.open("rb") as stream:
            head = stream.read(1024)
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise InputError(
            f"{path} {reason}", expected="a readable file", next_step="check its path and permissions"
        ) from error
    if not head:
        raise InputError(f"{path} is empty", expected="a file with text", next_step="leave it out or write it again")
    return head


def encoding_of(path: Path) -> str:
    """The codec that decodes the whole file: byte order mark, else zeros as UTF-16 has them, strict UTF-8, or detected.

    Reads the file once, one megabyte at a time. Detection is charset-normalizer's, on 32 KiB around the first byte that
    is not UTF-8, among the legacy encodings in common use.

    Raises:
        InputError: the file holds NUL bytes or decodes in none of them; names the byte's offset from 0.
    """
    with path.open("rb") as stream:
        head = stream.read(4096)
    encoding = next((name for mark, name in _BOMS if head.startswith(mark)), "") or _unmarked_wide(head) or "utf-8"
    wide = encoding.startswith(("utf-16", "utf-32"))
    offset = _undecodable(path, encoding, nul_allowed=wide)
    if offset is None:
        return encoding
    if wide or encoding == "utf-8-sig":
        announced = encoding.removesuffix("-sig").upper()
        _refuse(path, offset, f"does not decode as the {announced} that the file's first bytes announce")
    with path.open("rb") as stream:
        stream.seek(max(0, offset - _SAMPLE_BYTES // 2))
        sample = stream.read(_SAMPLE_BYTES)
    encoding = _detected(sample)
    if not encoding:
        _refuse(path, offset, "belongs to no text encoding that was recognised")
    offset = _undecodable(path, encoding)
    if offset is not None:
        _refuse(path, offset, f"does not decode as {encoding}, which the text before it seems to be")
    return encoding


def _unmarked_wide(head: bytes) -> str:
    """UTF-16 or UTF-32 without a byte order mark, told by where the zeros of its ASCII characters stand; else ""."""
    for width, order in ((4, "le"), (4, "be"), (2, "le"), (2, "be")):
        places = [head[i : len(head) // width * width : width] for i in range(width)]
        if order == "be":
            places.reverse()
        lowest, *others = places
        mostly_zero = all(place.count(0) > len(place) / 2 for place in others)
        if len(lowest) >= 4 and not lowest.count(0) and mostly_zero and (width == 2 or not others[-1].strip(b"\x00")):
            return f"utf-{8 * width}-{order}"
    return ""


def _refuse(path: Path, offset: int, why: str) -> NoReturn:
    raise InputError(f"{path} is not text: the byte at offset {offset} {why}", expected="text in UTF-8",
                     next_step="save it as UTF-8, or leave it out if it is no text")  # fmt: skip


def _undecodable(path: Path, encoding: str, *, nul_allowed: bool = False) -> int | None:
    """Offset of the first byte that does not decode, or None; a NUL byte raises InputError."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    read, block = 0, b"-"
    with path.open("rb") as stream:
        while block:
            block = stream.read(_BLOCK_BYTES)
            nul = -1 if nul_allowed else block.find(b"\x00")
            if nul >= 0:
                _refuse(path, read + nul, "is NUL")
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return max(0, read - pending + error.start)
            read += len(block)
    return None


def _detected(sample: bytes) -> str:
    """The legacy encoding of a sample, or "" where it looks binary. Only words that are not ASCII tell anything."""
    from charset_normalizer import from_bytes

    if len(_CONTROLS.findall(sample)) > len(sample) / 100:
        return ""
    telling = b" ".join(word for word in sample.split() if not word.isascii())
    signs = telling.decode("cp1252", errors="replace")
    if not any(c.isalpha() or c == "\ufffd" for c in signs if not c.isascii()):
        return "cp1252"  # quotes, dashes and currency only
    matches = list(from_bytes(telling, cp_isolation=_LEGACY))
    by_name = {match.encoding: match for match in matches}
    # the Central European page reads Western text just as fluently, with wrong accents: the common one goes first
    if matches and (matches[0].encoding != "cp1250" and matches[0].coherence > 0):
        return matches[0].encoding
    western = by_name.get("cp1252")
    if western and western.coherence >= matches[0].coherence - 0.1:
        return "cp1252"
    if matches:
        return matches[0].encoding
    try:
        sample.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    return "cp1252"


def open_text(path: Path, *, newline: str | None = None) -> TextIO:
    """The file opened as text in its own encoding; ``newline`` as in :func:`open`.

    Raises:
        InputError: as :func:`encoding_of`.
    """
    return path.open("r", encoding=encoding_of(path), newline=newline)


def lines(path: Path) -> Iterator[str]:
    """The lines of a text file without their ends, one at a time.

    A line over 16,000 characters comes in pieces, cut after a sentence or a word, so that a file which is one line of
    any size is still read, in bounded memory.

    Raises:
        InputError: as :func:`encoding_of`.
    """
    with open_text(path) as stream:
        rest = ""
        while piece := stream.readline(_MAX_LINE_CHARACTERS - len(rest)):
            line = rest + piece
            if line.endswith("\n"):
                rest = ""
            elif len(line) < _MAX_LINE_CHARACTERS:  # the file's last line, or a short read that goes on
                rest = line
                continue
            else:
                cut = boundary(line, _MAX_LINE_CHARACTERS - 1)
                line, rest = line[:cut], line[cut:]
            yield line.rstrip("\n")
        if rest:
            yield rest


def boundary(text: str, limit: int) -> int:
    """Where to cut a text so that at most ``limit`` characters stand before: after a paragraph, line, sentence or word.

    Only the second half of the ``limit`` characters is looked at; without a boundary there the cut is at ``limit``.
    """
    for mark in ("\n\n", "\n", ". ", "! ", "? ", "。", " "):
        at = text.rfind(mark, limit // 2, limit)
        if at >= 0:
            return at + len(mark)
    return limit
