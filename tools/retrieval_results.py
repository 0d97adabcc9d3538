"""What each step of retrieval is worth: Cranfield, XQuAD, mined questions, and refusal with the paragraph removed.

python tools/retrieval_results.py ../shared [--work work/retrieval] [--mined work/mined.jsonl] [cranfield topics xquad mined refusal fit rerank]

Vectors are kept in WORK/vectors.db by the hash of their text, indexes in WORK/NAME, so a second run embeds nothing. Searches
run over the store's own entries held in memory (exact search, as the store's): the same hits, sooner.

Cranfield's nDCG@10 (Jarvelin and Kekalainen 2002, gain = grade) is given in two readings of its judgements. `qrels.tsv` has
1 for the most relevant and 4 for the least: `as filed` takes these numbers as gains and -1 as none, which is the reading
that issue 6's baselines are in; `turned` is the file corrected for trec_eval (5 the best), which is what the judges meant.
`topics` is what the settings for topics are chosen on: titles of articles and textbook sections, each to find its own passages.
`fit` prints refusal's shipped weights, from mined questions of documents that no other figure is taken from. `rerank` shows the
bundled cross-encoder with several weights: they are chosen on mined validation questions, and only reported on the other sets.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from groundtune import registry
from groundtune.config import IndexConfig, RetrievalConfig
from groundtune.methods._calibration import area
from groundtune.records import Chunk
from groundtune.retrieval.bm25 import Bm25
from groundtune.retrieval.chunkers.sentence import chunk_text
from groundtune.retrieval.embedders import minilm
from groundtune.retrieval.index import make_entries
from groundtune.retrieval.refusal import (
    FEATURES,
    Calibration,
    features,
    fitted,
    out_of_fold,
    point,
    threshold_of_false_refusals,
    threshold_to_refuse,
)
from groundtune.retrieval.reranking import open_reranker, reranked
from groundtune.retrieval.retriever import Retriever
from mine_questions import rows

Documents = Sequence[tuple[str, str]]
Questions = Sequence[tuple[str, str]]  # (question, the document that answers)
Measured = Callable[[Iterable[Sequence[str]]], str]  # documents of each question, best first -> figures
#: mined questions that are looked at, of each part
MINED = 260


class CachedEmbedder:
    """MiniLM, each text once."""

    NAME, DIMENSIONS, MAX_TOKENS = minilm.NAME, minilm.DIMENSIONS, minilm.MAX_TOKENS
    count_tokens = staticmethod(minilm.count_tokens)

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, timeout=60)
        self._database.execute("create table if not exists v(k blob primary key, v blob)")

    def embed(self, texts: Sequence[str]) -> Any:
        keys = [hashlib.sha256(t.encode()).digest()[:16] for t in texts]
        out = np.zeros((len(texts), self.DIMENSIONS), np.float32)
        missing = []
        for n, key in enumerate(keys):
            row = self._database.execute("select v from v where k=?", (key,)).fetchone()
            if row:
                out[n] = np.frombuffer(row[0], np.float32)
            else:
                missing.append(n)
        missing.sort(key=lambda n: len(texts[n]))
        for start in range(0, len(missing), 32):
            part = missing[start : start + 32]
            out[part] = minilm.embed([texts[n] for n in part])
            self._database.executemany(
                "insert or replace into v values(?, ?)", [(keys[n], out[n].tobytes()) for n in part]
            )
            self._database.commit()
        return out


class InMemory:
    """A store's entries in memory, searched as the store searches them."""

    def __init__(self, store: Any) -> None:
        self._store, self._found = store, {}
        ids = [c.id for c in store.chunks()]
        self._entries: dict[str, Any] = {}
        for start in range(0, len(ids), 500):
            self._entries |= store.entries(ids[start : start + 500])
        held = list(self._entries.values())
        self._ids = list(self._entries)
        self._owners = [i for i in self._ids for _ in self._entries[i].sentences]
        self._whole = np.stack([e.vector for e in held])
        self._alone = np.concatenate([e.vectors for e in held])
        self._behind = np.concatenate([e.context_vectors for e in held])

    def near_chunks(self, vector: Any, k: int, document: str | None = None) -> list[str]:
        return [self._ids[n] for n in np.argsort(-(self._whole @ vector), kind="stable")[:k]]

    def near_sentences(
        self, vector: Any, k: int, document: str | None = None, *, in_context: bool = False
    ) -> list[str]:
        near = (self._behind if in_context else self._alone) @ vector
        return list(dict.fromkeys(self._owners[n] for n in np.argsort(-near, kind="stable")[:k]))

    def text_search(self, text: str, k: int, document: str | None = None) -> list[tuple[str, float]]:
        if (text, k) not in self._found:
            self._found[text, k] = self._store.text_search(text, k)
        return self._found[text, k]

    def entries(self, ids: Iterable[str]) -> dict[str, Any]:
        return {i: self._entries[i] for i in ids if i in self._entries}

    def chunks(self) -> Iterator[Chunk]:
        return (e.chunk for e in self._entries.values())


