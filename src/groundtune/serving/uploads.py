"""``/uploads``: large files in parts, put together at the end (OpenAI's Uploads API).

Parts lie in a folder of the upload until it is completed, cancelled, or its hour is over.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile

from groundtune.serving.described import form, gives
from groundtune.serving.errors import bad_request, no_such
from groundtune.serving.files_api import check_purpose, expiry
from groundtune.serving.ids import new_id
from groundtune.serving.shapes.files import Upload, UploadPart
from groundtune.serving.state import Serving, serving_of
from groundtune.serving.storage.files import PURPOSES
from groundtune.serving.storage.store import Body
from groundtune.serving.strict_json import Strict

router = APIRouter(tags=["uploads"], route_class=Strict)
_PART = form({"data": {"type": "string", "format": "binary"}}, required=["data"])
#: bytes of an upload and of a part, seconds that an upload stays open (OpenAI's own)
LARGEST, LARGEST_PART, OPEN_SECONDS = 8 * 2**30, 64 * 2**20, 3_600


class CreateUpload(BaseModel):
    """What an upload is to become."""

    model_config = ConfigDict(extra="forbid")
    filename: str
    purpose: Annotated[str, Field(json_schema_extra={"enum": list(PURPOSES)})]
    bytes: Annotated[int, Field(json_schema_extra={"minimum": 0, "maximum": LARGEST})]
    mime_type: str
    expires_after: dict[str, Any] | None = None


class CompleteUpload(BaseModel):
    """Which parts, in which order."""

    model_config = ConfigDict(extra="forbid")
    part_ids: list[str]
    md5: str | None = None


def _folder(serving: Serving, id: str) -> Path:
    return serving.folder / "uploads" / id


def _open(serving: Serving, id: str) -> Body:
    """An upload that takes parts.

    Raises:
        ApiError: there is none, or it is over.
    """
    body = serving.store.owned("upload", id)
    if body is None:
        raise no_such("Upload", id)
    if body["status"] == "pending" and body["expires_at"] <= time.time():
        body = _expired(serving, id) or body
    if body["status"] != "pending":
        raise bad_request(f"Upload {id} is {body['status']}.", param="upload_id")
    return body


def _expired(serving: Serving, id: str) -> Body | None:
    def change(body: Body) -> dict[str, Any] | None:
        return {"status": "expired"} if body["status"] == "pending" else None

    body = serving.store.change("upload", id, change)
    if body is not None and body["status"] == "expired":
        _forget_parts(serving, id)
    return body


def expire_uploads(serving: Serving) -> None:
    """Remove the parts of uploads whose hour is over and that nobody asked for since; for a start, of the whole server."""
    for body in serving.store.all("upload", states=("pending",)):
        if body["expires_at"] <= time.time():
            _expired(serving, body["id"])


def _shown(body: Body) -> Body:
    return {key: value for key, value in body.items() if key != "keep_seconds"}


@router.post("/uploads", **gives(Upload))
def create_upload(request: Request, wanted: CreateUpload) -> dict[str, Any]:
    """Open an upload."""
    check_purpose(wanted.purpose)
    if not 0 <= wanted.bytes <= LARGEST:
        raise bad_request(f"Invalid 'bytes': {wanted.bytes}, expected 0 to {LARGEST}.", param="bytes")
    serving = serving_of(request)
    now = int(time.time())
    body = {
        "object": "upload", "filename": wanted.filename, "bytes": wanted.bytes, "purpose": wanted.purpose,
        "status": "pending", "created_at": now, "expires_at": now + OPEN_SECONDS, "file": None,
        "keep_seconds": expiry(wanted.expires_after),
    }  # fmt: skip
    made = serving.store.add("upload", body, state="pending")
    _folder(serving, made["id"]).mkdir(parents=True)
    return _shown(made)


@router.post("/uploads/{upload_id}/parts", **gives(UploadPart), openapi_extra=_PART)
async def add_part(request: Request, upload_id: str) -> dict[str, Any]:
    """Add a part: the form field ``data``."""
    serving = serving_of(request)
    await run_in_threadpool(_open, serving, upload_id)
    form = await request.form(max_files=1, max_fields=2)
    data = form.get("data")
    if not isinstance(data, UploadFile):
        raise bad_request("Missing required parameter: 'data'.", param="data", code="missing_required_parameter")
    content = await data.read(LARGEST_PART + 1)
    if len(content) > LARGEST_PART:
        raise bad_request(f"A part is at most {LARGEST_PART} bytes.", param="data")
    return await run_in_threadpool(_keep_part, serving, upload_id, content)


def _keep_part(serving: Serving, upload_id: str, content: bytes) -> Body:
    id = new_id("part")
    folder = _folder(serving, upload_id)
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f"{id}.half"
    try:
        half.write_bytes(content)
        half.replace(folder / id)
    except OSError:
        half.unlink(missing_ok=True)
        raise
    body = {"object": "upload.part", "upload_id": upload_id}
    return serving.store.add("part", body, id=id, parent=upload_id)


@router.post("/uploads/{upload_id}/complete", **gives(Upload))
def complete_upload(request: Request, upload_id: str, wanted: CompleteUpload) -> dict[str, Any]:
    """Put the parts together, in the order given, as a file."""
    serving = serving_of(request)
    body = _open(serving, upload_id)
    for id in wanted.part_ids:
        if serving.store.get("part", id, parent=upload_id) is None:
            raise no_such("Upload part", id, param="part_ids")
    paths = [_folder(serving, upload_id) / id for id in wanted.part_ids]
    size = sum(path.stat().st_size for path in paths)
    if size != body["bytes"]:
        raise bad_request(f"The parts have {size} bytes, the upload was to have {body['bytes']}.", param="part_ids")
    if wanted.md5 and _md5(paths) != wanted.md5.lower():
        raise bad_request("The parts have another md5 than the one given.", param="md5")
    file = serving.files.copy(
        paths, body["filename"], body["purpose"], expires_after_seconds=body["keep_seconds"], largest=LARGEST
    )

    def completed(found: Body) -> dict[str, Any] | None:
        return {"status": "completed", "file": file} if found["status"] == "pending" else None

    done = serving.store.change("upload", upload_id, completed)
    if done is None or done["file"] != file:  # somebody else was faster
        serving.files.delete(file["id"])
        raise bad_request(f"Upload {upload_id} is {done['status'] if done else 'gone'}.", param="upload_id")
    _forget_parts(serving, upload_id)
    return _shown(done)


@router.post("/uploads/{upload_id}/cancel", **gives(Upload))
def cancel_upload(request: Request, upload_id: str) -> dict[str, Any]:
    """Give an upload up."""
    serving = serving_of(request)
    _open(serving, upload_id)
    done = serving.store.change("upload", upload_id, lambda body: {"status": "cancelled"})
    _forget_parts(serving, upload_id)
    if done is None:
        raise no_such("Upload", upload_id)
    return _shown(done)


def _forget_parts(serving: Serving, upload_id: str) -> None:
    serving.store.remove_all("part", parent=upload_id)
    shutil.rmtree(_folder(serving, upload_id), ignore_errors=True)


def _md5(paths: list[Path]) -> str:
    found = hashlib.md5(usedforsecurity=False)
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(2**20):
                found.update(chunk)
    return found.hexdigest()
