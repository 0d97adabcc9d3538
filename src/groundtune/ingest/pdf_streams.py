"""Whether a PDF's compressed parts unpack to a size that can be held: pdfium takes some fifteen bytes for each of theirs.

Leaves out parts that are encrypted or packed by other means than Flate, and small parts that draw one another many
times over: only a limit on the whole process stops those.
"""

from __future__ import annotations

import mmap
import re
import zlib
from pathlib import Path

#: a page's drawing instructions are seldom over 5 MB; pictures are decoded row by row and may be larger
MAX_BYTES, MAX_PICTURE_BYTES = 64 << 20, 2 << 30
_STREAM = re.compile(rb"stream\r?\n")
_DICTIONARY_BYTES = 2_048
_BLOCK_BYTES = 1 << 16
#: Flate packs at most 1 : 1032
_MAX_RATIO = 1_032


def largest_over_limit(path: Path) -> int:
    """Bytes to which the first part that is too large unpacks, as far as it was unpacked; 0 where none is.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = 0
        for match in _STREAM.finditer(data):
            at = match.end()
            if at < end or data[max(0, match.start() - 3) : match.start()] == b"end":
                continue
            head = data[max(0, match.start() - _DICTIONARY_BYTES) : match.start()].rpartition(b" obj")[2]
            if b"Flate" not in head and b"/Fl" not in head:
                continue
            limit = MAX_PICTURE_BYTES if b"/Image" in head else MAX_BYTES
            end = data.find(b"endstream", at)
            end = len(data) if end < 0 else end
            if (end - at) * _MAX_RATIO > limit and (size := _unpacked(data, at, end, limit)) > limit:
                return size
    return 0


def _unpacked(data: mmap.mmap, at: int, end: int, limit: int) -> int:
    """Bytes to which data[at:end] unpacks, at most one block over the limit."""
    unpack, size = zlib.decompressobj(), 0
    try:
        for start in range(at, end, _BLOCK_BYTES):
            rest: bytes = data[start : min(start + _BLOCK_BYTES, end)]
            while rest and size <= limit and not unpack.eof:
                size += len(unpack.decompress(rest, _BLOCK_BYTES * 16))
                rest = unpack.unconsumed_tail
            if size > limit or unpack.eof:
                break
    except zlib.error:
        pass  # damaged from here on; what pdfium reads of it is not more
    return size