class Collection:
    """Documents, indexed."""

    def __init__(self, work: Path, name: str, documents: Documents, chunk_tokens: int = 200) -> None:
        self.embedder = CachedEmbedder(work / "vectors.db")
        self._folder = work / name
        if not (self._folder / "store").exists():
            self._build(documents, chunk_tokens)
        self._store = InMemory(registry.get("stores", "lance").Store(self._folder / "store"))
        self._vectors: dict[str, Any] = {}

    def _build(self, documents: Documents, chunk_tokens: int) -> None:
        settings, store = IndexConfig(), registry.get("stores", "lance")
        chunks = [
            Chunk(f"{id_}-{n}", id_, id_, piece)
            for id_, text in documents
            for n, piece in enumerate(
                chunk_text(
                    text,
                    count=minilm.count_tokens,
                    chunk_tokens=chunk_tokens,
                    overlap_tokens=settings.overlap_tokens,
                )
            )
        ]

        def batches() -> Iterator[list[Any]]:
            for start in range(0, len(chunks), 64):
                print(f"  {self._folder.name}: {start} of {len(chunks)} chunks", flush=True)
                yield make_entries(chunks[start : start + 64], store, self.embedder)

        half = self._folder / "store.part"
        store.build(half, batches(), self.embedder.DIMENSIONS)
        half.rename(self._folder / "store")

    def retriever(self, **settings: Any) -> Retriever:
        """A retriever over it; ``reranker`` may be among the settings."""
        config = RetrievalConfig(**settings)
        reranker = open_reranker(config.reranker) if config.reranker else None
        made = Retriever(self._folder, IndexConfig(), config, self.embedder, reranker=reranker)
        made.store, made._vectors = self._store, self._vectors
        return made

    def documents(self, retriever: Retriever, question: str, **more: Any) -> list[str]:
        """The documents of the hits, best first."""
        return list(dict.fromkeys(h.chunk.document for h in retriever.retrieve(question, **more)))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def ndcg(ranked: Sequence[str], gains: dict[str, int], k: int = 10) -> float:
    ideal = sum(g / np.log2(n + 2) for n, g in enumerate(sorted(gains.values(), reverse=True)[:k]))
    found = sum(gains.get(d, 0) / np.log2(n + 2) for n, d in enumerate(ranked[:k]))
    return float(found / ideal) if ideal else 0.0


def judgements(folder: Path) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    filed: dict[str, dict[str, int]] = {}
    turned: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        filed.setdefault(query, {})[document] = max(0, int(grade))
    for line in (folder / "qrels.trec_corrected.txt").read_text().splitlines():
        query, _, document, grade = line.split()
        turned.setdefault(query, {})[document] = int(grade)
    return filed, turned


