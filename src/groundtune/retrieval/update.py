"""An index in which some passages have changed: a copy of the built one with only the touched chunks embedded anew."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from groundtune import registry
from groundtune.config import Config
from groundtune.ingest.ingest import read_result
from groundtune.records import Chunk, Passage
from groundtune.retrieval.index import search_text
from groundtune.retrieval.retriever import Retriever
from groundtune.workspace import Workspace


def index_with_changes(
    workspace: Workspace, config: Config, edits: Sequence[tuple[Passage, str]], folder: Path
) -> Retriever:
    """A retriever over a copy of the index with each passage's text replaced wherever a chunk of its document holds it.

    Args:
        edits: (passage as it was, its new text).
        folder: where the copy goes.
    """
    shutil.copytree(workspace.need("index", next_step="groundtune index") / "store", folder / "store")
    store_module = registry.get("stores", config.index.store)
    embedder = registry.get("embedders", config.index.embedder)
    titles = {d.path: d.title for d in read_result(workspace).documents}
    changed: list[Chunk] = []
    for chunk in store_module.Store(folder / "store").chunks():
        text = chunk.text
        for passage, new_text in edits:
            if chunk.document == passage.document:
                text = _edited(text, passage.text, new_text)
        if text != chunk.text:
            changed.append(replace(chunk, text=text))
    if changed:
        texts = [search_text(c, titles.get(c.document, "")) for c in changed]
        store_module.replace_chunks(folder / "store", changed, texts, embedder.embed(texts))
    return Retriever(folder, config.index, config.retrieval)


def _edited(text: str, old: str, new: str) -> str:
    """Replace a passage in a chunk; a table row may be written with other separators, so its changed cell is replaced."""
    if old in text:
        return text.replace(old, new)
    old_cells, new_cells = old.split(", "), new.split(", ")
    if len(old_cells) == len(new_cells) > 2 and all(cell in text for cell in old_cells):
        for before, after in zip(old_cells, new_cells, strict=True):
            if before != after:
                text = text.replace(before, after)
    return text
