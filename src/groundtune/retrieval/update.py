"""An index in which some passages have changed: a copy of the built one with only the touched chunks embedded anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from groundtune import registry
from groundtune.config import Config
from groundtune.records import Chunk, Passage
from groundtune.retrieval.embedding import embedder_of_index
from groundtune.retrieval.index import make_entries
from groundtune.retrieval.retriever import Retriever
from groundtune.workspace import Workspace


def index_with_changes(
    workspace: Workspace, config: Config, edits: Sequence[tuple[Passage, Passage]], folder: Path
) -> Retriever:
    """A retriever over a copy of the index with passages replaced wherever a chunk of their document holds them.

    Args:
        edits: (passage as it was, as it is now).
        folder: where the copy goes.
    """
    built = workspace.need("index", next_step="groundtune index") / "store"
    store = registry.get("stores", config.index.store)
    store.copy(built, folder / "store")
    changed: list[Chunk] = []
    for chunk in store.Store(folder / "store").chunks():
        text = chunk.text
        for old, new in edits:
            if chunk.document == old.document:
                text = edited(text, old.text, new.text)
        if text != chunk.text:
            changed.append(replace(chunk, text=text))
    embedder = embedder_of_index(workspace, config.index)
    if changed:
        store.replace(folder / "store", make_entries(changed, store, embedder, config.index.sentences))
    return Retriever(folder, config.index, config.retrieval, embedder)


def edited(text: str, old: str, new: str) -> str:
    """Replace a passage in a text; a table row may stand there with other separators, so its changed cell is replaced."""
    if old in text:
        return text.replace(old, new)
    old_cells, new_cells = old.split(", "), new.split(", ")
    if len(old_cells) == len(new_cells) > 2 and all(cell in text for cell in old_cells):
        for line in text.splitlines():
            if all(cell in line for cell in old_cells):
                row = line
                for before, after in zip(old_cells, new_cells, strict=True):
                    if before != after:
                        row = row.replace(before, after)
                text = text.replace(line, row)
    return text
