"""Documents to an index: chunks, vectors, full text. A killed run keeps the vectors it has computed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from groundtune import registry
from groundtune.config import IndexConfig
from groundtune.ingest.ingest import documents_digest, read_result, read_sections
from groundtune.records import Chunk, Document
from groundtune.retrieval.chunkers import chunk_document
from groundtune.workspace import Workspace, digest

VERSION = 1
BATCH = 128
#: (chunks done, chunks in all)
Progress = Callable[[int, int], None]


def search_text(chunk: Chunk, title: str) -> str:
    """What is embedded and searched: the document's name and the headings tell near twins apart."""
    name = chunk.document.rsplit("/", 1)[-1].rsplit(".", 1)[0].replace("-", " ").replace("_", " ")
    head = " > ".join(dict.fromkeys(p for p in (name, *chunk.heading.split(" > ")) if p))
    return f"{head}\n{chunk.text}"


def build_index(workspace: Workspace, config: IndexConfig, *, progress: Progress | None = None) -> tuple[Path, bool]:
    """The artifact ``index`` for the ingested documents; returns its folder and whether it was made now."""
    inputs = {"version": VERSION, "documents": documents_digest(workspace), "config": config.model_dump()}

    def work(folder: Path) -> Mapping[str, Any]:
        documents = read_result(workspace).documents
        embedder = registry.get("embedders", config.embedder)
        count = embedder.count_tokens
        total = sum(1 for _ in _chunks(workspace, documents, config, count))
        store = folder / "store"
        shutil.rmtree(store, ignore_errors=True)
        vectors = folder / "vectors"
        vectors.mkdir(exist_ok=True)
        used: list[Path] = []

        def batches() -> Iterator[tuple[list[Chunk], list[str], Any]]:
            titles = {d.id: d.title for d in documents}
            chunks = _chunks(workspace, documents, config, count)
            done = 0
            while batch := list(islice(chunks, BATCH)):
                texts = [search_text(c, titles[c.document_id]) for c in batch]
                part = vectors / f"{digest(texts)[:32]}.npy"
                if not part.exists():
                    half = part.with_suffix(".part")
                    with half.open("wb") as out:
                        np.save(out, embedder.embed(texts))
                    half.replace(part)
                used.append(part)
                yield batch, texts, np.load(part)
                done += len(batch)
                if progress:
                    progress(done, total)

        registry.get("stores", config.store).build(store, batches(), embedder.DIMENSIONS)
        shutil.rmtree(vectors)
        return {"chunks": total, "documents": len(documents), "embedder": embedder.NAME}

    return workspace.make("index", inputs, work)


def _chunks(workspace: Workspace, documents: tuple[Document, ...], config: IndexConfig, count: Callable[[str], int]) -> Iterator[Chunk]:
    folder = workspace.path("documents")
    for document in documents:
        yield from chunk_document(
            document,
            read_sections(folder, document),
            count=count,
            chunk_tokens=config.chunk_tokens,
            overlap_tokens=config.overlap_tokens,
        )