def gains_of(folder: Path) -> Measured:
    """Cranfield's nDCG@10 of each query's documents, as filed and turned."""
    filed, turned = judgements(folder)
    queries = [q["id"] for q in lines(folder / "queries.jsonl")]

    def measured(ranked: Iterable[Sequence[str]]) -> str:
        pairs = [(ndcg(r, filed[q]), ndcg(r, turned[q])) for r, q in zip(ranked, queries, strict=True)]
        return "    ".join(f"{mean:.4f}" for mean in np.mean(pairs, axis=0))

    return measured


def ranks_of(answers: Sequence[str]) -> Measured:
    """recall@1, recall@5 and MRR of the one document that answers each question."""

    def measured(ranked: Iterable[Sequence[str]]) -> str:
        ranks = [r.index(a) + 1 if a in r else 0 for r, a in zip(ranked, answers, strict=True)]
        one, five = np.mean([r == 1 for r in ranks]), np.mean([0 < r <= 5 for r in ranks])
        return f"{one:.4f}    {five:.4f}    {np.mean([1 / r if r else 0 for r in ranks]):.4f}"

    return measured


def abstracts(shared: Path) -> list[tuple[str, str]]:
    """Cranfield's; two are empty."""
    rows = lines(shared / "evalsets" / "cranfield" / "docs.jsonl")
    return [(d["id"], d["text"]) for d in rows if d["text"].strip()]


def cranfield(shared: Path, work: Path) -> None:
    folder = shared / "evalsets" / "cranfield"
    documents = abstracts(shared)
    queries = lines(folder / "queries.jsonl")
    collection = Collection(work, "cranfield", documents)
    texts = [q["text"] for q in queries]

    gains = gains_of(folder)

    def show(name: str, ranked: Iterable[Sequence[str]]) -> None:
        print(f"  {gains(ranked)}  {name}", flush=True)

    names = np.array([d for d, _ in documents])
    vectors, asked = collection.embedder.embed([t for _, t in documents]), collection.embedder.embed(texts)
    near, bm25 = asked @ vectors.T, Bm25([t for _, t in documents]).scores(texts)
    places = [np.argsort(np.argsort(-s, axis=1, kind="stable"), axis=1) + 1 for s in (near, bm25)]
    print("Cranfield, nDCG@10 over 225 queries\n  as filed  turned")
    for name, scores in (
        ("MiniLM alone, whole abstracts", near),
        ("BM25 alone, whole abstracts", bm25),
        ("their plain fusion by reciprocal rank", 1 / (60 + places[0]) + 1 / (60 + places[1])),
    ):
        show(name, [list(names[np.argsort(-row, kind="stable")[:10]]) for row in scores])
    run(collection, texts, show, STEPS)
    whole = Collection(work, "cranfield-whole", documents, 500)
    run(whole, texts, show, WHOLE_STEPS)


#: with chunks of 200 tokens, each on top of the default
STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("groundtune, text alone (stemmed words, chunks of 200 tokens)", {"mode": "text"}),
    ("groundtune, vectors alone (chunks and sentences)", {"mode": "vector"}),
    ("hybrid, text_weight 0.1 (as it was)", {"text_weight": 0.1}),
    ("hybrid, the default", {}),
    ("+ chunk_weight 1", {"chunk_weight": 1.0}),
    ("+ feedback 3", {"feedback": 3}),
    ("+ smoothing 0.7", {"smoothing": 0.7}),
    ("+ cross_encoder, 20 candidates", {"reranker": "cross_encoder"}),
)
#: passages of one article or section
PASSAGES = 6
TOPICS = {"chunk_weight": 1.0, "candidates": 100, "text_weight": 0.3, "smoothing": 0.7, "feedback": 3}
TOPIC_CHOICES: tuple[dict[str, Any], ...] = tuple(
    {**TOPICS, "text_weight": text, "feedback": feedback, "smoothing": smoothing}
    for text in (0.15, 0.3, 0.5)
    for feedback in (0, 3, 5)
    for smoothing in (0.0, 0.5, 0.7)
)
#: with whole abstracts, each on top of the one before
WHOLE_STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("whole abstracts (chunk_tokens 500), the default", {}),
    *((f"  + {name} {TOPICS[name]}", dict(list(TOPICS.items())[: n + 1])) for n, name in enumerate(TOPICS)),
    ("  + cross_encoder", {**TOPICS, "reranker": "cross_encoder"}),
)


