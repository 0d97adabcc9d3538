"""Bytes of a dataset file as lines, plain, .gz or .xz, with what cannot be read named; at most one row in memory."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

#: the longest row that is read
MAX_ROW_BYTES = 64 * 2**20
#: a single line this long ends the reading: it is no dataset, or a compressed bomb
MAX_SKIP_BYTES = 2 * 2**30
PIECE_BYTES = 2**20
#: what reading a cut or broken file raises
DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that cannot be read.

    Attributes:
        code: ``not_json``, ``wrong_encoding``, ``row_too_long``, ``wrong_columns``, ``damaged_file``, ``empty_row`` or
            ``unknown_format``.
        reason: what is wrong, with the byte or column where known.
        text: the beginning of what stands there.
    """

    code: str
    reason: str
    text: str = ""


def opened(path: Path) -> IO[bytes]:
    """The file's bytes, unpacked."""
    import gzip

    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return lzma.open(path, "rb") if path.suffix.lower() == ".xz" else path.open("rb")


def lines_of(file: IO[bytes]) -> Iterator[tuple[int, str | Broken]]:
    """(line number, text) of every line; what cannot be read comes as Broken, and damage to the file ends it."""
    number = 0
    while True:
        number += 1
        try:
            line = file.readline(MAX_ROW_BYTES + 1)
            if len(line) > MAX_ROW_BYTES:
                head, size = line[:200], len(line)
                while line and not line.endswith(b"\n") and size < MAX_SKIP_BYTES:
                    line = file.readline(PIECE_BYTES)
                    size += len(line)
                yield number, Broken("row_too_long", f"over {MAX_ROW_BYTES >> 20} MiB", head.decode("utf-8", "replace"))
                if size >= MAX_SKIP_BYTES:
                    return
                continue
        except DAMAGED as error:
            yield number, Broken("damaged_file", f"the file is damaged from here on: {error}")
            return
        if not line:
            return
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError as error:
            yield number, Broken("wrong_encoding", f"not UTF-8 at byte {error.start} of the line", _shown(line))


def _shown(line: bytes) -> str:
    return line[:200].decode("utf-8", "replace").rstrip("\n")
