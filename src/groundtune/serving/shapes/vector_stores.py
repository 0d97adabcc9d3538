"""Vector stores, their files, batches of files, and what searches find."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from groundtune.serving.shapes.parts import Count, Metadata, Moment, Shape

Status = Literal["in_progress", "completed", "failed", "cancelled"]
Attributes = dict[str, str | bool | float]


class FileCounts(Shape):
    """Files by status."""

    in_progress: Count
    completed: Count
    failed: Count
    cancelled: Count
    total: Count


class StoreExpiry(Shape):
    """When a store that nobody uses ends."""

    anchor: Literal["last_active_at"]
    days: Annotated[int, Field(ge=1, le=365)]


class VectorStore(Shape):
    """A store."""

    id: str
    object: Literal["vector_store"]
    created_at: Moment
    name: str
    description: str = ""
    usage_bytes: Count
    file_counts: FileCounts
    status: Literal["expired", "in_progress", "completed"]
    expires_after: StoreExpiry | None = None
    expires_at: Moment | None
    last_active_at: Moment
    metadata: Metadata


class ChunkSizes(Shape):
    """In tokens."""

    max_chunk_size_tokens: Annotated[int, Field(ge=100, le=4096)]
    chunk_overlap_tokens: Count


class StaticChunking(Shape):
    """How a file was cut."""

    type: Literal["static"]
    static: ChunkSizes


class ReadingFault(Shape):
    """Why a file could not be read."""

    code: Literal["server_error", "unsupported_file", "invalid_file"]
    message: str


class StoreFile(Shape):
    """A file in a store."""

    id: str
    object: Literal["vector_store.file"]
    created_at: Moment
    vector_store_id: str
    status: Status
    usage_bytes: Count
    last_error: ReadingFault | None
    attributes: Attributes
    chunking_strategy: StaticChunking


class FileBatch(Shape):
    """Files that were put into a store together."""

    id: str
    object: Literal["vector_store.files_batch"]
    created_at: Moment
    vector_store_id: str
    status: Status
    file_counts: FileCounts


class DeletedStore(Shape):
    """A store that was deleted."""

    id: str
    object: Literal["vector_store.deleted"]
    deleted: Literal[True]


class DeletedStoreFile(Shape):
    """A file that was taken out of a store."""

    id: str
    object: Literal["vector_store.file.deleted"]
    deleted: Literal[True]


class Passage(Shape):
    """Text of a file."""

    type: Literal["text"]
    text: str


class Content(Shape):
    """The chunks of a file."""

    object: Literal["vector_store.file_content.page"]
    data: list[Passage]
    has_more: bool
    next_page: str | None


class Hit(Shape):
    """What a search found in a file."""

    file_id: str
    filename: str
    score: Annotated[float, Field(ge=0, le=1)]
    attributes: Attributes
    content: list[Passage]


class Hits(Shape):
    """What a search found, the best first."""

    object: Literal["vector_store.search_results.page"]
    search_query: list[str]
    data: list[Hit]
    has_more: bool
    next_page: str | None