def titled_passages(shared: Path) -> tuple[Documents, list[tuple[str, dict[str, int]]]]:
    """Passages of articles and textbook sections, and each one's title with its passages as what is wanted."""
    documents: list[tuple[str, str]] = []
    titles: list[tuple[str, dict[str, int]]] = []
    for family, every in (("plos", 1), ("openstax", 40)):
        for row in islice(rows(shared / "corpus", family), 0, None, every):
            title = ": ".join(row["title"].split(": ")[-2:])
            passages = list(
                chunk_text(row["text"][:20_000], count=minilm.count_tokens, chunk_tokens=200, overlap_tokens=0)
            )[:PASSAGES]
            if len(passages) > 2 and len(title.split()) >= 4:
                ids = [f"{family}{len(titles)}-{n}" for n in range(len(passages))]
                documents += zip(ids, passages, strict=True)
                titles.append((title, dict.fromkeys(ids, 1)))
    return documents, titles


def topics(shared: Path, work: Path) -> None:
    documents, titles = titled_passages(shared)
    collection = Collection(work, "topics", documents, 500)
    found = {}
    for settings in ({}, *TOPIC_CHOICES):
        retriever = collection.retriever(top_k=30, **settings)
        retriever.embed_all([t for t, _ in titles])
        scores = [ndcg(collection.documents(retriever, t), wanted) for t, wanted in titles]
        found[" ".join(f"{k} {v}" for k, v in settings.items()) or "the default"] = np.array(scores)
    best = max(found.values(), key=np.mean)
    print(f"Topics: {len(titles)} titles, each to find its own of {len(documents)} passages")
    print("  nDCG@10  less than the best by, with its standard error")
    for name, of_it in found.items():
        less = best - of_it
        print(f"  {of_it.mean():.4f}   {less.mean():.4f} +- {less.std() / len(less) ** 0.5:.4f}  {name}", flush=True)


def run(
    collection: Collection,
    texts: list[str],
    show: Callable[[str, Iterable[Sequence[str]]], None],
    steps: Sequence[tuple[str, dict[str, Any]]],
) -> None:
    for name, settings in steps:
        retriever = collection.retriever(top_k=30, **settings)
        retriever.embed_all(texts)
        show(name, [collection.documents(retriever, t) for t in texts])


def xquad_paragraphs(shared: Path) -> tuple[Documents, Questions]:
    rows = lines(shared / "evalsets" / "xquad_en" / "xquad.en.jsonl")
    ids = {c: f"p{n}" for n, c in enumerate(dict.fromkeys(r["context"] for r in rows))}
    return [(i, c) for c, i in ids.items()], [(r["question"], ids[r["context"]]) for r in rows]


def mined_passages(mined: Path, part: str) -> tuple[Documents, Questions]:
    """Passages of a part's questions, each with one that looks like it."""
    rows = [r for r in lines(mined) if r["part"] == part]
    random.Random(0).shuffle(rows)
    texts = dict.fromkeys(p for r in rows[:MINED] for p in (r["positive"], *r["negatives"][:1]))
    ids = {p: f"{'t' if part == 'test' else 'm'}{n}" for n, p in enumerate(texts)}
    return [(i, p) for p, i in ids.items()], [(r["question"], ids[r["positive"]]) for r in rows[:MINED]]


