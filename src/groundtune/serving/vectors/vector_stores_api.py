"""``/vector_stores``: stores, their files, batches of files, search (OpenAI's Vector Stores API)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from groundtune.serving.described import gives
from groundtune.serving.pages import listed
from groundtune.serving.shapes.parts import Listed
from groundtune.serving.shapes.vector_stores import (
    Content,
    DeletedStore,
    DeletedStoreFile,
    FileBatch,
    Hits,
    StoreFile,
    VectorStore,
)
from groundtune.serving.state import serving_of
from groundtune.serving.storage.store import Body, Order
from groundtune.serving.storage.store import Page as StorePage
from groundtune.serving.strict_json import Strict
from groundtune.serving.vectors import vector_search
from groundtune.serving.vectors.vector_ingest import Ingest
from groundtune.serving.vectors.vector_requests import (
    CreateBatch,
    CreateFile,
    CreateStore,
    Search,
    Status,
    UpdateFile,
    UpdateStore,
)
from groundtune.serving.vectors.vector_stores import FILE, STORE, VectorStores, shown_file

#: milliseconds after which a client that waits should ask again
_POLL_MS = "250"
_MOST = 100


@asynccontextmanager
async def _working(app: FastAPI) -> AsyncIterator[None]:
    """Files are read in while the server runs."""
    work = Ingest(app.state.serving.vectors)
    await run_in_threadpool(work.start)
    yield
    await run_in_threadpool(work.stop)


router = APIRouter(tags=["vector stores"], lifespan=_working, route_class=Strict)


def _vectors(request: Request) -> VectorStores:
    return serving_of(request).vectors


def _within(limit: int) -> int:
    return max(0, min(limit, _MOST))


# ---------------------------------------------------------------- stores


@router.post("/vector_stores", **gives(VectorStore))
def create_store(request: Request, wanted: CreateStore) -> dict[str, Any]:
    """Create a store."""
    return _vectors(request).create(wanted)


@router.get("/vector_stores", **gives(Listed[VectorStore]))
def list_stores(
    request: Request, after: str | None = None, before: str | None = None, limit: int = 20, order: Order = "desc"
) -> dict[str, Any]:
    """Stores, newest first unless ``order`` is asc."""
    vectors = _vectors(request)
    page = vectors.store.page(STORE, after=after, before=before, limit=_within(limit), order=order)
    return listed(StorePage([vectors.shown(body) for body in page.items], page.has_more))


@router.get("/vector_stores/{vector_store_id}", **gives(VectorStore))
def retrieve_store(request: Request, response: Response, vector_store_id: str) -> dict[str, Any]:
    """A store."""
    response.headers["openai-poll-after-ms"] = _POLL_MS
    return _vectors(request).get(vector_store_id)


@router.post("/vector_stores/{vector_store_id}", **gives(VectorStore))
def update_store(request: Request, vector_store_id: str, wanted: UpdateStore) -> dict[str, Any]:
    """Change a store's name, expiry or metadata."""
    return _vectors(request).update(vector_store_id, wanted)


@router.delete("/vector_stores/{vector_store_id}", **gives(DeletedStore))
def delete_store(request: Request, vector_store_id: str) -> dict[str, Any]:
    """Take a store out; its files stay among the files."""
    _vectors(request).remove(vector_store_id)
    return {"id": vector_store_id, "object": "vector_store.deleted", "deleted": True}


@router.post("/vector_stores/{vector_store_id}/search", **gives(Hits))
def search_store(request: Request, vector_store_id: str, wanted: Search) -> dict[str, Any]:
    """Find chunks; ``rewrite_query`` leaves out the words that every question has."""
    queries = [vector_search.rewritten(q) for q in wanted.queries] if wanted.rewrite_query else wanted.queries
    hits = vector_search.search(
        serving_of(request),
        [vector_store_id],
        queries,
        limit=wanted.max_num_results,
        filters=wanted.filters,
        ranker=wanted.ranking_options.ranker,
        score_threshold=wanted.ranking_options.score_threshold,
    )
    data = [
        {
            "file_id": hit.file_id, "filename": hit.filename, "score": hit.score, "attributes": hit.attributes,
            "content": _content(hit.texts),
        }
        for hit in hits
    ]  # fmt: skip
    return _whole("vector_store.search_results.page", data, search_query=queries)


def _content(texts: Any) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


def _whole(kind: str, data: list[Any], **more: Any) -> dict[str, Any]:
    """A page that is all there is."""
    return {"object": kind, **more, "data": data, "has_more": False, "next_page": None}


# ---------------------------------------------------------------- files


