"""What sentence vectors of one pass cost: recall@1 / recall@5 of ``index.sentences`` and of int8, by exact search.

    python tools/sentence_vectors.py ../shared/evalsets/xquad_en/xquad.en.jsonl
    python tools/sentence_vectors.py PROJECT            an ingested project: its training questions

No reranker, no step further by name, no rule about years: chunk, sentences and BM25 with fixed weights, so that only the vectors differ.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from groundtune.ingest.ingest import read_result, read_sections
from groundtune.records import Document, Section
from groundtune.retrieval.bm25 import Bm25
from groundtune.retrieval.chunking import chunk_document
from groundtune.retrieval.embedding import open_embedder
from groundtune.retrieval.entries import make_entries
from groundtune.retrieval.stores import lance
from groundtune.workspace import Workspace

#: of the chunk, its best sentence alone, its best behind its headings, BM25 relative to the best
WEIGHTS = (0.25, 0.40, 0.35, 0.10)
Question = tuple[str, str, str]


def xquad(path: Path) -> tuple[list[tuple[str, list[Section]]], list[Question]]:
    """A paragraph is a document; its questions, and nothing more of the passage than its name."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = {c: f"paragraph-{n:03}.txt" for n, c in enumerate(dict.fromkeys(r["context"] for r in rows), 1)}
    return [(n, [Section(c)]) for c, n in names.items()], [(r["question"], names[r["context"]], "") for r in rows]


def project(folder: Path) -> tuple[list[tuple[str, list[Section]]], list[Question]]:
    """Ingested documents, and the training questions with the first passage of each."""
    workspace = Workspace(folder)
    kept = workspace.path("documents")
    documents = [(d.path, list(read_sections(kept, d))) for d in read_result(workspace).documents]
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = [r for r in rows if r["split"] == "train" and r.get("passages")]
    return documents, [(r["question"], r["passages"][0]["document"], r["passages"][0]["text"]) for r in asked]


def recalls(scores_QC: Any, right_QC: Any) -> str:
    """recall@1 / recall@5 over the questions whose passage stands in some chunk."""
    best = np.argsort(-scores_QC, axis=1, kind="stable")[:, :5]
    found = np.take_along_axis(right_QC, best, axis=1)[right_QC.any(axis=1)]
    return f"{found[:, 0].mean():.3f} / {found.any(axis=1).mean():.3f}"


def entries_of(chunks: list[Any], embedder: Any, way: Any) -> Iterable[Any]:
    for start in range(0, len(chunks), 256):
        yield from make_entries(chunks[start : start + 256], lance, embedder, way)


def main() -> None:
    source = Path(sys.argv[1])
    documents, questions = project(source) if source.is_dir() else xquad(source)
    workspace = Workspace(source if source.is_dir() else Path())
    embedders = {name: open_embedder(workspace, name) for name in ("minilm", "minilm_int8")}
    chunks = [
        chunk
        for name, sections in documents
        for chunk in chunk_document(
            Document(name, name, "", "text", name, 0),
            sections,
            count=embedders["minilm"].count_tokens,
            chunk_tokens=200,
            overlap_tokens=25,
        )
    ]
    right = np.array([[c.document == name and text in c.text for c in chunks] for _, name, text in questions])
    print(f"{len(questions)} questions, {len(chunks)} chunks, {int(right.any(axis=1).sum())} with their passage in one")
    for name, embedder in embedders.items():
        asked = embedder.embed([q for q, _, _ in questions])
        for way in ("embedded", "pooled"):
            made = list(entries_of(chunks, embedder, way))
            words = Bm25([e.search_text for e in made]).scores([q for q, _, _ in questions])
            parts = (
                asked @ np.stack([e.vector for e in made]).T,
                np.stack([(asked @ e.vectors.T).max(axis=1) for e in made], axis=1),
                np.stack([(asked @ e.context_vectors.T).max(axis=1) for e in made], axis=1),
                words / np.maximum(words.max(axis=1, keepdims=True), 1e-9),
            )
            total = sum(weight * part for weight, part in zip(WEIGHTS, parts, strict=True))
            print(f"| {name} {way} | {recalls(total, right)} |", flush=True)


if __name__ == "__main__":
    main()
