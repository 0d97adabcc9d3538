"""Pretraining text: JSONL files of documents (plain, .gz or .xz), read as a stream, split by document, mixed by weight."""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groundtune.errors import InputError


def read_rows(folder: Path, family: str) -> Iterator[dict[str, Any]]:
    """Rows of every shard of a family (``<family>-NN.jsonl[.xz|.gz]``), in order.

    Raises:
        InputError: no shard, or a line that is not a JSON object.
    """
    shards = sorted(p for p in folder.glob(f"{family}-[0-9]*.jsonl*"))
    if not shards:
        raise InputError(f"{folder}: no file {family}-*.jsonl[.xz|.gz]", expected="the shards of that family")
    for shard in shards:
        opener: Any = {".xz": lzma.open, ".gz": gzip.open}.get(shard.suffix, open)
        with opener(shard, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise InputError(
                        f"{shard}:{number}: not JSON ({error})", expected="one JSON object a line"
                    ) from None
                yield row


def held_out(row: dict[str, Any]) -> bool:
    """True for one document in fifty, by its source's hash: whole documents are held out, the same ones in every run."""
    key = f"{row.get('source', '')}|{row.get('title', '')}"
    return zlib.crc32(key.encode()) % 50 == 0


def texts(folder: Path, family: str, *, want_held_out: bool) -> Iterator[str]:
    """The text of a family's documents on one side of the hold-out."""
    for row in read_rows(folder, family):
        if held_out(row) == want_held_out:
            yield str(row["text"])