@router.post("/vector_stores/{vector_store_id}/files", **gives(StoreFile))
def create_file(request: Request, vector_store_id: str, wanted: CreateFile) -> dict[str, Any]:
    """Put a file into a store; it is read in afterwards."""
    vectors = _vectors(request)
    vectors.attach(vector_store_id, [wanted])
    return vectors.file(vector_store_id, wanted.file_id)


@router.get("/vector_stores/{vector_store_id}/files", **gives(Listed[StoreFile]))
def list_files(
    request: Request,
    vector_store_id: str,
    after: str | None = None,
    before: str | None = None,
    limit: int = 20,
    order: Order = "desc",
    filter: Status | None = None,
) -> dict[str, Any]:
    """The files of a store, newest first unless ``order`` is asc; ``filter`` keeps those of one status."""
    vectors = _vectors(request)
    vectors.check(vector_store_id)
    fits = (lambda body: body["status"] == filter) if filter else None
    return _listed_files(vectors, vector_store_id, after, before, limit, order, fits)


def _listed_files(
    vectors: VectorStores, store_id: str, after: str | None, before: str | None, limit: int, order: Order, fits: Any
) -> dict[str, Any]:
    page = vectors.store.page(
        FILE, parent=store_id, after=after, before=before, limit=_within(limit), order=order, fits=fits
    )
    return listed(StorePage([shown_file(body) for body in page.items], page.has_more))


@router.get("/vector_stores/{vector_store_id}/files/{file_id}", **gives(StoreFile))
def retrieve_file(request: Request, response: Response, vector_store_id: str, file_id: str) -> dict[str, Any]:
    """A file in a store."""
    response.headers["openai-poll-after-ms"] = _POLL_MS
    return _vectors(request).file(vector_store_id, file_id)


@router.post("/vector_stores/{vector_store_id}/files/{file_id}", **gives(StoreFile))
def update_file(request: Request, vector_store_id: str, file_id: str, wanted: UpdateFile) -> dict[str, Any]:
    """Give a file other attributes."""
    return _vectors(request).set_attributes(vector_store_id, file_id, wanted.attributes)


@router.delete("/vector_stores/{vector_store_id}/files/{file_id}", **gives(DeletedStoreFile))
def delete_file(request: Request, vector_store_id: str, file_id: str) -> dict[str, Any]:
    """Take a file out of a store; it stays among the files."""
    _vectors(request).detach(vector_store_id, file_id)
    return {"id": file_id, "object": "vector_store.file.deleted", "deleted": True}


@router.get("/vector_stores/{vector_store_id}/files/{file_id}/content", **gives(Content))
def file_content(request: Request, vector_store_id: str, file_id: str) -> dict[str, Any]:
    """The chunks of a file, in order, with what neighbours share."""
    texts = _vectors(request).texts(vector_store_id, file_id)
    return _whole("vector_store.file_content.page", _content(texts))


# ---------------------------------------------------------------- batches


@router.post("/vector_stores/{vector_store_id}/file_batches", **gives(FileBatch))
def create_batch(request: Request, vector_store_id: str, wanted: CreateBatch) -> Body | None:
    """Put files into a store together; without any the batch is empty, and completed."""
    return _vectors(request).attach(vector_store_id, wanted.wanted, batch=True)


@router.get("/vector_stores/{vector_store_id}/file_batches/{batch_id}", **gives(FileBatch))
def retrieve_batch(request: Request, response: Response, vector_store_id: str, batch_id: str) -> dict[str, Any]:
    """A batch."""
    response.headers["openai-poll-after-ms"] = _POLL_MS
    return _vectors(request).batch(vector_store_id, batch_id)


@router.post("/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel", **gives(FileBatch))
def cancel_batch(request: Request, vector_store_id: str, batch_id: str) -> dict[str, Any]:
    """Give up what of a batch is not read in yet."""
    return _vectors(request).cancel(vector_store_id, batch_id)


@router.get("/vector_stores/{vector_store_id}/file_batches/{batch_id}/files", **gives(Listed[StoreFile]))
def list_batch_files(
    request: Request,
    vector_store_id: str,
    batch_id: str,
    after: str | None = None,
    before: str | None = None,
    limit: int = 20,
    order: Order = "desc",
    filter: Status | None = None,
) -> dict[str, Any]:
    """The files of a batch."""
    vectors = _vectors(request)
    vectors.batch(vector_store_id, batch_id)

    def fits(body: Body) -> bool:
        return body["batch"] == batch_id and filter in (None, body["status"])

    return _listed_files(vectors, vector_store_id, after, before, limit, order, fits)
