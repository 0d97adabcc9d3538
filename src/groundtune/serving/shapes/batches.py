"""Batches."""

from __future__ import annotations

from typing import Literal

from groundtune.serving.shapes.parts import Count, Metadata, Moment, Shape


class RequestCounts(Shape):
    """Requests of a batch."""

    total: Count
    completed: Count
    failed: Count


class LineFault(Shape):
    """What is wrong with a line of the input file."""

    code: str
    message: str
    line: int | None
    param: str | None


class LineFaults(Shape):
    """What is wrong with the input file."""

    object: Literal["list"]
    data: list[LineFault]


class Batch(Shape):
    """A batch."""

    id: str
    object: Literal["batch"]
    endpoint: str
    errors: LineFaults | None
    input_file_id: str
    completion_window: Literal["24h"]
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
    ]
    output_file_id: str | None
    error_file_id: str | None
    created_at: Moment
    expires_at: Moment
    in_progress_at: Moment | None
    finalizing_at: Moment | None
    completed_at: Moment | None
    failed_at: Moment | None
    expired_at: Moment | None
    cancelling_at: Moment | None
    cancelled_at: Moment | None
    request_counts: RequestCounts
    metadata: Metadata | None
