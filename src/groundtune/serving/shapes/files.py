"""Files and uploads."""

from __future__ import annotations

from typing import Literal

from groundtune.serving.shapes.parts import Count, Moment, Shape


class File(Shape):
    """A file."""

    id: str
    object: Literal["file"]
    bytes: Count
    created_at: Moment
    filename: str
    purpose: Literal["assistants", "batch", "batch_output", "fine-tune", "fine-tune-results", "vision", "user_data", "evals"]  # fmt: skip
    status: Literal["processed"]
    expires_at: Moment = 0


class Upload(Shape):
    """A file that comes in parts."""

    id: str
    object: Literal["upload"]
    bytes: Count
    created_at: Moment
    expires_at: Moment
    filename: str
    purpose: Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: File | None


class UploadPart(Shape):
    """A part of an upload."""

    id: str
    object: Literal["upload.part"]
    created_at: Moment
    upload_id: str
