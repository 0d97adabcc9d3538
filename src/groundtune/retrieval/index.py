"""Documents to an index: chunks, vectors, full text. Only what changed is done anew, and a killed run keeps its vectors.

Documents are told apart by the digests of their sections: one that is as it was keeps its rows and vectors, one that
changed loses the old ones and gets new ones, one that is gone loses them. Another embedder, chunker or size means all anew.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from groundtune import registry
from groundtune.config import IndexConfig
from groundtune.ingest.ingest import documents_digest, read_result, read_sections
from groundtune.nn.encoders import Vectors
from groundtune.records import Chunk, Document
from groundtune.retrieval.chunking import chunk_document
from groundtune.retrieval.embedding import INDEX_VERSION, identity, open_embedder
from groundtune.retrieval.entries import Texts, chunk_sentences, heading_line, make_entries, search_text
from groundtune.retrieval.stores._entry import Options, Words
from groundtune.retrieval.words import COMPOUNDING, count_words, document_languages, known
from groundtune.workspace import Workspace, digest, file_digest, write_json

__all__ = [
    "build_index",
    "chunk_sentences",
    "document_chunks",
    "forget_document",
    "heading_line",
    "make_entries",
    "search_text",
]

#: chunks embedded together; large enough that texts of one length fill a batch
BATCH = 256
#: which documents an index holds: id -> [path, digest of its sections]
HELD = "documents.json"
PROJECT = "store-project"
#: (documents done, documents in all)
Progress = Callable[[int, int], None]


def build_index(
    workspace: Workspace, config: IndexConfig, *, progress: Progress | None = None, embedder: Any = None
) -> tuple[Path, bool]:
    """The artifact ``index`` for the ingested documents; returns its folder and whether it was made now.

    Args:
        embedder: the config's, opened already: one that remembers (:mod:`groundtune.retrieval.kept_vectors`).
    """
    inputs = _inputs(workspace, config)
    store = registry.get("stores", config.store)

    def work(folder: Path) -> Mapping[str, Any]:
        documents = read_result(workspace).documents
        held = {d.id: [d.path, file_digest(workspace.path("documents") / f"{d.id}.jsonl")] for d in documents}
        before = _held(workspace, inputs)
        old = before or {}
        fresh = [d for d in documents if old.get(d.id) != held[d.id]]
        gone = [id_ for id_ in old if old[id_] != held.get(id_)]
        shutil.rmtree(folder / "store", ignore_errors=True)
        (folder / "vectors").mkdir(exist_ok=True)
        embedding = embedder or open_embedder(workspace, config.embedder)
        words = _words(workspace, documents)
        new = _entries(workspace, config, fresh, folder / "vectors", store, embedding, progress)
        if before is None:
            (folder / "store").mkdir()
            words.write(folder / "store")
            options = Options(config.database or "", _project(workspace, config), config.approximate_from)
            chunks = store.build(folder / "store", new, embedding.DIMENSIONS, options)
        else:
            store.take_over(workspace.path("index") / "store", folder / "store")
            earlier = _read_words(folder / "store")
            words.write(folder / "store")
            kept = [d for d in documents if d.id not in {f.id for f in fresh}]
            said_anew = [d.id for d in kept if _reads_otherwise(d, earlier, words)]
            again = _held_entries(store, workspace.path("index") / "store", set(said_anew))
            deleted = [*gone, *said_anew]
            chunks = store.change(folder / "store", delete=deleted, batches=(b for part in (again, new) for b in part))
        shutil.rmtree(folder / "vectors")
        write_json(folder / HELD, held)
        return {
            "chunks": chunks,
            "documents": len(documents),
            "embedder": embedding.NAME,
            **_changes(old, held),
        }

    folder, made = workspace.make("index", inputs, work)
    if made:
        store.sweep(folder / "store")
    return folder, made


def _inputs(workspace: Workspace, config: IndexConfig) -> dict[str, Any]:
    """What an index depends on; of the database's address, which may hold a password, only the digest."""
    settings = config.model_dump()
    if settings.pop("database") is not None:
        settings["database"] = digest(config.database)
    inputs = {"version": INDEX_VERSION, "documents": documents_digest(workspace), "config": settings}
    known_by = identity(workspace, config.embedder)
    if known_by != config.embedder:  # a folder: the same name may hold other weights tomorrow
        inputs["embedder"] = known_by
    return inputs