def recall(collection: Collection, questions: Questions, steps: Sequence[tuple[str, dict[str, Any]]]) -> None:
    print("  recall@1  recall@5  MRR")
    for name, settings in steps:
        retriever = collection.retriever(**settings)
        retriever.embed_all([q for q, _ in questions])
        ranked = [collection.documents(retriever, q) for q, _ in questions]
        print(f"  {ranks_of([d for _, d in questions])(ranked)}  {name}", flush=True)


RECALL_STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("vectors alone", {"mode": "vector"}),
    ("text alone", {"mode": "text"}),
    ("hybrid, text_weight 0.1 (as it was)", {"text_weight": 0.1}),
    ("hybrid, the default", {}),
    ("+ feedback 3", {"feedback": 3}),
    ("+ smoothing 0.7", {"smoothing": 0.7}),
    ("+ cross_encoder, 5 candidates", {"reranker": "cross_encoder", "rerank_candidates": 5}),
)


#: weights of the reranker's say that are tried; 0: without it
WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)


class Given:
    """A reranker that was asked before: its scores of a question's candidates, by text."""

    NAME = "given"

    def __init__(self, scores: dict[str, float]) -> None:
        self._scores = scores

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        return [self._scores[text] for text in texts]


def rerank(
    collection: Collection, questions: Sequence[str], most: int, measured: Measured, **settings: Any
) -> None:  # fmt: skip
    """A line for each weight; the cross-encoder reads each candidate once."""
    retriever, reader = collection.retriever(top_k=20, **settings), open_reranker("cross_encoder")
    retriever.embed_all(list(questions))
    found = [retriever.retrieve(q) for q in questions]
    given = []
    for n, (question, hits) in enumerate(zip(questions, found, strict=True)):
        texts = [h.chunk.text for h in hits[:most]]
        given.append(Given(dict(zip(texts, reader.scores(question, texts), strict=True))))
        if n % 200 == 0:
            print(f"  {n} of {len(questions)} read", flush=True)
    for candidates in (c for c in (5, 10, 20) if c <= most):
        for weight in WEIGHTS if candidates == most else WEIGHTS[1:]:
            ranked = [
                list(dict.fromkeys(h.chunk.document for h in reranked(g, "", hits, candidates, weight)))
                for g, hits in zip(given, found, strict=True)
            ]
            print(f"  {measured(ranked)}  candidates {candidates}, weight {weight}", flush=True)


def rerankings(given: argparse.Namespace) -> None:
    for part in ("validation", "test"):
        documents, questions = mined_passages(given.mined, part)
        print(
            f"cross_encoder on mined {part}, {len(questions)} questions, {len(documents)} passages\n  recall@1  recall@5  MRR"
        )
        collection = Collection(given.work, f"mined-{part}", documents)
        rerank(collection, [q for q, _ in questions], 20, ranks_of([d for _, d in questions]))
    folder = given.shared / "evalsets" / "cranfield"
    queries = lines(folder / "queries.jsonl")
    print("cross_encoder on Cranfield, whole abstracts, settings for topics: nDCG@10\n  as filed  turned")
    whole = Collection(given.work, "cranfield-whole", abstracts(given.shared), 500)
    rerank(whole, [q["text"] for q in queries], 20, gains_of(folder), **TOPICS)
    documents, questions = xquad_paragraphs(given.shared)
    print("cross_encoder on XQuAD\n  recall@1  recall@5  MRR")
    collection = Collection(given.work, "xquad", documents)
    rerank(collection, [q for q, _ in questions], 5, ranks_of([d for _, d in questions]))


def numbers(collection: Collection, questions: Questions, **settings: Any) -> tuple[list[Any], list[bool], list[str]]:
    """Refusal's features of each question with its document among the others and without."""
    retriever = collection.retriever(**settings)
    retriever.embed_all([q for q, _ in questions])
    of: dict[str, set[str]] = {}
    for chunk in retriever.store.chunks():
        of.setdefault(chunk.document, set()).add(chunk.id)
    rows, answered, groups = [], [], []
    for question, document in questions:
        for without in ((), of[document]):
            rows.append(features(question, retriever.retrieve(question, without=without)))
            answered.append(not without)
            groups.append(document)
    return rows, answered, groups


