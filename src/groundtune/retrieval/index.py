"""Documents to an index: chunks, vectors, full text. A killed run keeps the vectors it has computed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from groundtune import registry
from groundtune.config import IndexConfig
from groundtune.dataset.reading import sentences
from groundtune.ingest.ingest import documents_digest, read_result, read_sections
from groundtune.records import Chunk, Document
from groundtune.retrieval.chunkers import chunk_document
from groundtune.retrieval.embedding import Embedder, identity, open_embedder
from groundtune.workspace import Workspace, digest

VERSION = 3
BATCH = 64
#: (chunks done, chunks in all)
Progress = Callable[[int, int], None]


def heading_line(chunk: Chunk) -> str:
    """The document's name and the headings above a chunk: what tells near twins apart."""
    name = chunk.document.rsplit("/", 1)[-1].rsplit(".", 1)[0].replace("-", " ").replace("_", " ")
    return " > ".join(dict.fromkeys(p for p in (name, *chunk.heading.split(" > ")) if p))


def search_text(chunk: Chunk) -> str:
    """What is embedded and searched of a chunk."""
    return f"{heading_line(chunk)}\n{chunk.text}"


def chunk_sentences(chunk: Chunk) -> list[str]:
    """A chunk's sentences; a table row is one sentence."""
    return [chunk.text] if chunk.row is not None else sentences(chunk.text) or [chunk.text]


def make_entries(chunks: Sequence[Chunk], store: Any, vectors_of: Callable[[list[str]], Any]) -> list[Any]:
    """The store's entries of chunks; ``vectors_of`` embeds (texts) -> (len(texts), dimensions)."""
    split = [chunk_sentences(c) for c in chunks]
    whole = [search_text(c) for c in chunks]
    alone = [s for part in split for s in part]
    behind = [f"{heading_line(c)}: {s}" for c, part in zip(chunks, split, strict=True) for s in part]
    unique = list(dict.fromkeys([*whole, *alone, *behind]))
    row = {text: n for n, text in enumerate(unique)}
    vectors = vectors_of(unique)
    out, at = [], 0
    for chunk, text, part in zip(chunks, whole, split, strict=True):
        here = slice(at, at + len(part))
        at += len(part)
        rows = [[row[t] for t in texts[here]] for texts in (alone, behind)]
        out.append(store.Entry(chunk, text, vectors[row[text]], part, vectors[rows[0]], vectors[rows[1]]))
    return out


def build_index(
    workspace: Workspace, config: IndexConfig, *, progress: Progress | None = None, embedder: Embedder | None = None
) -> tuple[Path, bool]:
    """The artifact ``index`` for the ingested documents; returns its folder and whether it was made now.

    Args:
        embedder: the config's, opened already; for one that remembers (:mod:`groundtune.retrieval.kept_vectors`).
    """
    inputs = {"version": VERSION, "documents": documents_digest(workspace), "config": config.model_dump()}
    known_by = identity(workspace, config.embedder)
    if known_by != config.embedder:  # a folder: the same name may hold other weights tomorrow
        inputs["embedder"] = known_by

    def work(folder: Path) -> Mapping[str, Any]:
        documents = read_result(workspace).documents
        embedding = embedder or open_embedder(workspace, config.embedder)
        store = registry.get("stores", config.store)
        total = sum(1 for _ in document_chunks(workspace, documents, config, embedding.count_tokens))
        parts = folder / "vectors"
        parts.mkdir(exist_ok=True)
        shutil.rmtree(folder / "store", ignore_errors=True)

        def kept(texts: list[str]) -> Any:
            part = parts / f"{digest(texts)[:32]}.npy"
            if not part.exists():
                half = part.with_suffix(".part")
                with half.open("wb") as out:
                    np.save(out, embedding.embed(texts))
                half.replace(part)
            return np.load(part)

        def batches() -> Iterator[list[Any]]:
            chunks = document_chunks(workspace, documents, config, embedding.count_tokens)
            done = 0
            while batch := list(islice(chunks, BATCH)):
                yield make_entries(batch, store, kept)
                done += len(batch)
                if progress:
                    progress(done, total)

        store.build(folder / "store", batches(), embedding.DIMENSIONS)
        shutil.rmtree(parts)
        return {"chunks": total, "documents": len(documents), "embedder": embedding.NAME}

    return workspace.make("index", inputs, work)


def forget_document(workspace: Workspace, document_id: str, documents: str) -> bool:
    """Take every chunk, sentence and vector of a document out of the index; False where there is no index.

    Args:
        document_id: the document's id.
        documents: the digest of the documents that remain, so that the index counts as up to date.
    """
    manifest = workspace.manifest("index")
    if manifest is None:
        return False
    folder = workspace.path("index")
    store = registry.get("stores", manifest["inputs"]["config"]["store"])
    rest, old = folder / "store.part", folder / "store.old"
    if old.exists() and not (folder / "store").exists():  # killed between the two renamings below
        old.rename(folder / "store")
    for leftover in (rest, old):
        shutil.rmtree(leftover, ignore_errors=True)
    chunks = store.copy_without(folder / "store", rest, document_id)
    (folder / "store").rename(old)
    rest.rename(folder / "store")
    shutil.rmtree(old)
    inputs = {**manifest["inputs"], "documents": documents}
    workspace.amend("index", inputs, {**manifest["figures"], "chunks": chunks, "documents": manifest["figures"]["documents"] - 1})  # fmt: skip
    return True


def document_chunks(
    workspace: Workspace, documents: Sequence[Document], config: IndexConfig, count: Callable[[str], int]
) -> Iterator[Chunk]:
    """The chunks of ingested documents, in order, as the index has them; ``count`` gives a text's tokens."""
    folder = workspace.path("documents")
    for document in documents:
        yield from chunk_document(
            document,
            read_sections(folder, document),
            count=count,
            chunk_tokens=config.chunk_tokens,
            overlap_tokens=config.overlap_tokens,
        )
