"""The contestants of ``groundtune bench index`` and ``bench query``, each run alone: ``python _search_contestants.py JOB RESULT``.

Run as a script in an environment of its choice, so it imports nothing of groundtune but in groundtune's own turns. All
are given the same texts, the same MiniLM weights and batches of 32 where they ask for a size. Opening the model is not timed.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Search = Callable[[str], list[str]]
#: rows that Chroma takes at once
_CHROMA = 5000


def main(job_path: str, result_path: str) -> None:
    """Do a job and write what came of it."""
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    result = {"index": _index, "fill": _fill, "query": _query}[job["task"]](job)
    result["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    names = {"ours": ("lancedb", "onnxruntime"), "llama_index": ("llama-index-core", "chromadb", "sentence-transformers"), "langchain": ("langchain-chroma", "chromadb", "sentence-transformers")}  # fmt: skip
    kind = "ours" if job["contestant"].startswith("ours") else job["contestant"]
    result["versions"] = {name: metadata.version(name) for name in names[kind]}
    Path(result_path).write_text(json.dumps(result), encoding="utf-8")


def _rows(path: str) -> list[Row]:
    with Path(path).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _index(job: Row) -> Row:
    """Texts to a store that can be searched, the embedding included."""
    rows = _rows(job["chunks"])
    work = _OPENED[job["contestant"].partition(":")[0]](job)
    cpu, wall = time.process_time(), time.perf_counter()
    held = work(rows)
    seconds = time.perf_counter() - wall
    if held != len(rows):
        raise RuntimeError(f"{held} of {len(rows)} chunks are held")
    return {"chunks": len(rows), "seconds": seconds, "cpu_seconds": time.process_time() - cpu}


def _open_ours(job: Row) -> Callable[[Sequence[Row]], int]:
    import lancedb  # noqa: F401  # as Chroma is loaded before its clock runs

    from groundtune import registry
    from groundtune.retrieval.entries import make_entries
    from groundtune.retrieval.stores import lance

    _, embedder_name, way = job["contestant"].split(":")
    embedder: Any = registry.get("embedders", embedder_name)
    embedder.embed(["warm"])
    folder = Path(job["folder"]) / "store"

    def work(rows: Sequence[Row]) -> int:
        chunks = [_chunk(row) for row in rows]
        batches = (make_entries(chunks[n : n + 256], lance, embedder, way) for n in range(0, len(chunks), 256))
        return lance.build(folder, batches, embedder.DIMENSIONS)

    return work


def _chunk(row: Row) -> Any:
    from groundtune.records import Chunk

    return Chunk(row["id"], row["id"].rpartition("-")[0], row["document"], row["text"], heading=row.get("heading", ""))


def _open_llama_index(job: Row) -> Callable[[Sequence[Row]], int]:
    from llama_index.core import StorageContext, VectorStoreIndex
    from llama_index.core.schema import TextNode
    from llama_index.vector_stores.chroma import ChromaVectorStore

    model = _llama_model(job)
    model.get_text_embedding("warm")
    collection = _chroma(job).get_or_create_collection("chunks", metadata={"hnsw:space": "cosine"})
    storage = StorageContext.from_defaults(vector_store=ChromaVectorStore(chroma_collection=collection))

    def work(rows: Sequence[Row]) -> int:
        nodes = [TextNode(id_=r["id"], text=r["searched"], metadata={"document": r["document"]}) for r in rows]
        for node in nodes:
            node.excluded_embed_metadata_keys = ["document"]  # the others embed the text alone
        VectorStoreIndex(nodes, storage_context=storage, embed_model=model)
        return int(collection.count())

    return work


def _llama_model(job: Row) -> Any:
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    return HuggingFaceEmbedding(model_name=job["model"], embed_batch_size=32, device="cpu")


def _open_langchain(job: Row) -> Callable[[Sequence[Row]], int]:
    model = _langchain_model(job)
    model.embed_query("warm")
    store = _langchain_store(job, model)

    def work(rows: Sequence[Row]) -> int:
        store.add_texts(
            [r["searched"] for r in rows],
            metadatas=[{"document": r["document"]} for r in rows],
            ids=[r["id"] for r in rows],
        )
        return len(store.get(include=[])["ids"])

    return work


def _langchain_model(job: Row) -> Any:
    from langchain_huggingface import HuggingFaceEmbeddings

    options = {"batch_size": 32, "normalize_embeddings": True}
    return HuggingFaceEmbeddings(model_name=job["model"], encode_kwargs=options, model_kwargs={"device": "cpu"})


def _langchain_store(job: Row, model: Any) -> Any:
    from langchain_chroma import Chroma

    return Chroma("chunks", model, client=_chroma(job), collection_metadata={"hnsw:space": "cosine"})


def _chroma(job: Row) -> Any:
    import chromadb
    from chromadb.config import Settings

    folder = str(Path(job["folder"]) / "chroma")
    return chromadb.PersistentClient(folder, settings=Settings(anonymized_telemetry=False))


def _fill(job: Row) -> Row:
    """Vectors that are there already into a store; no text is embedded."""
    import numpy as np

    vectors = np.load(job["vectors"], mmap_mode="r")
    started = time.perf_counter()
    if job["contestant"].startswith("ours"):
        _fill_ours(job, vectors)
    else:
        _fill_chroma(job, vectors)
    return {"chunks": len(vectors), "seconds": time.perf_counter() - started}


def _fill_ours(job: Row, vectors: Any) -> None:
    import numpy as np

    from groundtune.records import Chunk
    from groundtune.retrieval.stores import lance

    none = np.zeros((0, vectors.shape[1]), dtype=np.float32)

    def batches() -> Iterator[list[Any]]:
        for start in range(0, len(vectors), 4096):
            part = np.array(vectors[start : start + 4096])
            yield [
                lance.Entry(Chunk(f"c-{n}", "c", "synthetic", f"chunk {n}"), f"chunk {n}", vector, [], none, none)
                for n, vector in enumerate(part, start)
            ]

    options = lance.Options(approximate_from=job["approximate_from"])
    lance.build(Path(job["folder"]) / "store", batches(), vectors.shape[1], options)


def _fill_chroma(job: Row, vectors: Any) -> None:
    """As LangChain and LlamaIndex fill it: an id, a vector, a text, and what they note beside it."""
    collection = _chroma(job).get_or_create_collection("chunks", metadata={"hnsw:space": "cosine"})
    for start in range(0, len(vectors), _CHROMA):
        part = vectors[start : start + _CHROMA].tolist()
        ids = [f"c-{n}" for n in range(start, start + len(part))]
        texts = [f"chunk {n}" for n in range(start, start + len(part))]
        noted: list[Any] = [{"document": "synthetic"} for _ in ids]
        if job["contestant"] == "llama_index":
            from llama_index.core.schema import TextNode
            from llama_index.core.vector_stores.utils import node_to_metadata_dict

            nodes = [
                TextNode(id_=i, text=t, metadata={"document": "synthetic"}) for i, t in zip(ids, texts, strict=True)
            ]
            noted = [node_to_metadata_dict(node, remove_text=True, flat_metadata=True) for node in nodes]
        collection.add(ids=ids, embeddings=part, documents=texts, metadatas=noted)


def _query(job: Row) -> Row:
    """Questions one after the other, each embedded and searched: ids found and seconds taken."""
    questions = job["questions"]
    if not job["contestant"].startswith("ours"):
        _chroma(job).get_collection("chunks").modify(configuration={"hnsw": {"ef_search": job["ef"]}})
    search = _SEARCHES[job["contestant"].partition(":")[0]](job)
    for question in questions[: job["warm_up"]]:
        search(question)
    found, seconds = [], []
    for question in questions[job["warm_up"] :]:
        started = time.perf_counter()
        found.append(search(question))
        seconds.append(time.perf_counter() - started)
    return {"found": found, "seconds": seconds}


def _search_ours(job: Row) -> Search:
    from groundtune import registry
    from groundtune.retrieval.stores import lance

    embedder: Any = registry.get("embedders", job["contestant"].partition(":")[2] or "minilm")
    store = lance.Store(Path(job["folder"]) / "store")
    return lambda question: store.near_chunks(embedder.embed([question])[0], job["k"])


def _search_langchain(job: Row) -> Search:
    store = _langchain_store(job, _langchain_model(job))
    return lambda question: [str(d.id) for d in store.similarity_search(question, k=job["k"])]


def _search_llama_index(job: Row) -> Search:
    from llama_index.core import VectorStoreIndex
    from llama_index.vector_stores.chroma import ChromaVectorStore

    store = ChromaVectorStore(chroma_collection=_chroma(job).get_collection("chunks"))
    index = VectorStoreIndex.from_vector_store(store, embed_model=_llama_model(job))
    retriever = index.as_retriever(similarity_top_k=job["k"])
    return lambda question: [hit.node.node_id for hit in retriever.retrieve(question)]


_OPENED = {"ours": _open_ours, "llama_index": _open_llama_index, "langchain": _open_langchain}
_SEARCHES = {"ours": _search_ours, "llama_index": _search_llama_index, "langchain": _search_langchain}

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