def refusal(name: str, rows: list[Any], answered: list[bool], groups: list[str]) -> None:
    def split(judged: Sequence[float]) -> tuple[list[float], list[float]]:
        pairs = list(zip(judged, answered, strict=True))
        return [c for c, yes in pairs if yes], [c for c, yes in pairs if not yes]

    print(
        f"{name}: each question with its paragraph and with it removed, {len(rows)} in all\n  area   refused  falsely refused"
    )
    for label, judged in (
        ("shipped weights", [Calibration().of(r) for r in rows]),
        ("fitted to other questions of the set (five folds, by paragraph)", out_of_fold(rows, answered, groups)),
    ):
        right, wrong = split(judged)
        choices: list[tuple[str, Callable[[], float]]] = [
            ("--false-refusals 0.05", lambda right=right: threshold_of_false_refusals(right, 0.05)),
            ("--refuse 0.6", lambda wrong=wrong: threshold_to_refuse(wrong, 0.6)),
            ("--refuse 0.8", lambda wrong=wrong: threshold_to_refuse(wrong, 0.8)),
            ("--refuse 0.9", lambda wrong=wrong: threshold_to_refuse(wrong, 0.9)),
        ]
        for choice, threshold in choices:
            found = point(threshold(), right, wrong)
            print(
                f"  {area(right, wrong):.3f}  {found.refused:.3f}    {found.false_refusals:.3f}   {choice}, {label}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("what", nargs="*", default=["cranfield", "xquad", "mined", "refusal"])
    parser.add_argument("--work", type=Path, default=Path("work/retrieval"))
    parser.add_argument("--mined", type=Path, default=Path("work/mined.jsonl"))
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    if "rerank" in given.what:
        rerankings(given)
    if "cranfield" in given.what:
        cranfield(given.shared, given.work)
    if "topics" in given.what:
        topics(given.shared, given.work)
    if {"xquad", "refusal"} & {*given.what}:
        documents, questions = xquad_paragraphs(given.shared)
        collection = Collection(given.work, "xquad", documents)
        if "xquad" in given.what:
            print(f"XQuAD, {len(questions)} questions over {len(documents)} paragraphs")
            recall(collection, questions, RECALL_STEPS)
        if "refusal" in given.what:
            refusal("XQuAD", *numbers(collection, questions))
    if not {"fit", "choose", "mined"} & {*given.what}:
        return
    mined, choosing = (mined_passages(given.mined, part) for part in ("test", "validation"))
    if {"fit", "choose"} & {*given.what}:
        collection = Collection(given.work, "mined-validation", choosing[0])
        if "choose" in given.what:
            print(f"mined, validation: {len(choosing[1])} questions over {len(choosing[0])} passages")
            recall(collection, choosing[1], RECALL_STEPS)
        if "fit" in given.what:
            made = fitted(*numbers(collection, choosing[1])[:2])
            print("shipped weights:", dict(zip(FEATURES, made.weights, strict=True)), "bias", made.bias)
    if "mined" in given.what:
        paragraphs, asked = xquad_paragraphs(given.shared)
        together = [*mined[0], *choosing[0], *paragraphs, *abstracts(given.shared)]
        collection = Collection(given.work, "together", together)
        for name, questions in (("mined, test", mined[1]), ("XQuAD", asked)):
            print(f"{name}: {len(questions)} questions over {len(together)} passages of all sets together")
            recall(collection, questions, RECALL_STEPS)
            if "refusal" in given.what:
                refusal(f"{name}, among {len(together)} passages", *numbers(collection, questions))


if __name__ == "__main__":
    main()
