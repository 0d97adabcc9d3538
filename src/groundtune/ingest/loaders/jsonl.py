"""JSON Lines (.jsonl .ndjson): one section a line; nested keys are written "outer.inner: value"."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from groundtune.errors import InputError
from groundtune.ingest import reading, rows
from groundtune.ingest.reading import DEFAULT_OPTIONS, LoadOptions
from groundtune.records import Section

EXTENSIONS = (".jsonl", ".ndjson")

_MAX_LINE_CHARACTERS = 16 << 20


def load(path: Path, options: LoadOptions = DEFAULT_OPTIONS) -> Iterator[Section]:
    """Yield one section a line that is not blank; ``row`` counts them from 1. Memory holds one line.

    Raises:
        InputError: missing, empty, no text, a line that is no JSON or over 16 million characters (named), without text.
    """
    reading.check_file(path, "a JSON Lines file")
    number, empty = 0, True
    with reading.open_text(path) as stream:
        place = 0
        while line := stream.readline(_MAX_LINE_CHARACTERS):
            place += 1
            if not line.strip():
                continue
            number += 1
            for section in rows.record(_value(path, place, line), number):
                empty = False
                yield section
    if empty:
        reading.refuse_blank(path, "lines of JSON with values in them")


def _value(path: Path, place: int, line: str) -> object:
    try:
        if len(line) >= _MAX_LINE_CHARACTERS:
            raise ValueError(f"it is longer than {_MAX_LINE_CHARACTERS:,} characters")
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{path}:{place}: the line is not JSON: {reason}", expected="one JSON value a line",
                         next_step="mend or delete that line")  from error  # fmt: skip
