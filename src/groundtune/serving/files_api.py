"""``/files``: upload, list, retrieve, delete, content (OpenAI's Files API)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from starlette.datastructures import UploadFile

from groundtune.serving.described import form, gives
from groundtune.serving.errors import ApiError, bad_request
from groundtune.serving.fields import nested
from groundtune.serving.pages import listed
from groundtune.serving.shapes.files import File
from groundtune.serving.shapes.parts import Deleted, Listed
from groundtune.serving.state import serving_of
from groundtune.serving.storage.files import LONGEST, PURPOSES, SHORTEST
from groundtune.serving.storage.store import Order

router = APIRouter(tags=["files"])
_BYTES = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
_FORM = form(
    {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"enum": list(PURPOSES)},
        "expires_after[anchor]": {"const": "created_at"},
        "expires_after[seconds]": {"type": "integer", "minimum": SHORTEST, "maximum": LONGEST},
    },
    required=["file", "purpose"],
)
_DIGITS = re.compile("[0-9]{1,12}")


@router.post("/files", **gives(File), openapi_extra=_FORM)
async def create_file(request: Request) -> dict[str, Any]:
    """Upload a file: ``file``, ``purpose``, and ``expires_after[anchor]`` with ``expires_after[seconds]``."""
    form = await request.form(max_files=1, max_fields=20)
    fields = nested(form.multi_items())
    file = fields.pop("file", None)
    purpose = fields.pop("purpose", None)
    expires = expiry(fields.pop("expires_after", None))
    if fields:
        name = sorted(fields)[0]
        raise bad_request(f"Unrecognized request argument supplied: {name}", param=name, code="unknown_parameter")
    if not isinstance(file, UploadFile):
        raise bad_request("Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
    check_purpose(purpose)
    serving = serving_of(request)
    return await run_in_threadpool(
        serving.files.keep, _read(file.file), file.filename or "file", str(purpose), expires_after_seconds=expires
    )


def check_purpose(purpose: Any) -> None:
    """See that it is one that clients may name.

    Raises:
        ApiError: it is not.
    """
    if purpose not in PURPOSES:
        known = ", ".join(repr(p) for p in PURPOSES)
        raise bad_request(f"{purpose!r} is not one of [{known}] - 'purpose'", param="purpose")


def expiry(given: Any) -> int | None:
    """Seconds of an ``expires_after``.

    Raises:
        ApiError: another anchor, or seconds out of bounds.
    """
    if given is None:
        return None
    seconds = str(given.get("seconds", "")) if isinstance(given, dict) else ""
    if not isinstance(given, dict) or given.get("anchor") != "created_at" or not _DIGITS.fullmatch(seconds):
        raise bad_request("'expires_after' needs 'anchor' created_at and 'seconds'.", param="expires_after")
    if not SHORTEST <= int(seconds) <= LONGEST:
        message = f"Invalid 'expires_after.seconds': {seconds}, expected {SHORTEST} to {LONGEST}."
        raise bad_request(message, param="expires_after.seconds")
    return int(seconds)


def _read(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(2**20):
        yield chunk


@router.get("/files", **gives(Listed[File]))
def list_files(
    request: Request, purpose: str | None = None, after: str | None = None, limit: int = 10_000, order: Order = "desc"
) -> dict[str, Any]:
    """Files, newest first unless ``order`` is asc."""
    fits = (lambda body: body["purpose"] == purpose) if purpose is not None else None
    page = serving_of(request).store.page("file", after=after, limit=max(0, min(limit, 10_000)), order=order, fits=fits)
    return listed(page)


@router.get("/files/{file_id}", **gives(File))
def retrieve_file(request: Request, file_id: str) -> dict[str, Any]:
    """A file's object."""
    return serving_of(request).files.get(file_id)


@router.delete("/files/{file_id}", **gives(Deleted))
def delete_file(request: Request, file_id: str) -> dict[str, Any]:
    """Take a file out."""
    serving_of(request).files.delete(file_id)
    return {"id": file_id, "object": "file", "deleted": True}


@router.get("/files/{file_id}/content", response_class=FileResponse, responses={200: _BYTES})
def file_content(request: Request, file_id: str) -> FileResponse:
    """A file's bytes, as they came."""
    files = serving_of(request).files
    path = files.path(file_id)
    if not path.exists():
        raise ApiError(500, "The file's content is gone from the server's disk.", type="server_error")
    return FileResponse(path, media_type="application/octet-stream", filename=files.get(file_id)["filename"])
