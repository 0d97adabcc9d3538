"""Calls of loaders for tests: a file written, read whole with what was left out, refused, and the memory that it takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from groundtune.errors import InputError
from groundtune.ingest import sectioning
from groundtune.ingest.reading import LoadOptions
from groundtune.records import Section


def write(path: Path, content: str | bytes) -> Path:
    """Write a file."""
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def refusal(loader: ModuleType, path: Path) -> str:
    """The problem for which a loader refuses a file, having seen that the message is whole."""
    with pytest.raises(InputError) as caught:
        list(loader.load(path))
    assert str(path) in caught.value.problem
    assert caught.value.expected
    assert caught.value.next_step
    return caught.value.problem


def read(loader: ModuleType, path: Path, **options: Any) -> tuple[list[Section], tuple[str, ...]]:
    """The sections of a document, and what the loader says it left out.

    Args:
        options: fields of ``LoadOptions``.
    """
    loading = loader.load(path, LoadOptions(**options))
    sections = []
    while True:
        try:
            sections.append(next(loading))
        except StopIteration as stop:
            return sections, stop.value


def peak_bytes(sections: Iterator[Section]) -> tuple[int, int]:
    """Most memory while the sections pass by, and the characters that passed."""
    characters = 0
    tracemalloc.start()
    try:
        for section in sections:
            assert len(section.text) <= sectioning.MAX_SECTION_CHARACTERS
            characters += len(section.text)
        return tracemalloc.get_traced_memory()[1], characters
    finally:
        tracemalloc.stop()
