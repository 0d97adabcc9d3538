"""``/batches``: create, list, retrieve, cancel (OpenAI's Batch API)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Request
from pydantic import Field

from groundtune.serving.batches import BATCH, ENDPOINTS, LIFE_SECONDS, OPEN, Batches
from groundtune.serving.callers.access import caller_of
from groundtune.serving.chats.chat_request import Part
from groundtune.serving.described import gives
from groundtune.serving.errors import bad_request, no_such
from groundtune.serving.pages import listed
from groundtune.serving.shapes.batches import Batch
from groundtune.serving.shapes.parts import Listed
from groundtune.serving.state import serving_of
from groundtune.serving.storage.files import LONGEST, SHORTEST
from groundtune.serving.storage.store import Body
from groundtune.serving.strict_json import Strict
from groundtune.serving.tuning.job_request import Metadata


@asynccontextmanager
async def _working(app: FastAPI) -> AsyncIterator[None]:
    """Batches are worked off while the server runs."""
    work = app.state.batches = Batches(app)
    work.start()
    yield
    await work.stop()


router = APIRouter(tags=["batches"], lifespan=_working, route_class=Strict)
_MOST = 100
#: what objects hold that is not for clients
_OURS = ("caller", "output_expires_after")


class OutputExpiry(Part):
    """When the output files go."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=SHORTEST, le=LONGEST)]


class CreateBatch(Part):
    """The body of ``POST /batches``."""

    input_file_id: str
    endpoint: Annotated[str, Field(json_schema_extra={"enum": list(ENDPOINTS)})]
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: OutputExpiry | None = None


def shown(body: Body) -> Body:
    """A batch as clients see it."""
    return {key: value for key, value in body.items() if key not in _OURS}


@router.post("/batches", **gives(Batch))
def create_batch(request: Request, wanted: CreateBatch) -> dict[str, Any]:
    """Create a batch; its file is checked afterwards, and what is wrong with it ends it as ``failed``."""
    if wanted.endpoint not in ENDPOINTS:
        message = f"Invalid 'endpoint': {wanted.endpoint!r}, expected one of {', '.join(ENDPOINTS)}."
        raise bad_request(message, param="endpoint", code="invalid_value")
    serving, now = serving_of(request), int(time.time())
    file = serving.files.get(wanted.input_file_id, param="input_file_id")
    if file["purpose"] != "batch":
        message = f"Invalid file purpose: {file['purpose']!r} of {file['id']}, expected 'batch'."
        raise bad_request(message, param="input_file_id", code="invalid_purpose")
    expires = wanted.output_expires_after
    times = {f"{state}_at": None for state in ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")}  # fmt: skip
    body = {
        "object": "batch", "endpoint": wanted.endpoint, "errors": None, "input_file_id": wanted.input_file_id,
        "completion_window": wanted.completion_window, "status": "validating", "output_file_id": None,
        "error_file_id": None, "created_at": now, "expires_at": now + LIFE_SECONDS, **times,
        "request_counts": {"total": 0, "completed": 0, "failed": 0}, "metadata": wanted.metadata,
        "caller": caller_of(request).id, "output_expires_after": expires.seconds if expires else None,
    }  # fmt: skip
    made = serving.store.add(BATCH, body, state="validating")
    _wake(request)
    return shown(made)


@router.get("/batches", **gives(Listed[Batch]))
def list_batches(request: Request, after: str | None = None, limit: int = 20) -> dict[str, Any]:
    """Batches, newest first."""
    page = serving_of(request).store.page(BATCH, after=after, limit=max(0, min(limit, _MOST)))
    found = listed(page)
    return {**found, "data": [shown(body) for body in page.items]}


@router.get("/batches/{batch_id}", **gives(Batch))
def retrieve_batch(request: Request, batch_id: str) -> dict[str, Any]:
    """A batch."""
    body = serving_of(request).store.get(BATCH, batch_id)
    if body is None:
        raise no_such("Batch", batch_id, param="batch_id")
    return shown(body)


@router.post("/batches/{batch_id}/cancel", **gives(Batch))
def cancel_batch(request: Request, batch_id: str) -> dict[str, Any]:
    """Stop a batch; what is answered stays, in its output file."""

    def change(body: Body) -> dict[str, Any] | None:
        if body["status"] not in OPEN:
            message = f"Cannot cancel a batch with status '{body['status']}'."
            raise bad_request(message, param="batch_id", code="invalid_state")
        return None if body["status"] == "cancelling" else {"status": "cancelling", "cancelling_at": int(time.time())}

    body = serving_of(request).store.change(BATCH, batch_id, change)
    if body is None:
        raise no_such("Batch", batch_id, param="batch_id")
    _wake(request)
    return shown(body)


def _wake(request: Request) -> None:
    work: Batches | None = getattr(request.app.state, "batches", None)
    if work is not None:
        work.loop.call_soon_threadsafe(work.wake.set)
