"""A document on disk: a JSONL file whose first line is the head (the Document's fields, what was cleaned, a signature),
each further line one Section. Read one line at a time, replaced whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from groundtune.records import Document, Section

_DOCUMENT_FIELDS = {field.name for field in fields(Document)}


def first_line(path: Path) -> dict[str, Any]:
    """The head of a document's file."""
    with path.open(encoding="utf-8") as lines:
        head: dict[str, Any] = json.loads(next(lines))
    return head


def as_document(head: Mapping[str, Any]) -> Document:
    """The Document of a head."""
    return Document(**{name: value for name, value in head.items() if name in _DOCUMENT_FIELDS})


def sections_of(path: Path) -> Iterator[Section]:
    """A document's sections, one at a time."""
    with path.open(encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            yield Section(**json.loads(line))


def as_line(value: Mapping[str, Any] | Section) -> str:
    """A head or a section as its line."""
    return json.dumps(asdict(value) if isinstance(value, Section) else value, ensure_ascii=False) + "\n"


def rewrite(path: Path, head: Mapping[str, Any], sections: Iterable[Section]) -> None:
    """Replace a document's file."""
    half = path.with_suffix(".part")
    with half.open("w", encoding="utf-8", newline="\n") as out:
        out.write(as_line(head))
        out.writelines(map(as_line, sections))
    half.replace(path)
