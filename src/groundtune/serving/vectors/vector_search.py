"""Searching vector stores: the likeness of vectors and the words shared, exact, over every chunk of the stores.

A chunk is as like a query as its best passage (maximum similarity over parts, as in ColBERT's MaxSim, Khattab and Zaharia
2020, at the grain of passages). The ranker ``none`` scores by that cosine alone; ``auto`` and ``default-2024-11-15`` add
BM25, as a share of what the query's words could reach. Both are from 0 to 1 and do not depend on the other chunks found,
so that a threshold means the same in every search. Of several queries the one that fits a chunk best counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from groundtune.errors import WorkspaceError
from groundtune.retrieval.retriever import content_words
from groundtune.serving.errors import ApiError, bad_request
from groundtune.serving.storage.store import Body
from groundtune.serving.vectors import encoding, vector_filters
from groundtune.serving.vectors.vector_index import Array, Snapshot
from groundtune.serving.vectors.vector_stores import FILE, VectorStores

if TYPE_CHECKING:
    from groundtune.serving.state import Serving

RANKERS = ("none", "auto", "default-2024-11-15")
#: of the words shared, beside the likeness; chosen on the example's training questions
WORDS_WEIGHT = 0.4
#: times that a search begins anew because files were taken out meanwhile
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found.

    Attributes:
        file_id, filename: where it stands.
        score: from 0 to 1.
        attributes: of the file in that store.
        texts: the chunk.
    """

    file_id: str
    filename: str
    score: float
    attributes: Mapping[str, Any]
    texts: tuple[str, ...]


def search(
    serving: Serving,
    vector_store_ids: Sequence[str],
    queries: Sequence[str],
    *,
    limit: int,
    filters: Mapping[str, Any] | None,
    ranker: str = "auto",
    score_threshold: float = 0.0,
) -> list[Hit]:
    """The best chunks of stores for queries, best first; never on the event loop.

    Args:
        limit: most chunks.
        filters: as the API takes them; only files whose attributes pass are searched.
        ranker: one of :data:`RANKERS`.
        score_threshold: lowest score, 0 to 1.

    Raises:
        ApiError: no such store, an expired one, a filter that is none, an unknown ranker.
    """
    if filters is not None:
        vector_filters.check(filters)
    if ranker not in RANKERS:
        raise bad_request(
            f"Unknown ranker {ranker!r}: expected one of {', '.join(RANKERS)}.", param="ranking_options.ranker"
        )
    vectors = serving.vectors
    stores = list(dict.fromkeys(vector_store_ids))
    for id in stores:
        vectors.alive(id)
    questions = encoding.embed(vectors.embedder, list(queries))
    found: list[Hit] = []
    for id in stores:
        rows, snapshot = _now(vectors, id)
        allowed = [filters is None or vector_filters.fits(filters, rows[file]["attributes"]) for file in snapshot.files]
        scores = _scores(snapshot, queries, questions, ranker)
        scores[~np.asarray(allowed, dtype=bool)[snapshot.owners]] = -1
        found += _best(vectors, id, rows, snapshot, scores, limit, score_threshold)
    return sorted(found, key=lambda hit: -hit.score)[:limit]


def rewritten(query: str) -> str:
    """A question as a search query: its words without those that every question has, "What is the return policy?" as
    "return policy"."""
    return content_words(query) or query


def _now(vectors: VectorStores, store_id: str) -> tuple[dict[str, Body], Snapshot]:
    """The files of a store that can be searched, and their chunks."""
    for attempt in range(_ATTEMPTS):
        rows = {row["id"]: row for row in vectors.store.all(FILE, parent=store_id, states=("completed",))}
        try:
            files = [(id, vectors.path(store_id, row["data"])) for id, row in rows.items()]
            return rows, vectors.index(store_id).snapshot(files)
        except WorkspaceError:  # taken out between the two; a file that is really damaged stays so
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


def _scores(snapshot: Snapshot, queries: Sequence[str], questions: Array, ranker: str) -> Array:
    """Of every chunk, by the query that fits it best."""
    best = np.zeros(len(snapshot.texts), dtype=np.float64)
    for query, question in zip(queries, questions, strict=True):
        like = snapshot.likeness(question)
        words = None if ranker == "none" else snapshot.shared_words(query)
        own = like if words is None else (1 - WORDS_WEIGHT) * like + WORDS_WEIGHT * words
        best = np.maximum(best, own)
    return best


def _best(
    vectors: VectorStores,
    store_id: str,
    rows: Mapping[str, Body],
    snapshot: Snapshot,
    scores: Array,
    limit: int,
    threshold: float,
) -> list[Hit]:
    """The best chunks of a store; files that were deleted since leave the store here."""
    hits: list[Hit] = []
    names: dict[str, str | None] = {}
    for number in np.argsort(-scores, kind="stable"):
        if len(hits) == limit or scores[number] < max(0.0, threshold):
            break
        file_id = snapshot.files[snapshot.owners[number]]
        if file_id not in names:
            names[file_id] = _name(vectors, store_id, file_id)
        name = names[file_id]
        if name is not None:
            text = (snapshot.texts[number],)
            hits.append(Hit(file_id, name, float(scores[number]), rows[file_id]["attributes"], text))
    return hits


def _name(vectors: VectorStores, store_id: str, file_id: str) -> str | None:
    """A file's name, whosever it is; None where it is gone, and then it is gone from the store, too."""
    whole = vectors.whole
    try:
        return str(whole.files.get(file_id)["filename"])
    except ApiError:
        with contextlib.suppress(ApiError):  # somebody else was faster
            whole.detach(store_id, file_id)
        return None