def _held(workspace: Workspace, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The documents of the finished index, where it was made in the same way; else None."""
    manifest = workspace.manifest("index")
    path = workspace.path("index") / HELD
    if manifest is None or not path.exists():
        return None
    made_so, wanted = ({k: v for k, v in i.items() if k != "documents"} for i in (manifest["inputs"], inputs))
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found if made_so == wanted else None


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, int]:
    """How many documents came, are other than they were, and went, by their paths."""
    before, now = ({path: (id_, seen) for id_, (path, seen) in held.items()} for held in (old, new))
    return {
        "added": len(now.keys() - before.keys()),
        "changed": sum(before[path] != now[path] for path in now.keys() & before.keys()),
        "removed": len(before.keys() - now.keys()),
    }


def _entries(
    workspace: Workspace,
    config: IndexConfig,
    documents: Sequence[Document],
    parts: Path,
    store: Any,
    embedder: Any,
    progress: Progress | None,
) -> Iterator[list[Any]]:
    """The entries of documents in batches; vectors are kept in ``parts`` until the index is whole."""

    def kept(texts: Texts, compute: Callable[[], Vectors]) -> Vectors:
        part = parts / f"{digest([texts.whole, texts.split])[:32]}.npy"
        if not part.exists():
            half = part.with_suffix(".part")
            with half.open("wb") as out:
                np.save(out, compute())
            half.replace(part)
        found: Vectors = np.load(part)
        return found

    done = 0

    def counted() -> Iterator[Document]:
        nonlocal done
        for document in documents:
            yield document
            done += 1

    chunks = document_chunks(workspace, counted(), config, embedder.count_tokens, embed=embedder.embed)
    while batch := list(islice(chunks, BATCH)):
        yield make_entries(batch, store, embedder, config.sentences, kept)
        if progress:
            progress(done, len(documents))


def _held_entries(store: Any, folder: Path, documents: set[str]) -> Iterator[list[Any]]:
    """What a store holds of documents, vectors included, in batches."""
    if not documents:
        return
    opened = store.Store(folder)
    ids = [c.id for c in opened.chunks() if c.document_id in documents]
    for start in range(0, len(ids), BATCH):
        yield list(opened.entries(ids[start : start + BATCH]).values())


def _words(workspace: Workspace, documents: Sequence[Document], without: str = "") -> Words:
    """How texts are turned into terms; for German ones their words are counted."""
    languages = document_languages(d for d in documents if d.id != without)
    folder = workspace.path("documents")
    counts = count_words(
        section.text for d in documents if languages.get(d.id) in COMPOUNDING for section in read_sections(folder, d)
    )
    undecided = next((languages[d.id] for d in documents if d.language == "und" and d.id in languages), None)
    told = sorted(set(languages.values()))
    return Words(undecided or (told[0] if len(told) == 1 else "en"), told or ["en"], dict(counts))


def _read_words(folder: Path) -> Words:
    from groundtune.retrieval.stores._entry import Terms

    return Terms(folder).words


def _reads_otherwise(document: Document, before: Words, now: Words) -> bool:
    """Whether a document's text has other terms than it had, though it is the same."""
    language = known(now.default if document.language == "und" else document.language)
    if document.language == "und" and before.default != now.default:
        return True
    return language in COMPOUNDING and dict(before.counts) != dict(now.counts)


def _project(workspace: Workspace, config: IndexConfig) -> str:
    """What this workspace's tables in a shared database are told from others' by; a copy of the folder keeps it."""
    if not config.database:
        return ""
    path = workspace.path(PROJECT)
    if not path.exists():
        path.write_text(secrets.token_hex(5), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def forget_document(workspace: Workspace, document_id: str, documents: str) -> bool:
    """Take every chunk, sentence, vector and counted word of a document out of the index; False where there is no index.

    Args:
        document_id: the document's id, which is still among the ingested documents.
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
        store.remove(leftover)
    chunks = store.copy_without(folder / "store", rest, document_id)
    _words(workspace, read_result(workspace).documents, without=document_id).write(rest)
    (folder / "store").rename(old)
    rest.rename(folder / "store")
    store.remove(old)
    if (folder / HELD).exists():
        held = json.loads((folder / HELD).read_text(encoding="utf-8"))
        write_json(folder / HELD, {id_: seen for id_, seen in held.items() if id_ != document_id})
    inputs = {**manifest["inputs"], "documents": documents}
    workspace.amend("index", inputs, {**manifest["figures"], "chunks": chunks, "documents": manifest["figures"]["documents"] - 1})  # fmt: skip
    return True


def document_chunks(
    workspace: Workspace,
    documents: Iterator[Document] | Sequence[Document],
    config: IndexConfig,
    count: Callable[[str], int],
    *,
    embed: Callable[[Sequence[str]], Any] | None = None,
) -> Iterator[Chunk]:
    """The chunks of ingested documents, in order, as the index has them.

    Args:
        documents: in the order wanted.
        config: how they are cut.
        count: a text's tokens.
        embed: for a chunker that looks at vectors; default: the index's embedder.
    """
    folder = workspace.path("documents")

    def embedded(texts: Sequence[str]) -> Any:
        return (embed or open_embedder(workspace, config.embedder).embed)(texts)

    for document in documents:
        yield from chunk_document(
            document,
            read_sections(folder, document),
            count=count,
            chunk_tokens=config.chunk_tokens,
            overlap_tokens=config.overlap_tokens,
            chunker=config.chunker,
            embed=embedded,
        )
