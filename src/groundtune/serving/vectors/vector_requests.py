"""What a client may ask of vector stores, with OpenAI's bounds; unknown names are refused, none is ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from groundtune.serving.tuning.job_request import Metadata

#: files of a batch and of a new store, results of a search
MOST_FILES, MOST_FIRST_FILES, MOST_RESULTS = 2000, 500, 50
#: tokens of a chunk and of what two neighbours share, where the client leaves them open
CHUNK_TOKENS, OVERLAP_TOKENS = 800, 400
FileId = Annotated[str, Field(min_length=1, max_length=255)]
Value = (
    Annotated[str, Field(max_length=512)]
    | Annotated[bool, Field(strict=True)]
    | Annotated[int, Field(strict=True)]
    | Annotated[float, Field(strict=True, allow_inf_nan=False)]
)
Attributes = Annotated[dict[Annotated[str, Field(max_length=64)], Value], Field(max_length=16)]
Status = Literal["in_progress", "completed", "failed", "cancelled"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Expiry(_Part):
    """When a store that nobody uses ends."""

    anchor: Literal["last_active_at"]
    days: int = Field(ge=1, le=365)


class Sizes(_Part):
    """Of chunks, in tokens of the embedder."""

    max_chunk_size_tokens: int = Field(ge=100, le=4096)
    chunk_overlap_tokens: int = Field(ge=0)

    @model_validator(mode="after")
    def _at_most_half(self) -> Sizes:
        if self.chunk_overlap_tokens > self.max_chunk_size_tokens // 2:
            raise ValueError("chunk_overlap_tokens must not exceed half of max_chunk_size_tokens")
        return self


class Auto(_Part):
    """Our own choice of sizes."""

    type: Literal["auto"]


class Static(_Part):
    """The client's choice of sizes."""

    type: Literal["static"]
    static: Sizes


Chunking = Annotated[Auto | Static, Field(discriminator="type")]


def resolved(chunking: Auto | Static | None) -> dict[str, Any]:
    """A strategy with its numbers, as objects show it."""
    if isinstance(chunking, Static):
        return chunking.model_dump()
    sizes = {"max_chunk_size_tokens": CHUNK_TOKENS, "chunk_overlap_tokens": OVERLAP_TOKENS}
    return {"type": "static", "static": sizes}


class CreateStore(_Part):
    """A new store."""

    file_ids: Annotated[list[FileId], Field(max_length=MOST_FIRST_FILES)] = []
    name: str | None = None
    description: str | None = None
    expires_after: Expiry | None = None
    chunking_strategy: Chunking | None = None
    metadata: Metadata | None = None


class UpdateStore(_Part):
    """What is to be other; what is not named stays, null empties."""

    name: str | None = None
    expires_after: Expiry | None = None
    metadata: Metadata | None = None


class CreateFile(_Part):
    """A file to put into a store."""

    file_id: FileId
    attributes: Attributes | None = None
    chunking_strategy: Chunking | None = None


class UpdateFile(_Part):
    """Other attributes; null takes all of them away."""

    attributes: Attributes | None


class CreateBatch(_Part):
    """Files to put into a store together: ids that share attributes and strategy, files with their own, or both.

    A file that stands in both has what its own item says; what that leaves open is the batch's.
    """

    file_ids: Annotated[list[FileId], Field(max_length=MOST_FILES)] | None = None
    files: Annotated[list[CreateFile], Field(max_length=MOST_FILES)] | None = None
    attributes: Attributes | None = None
    chunking_strategy: Chunking | None = None

    @property
    def wanted(self) -> list[CreateFile]:
        """Every file with what holds for it."""
        shared = {"attributes": self.attributes, "chunking_strategy": self.chunking_strategy}
        ids = [CreateFile(file_id=id, **shared) for id in self.file_ids or []]
        own = [
            file.model_copy(update={name: value for name, value in shared.items() if getattr(file, name) is None})
            for file in self.files or []
        ]
        return list({file.file_id: file for file in (*ids, *own)}.values())


class Ranking(_Part):
    """How results are scored, and from which score on they are shown."""

    ranker: Literal["none", "auto", "default-2024-11-15"] = "auto"
    score_threshold: float = Field(0.0, ge=0, le=1)


class Search(_Part):
    """A search in one store."""

    query: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=32)]
    )
    rewrite_query: bool = False
    max_num_results: int = Field(10, ge=1, le=MOST_RESULTS)
    filters: dict[str, Any] | None = None
    ranking_options: Ranking = Ranking()

    @property
    def queries(self) -> list[str]:
        """The queries, one or more."""
        return [self.query] if isinstance(self.query, str) else self.query
