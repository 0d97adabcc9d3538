"""What several objects share: lists, deletions, errors."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")
#: seconds since 1970
Moment = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Metadata = Annotated[dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)]  # fmt: skip


class Shape(BaseModel):
    """An object that holds nothing but its fields."""

    model_config = ConfigDict(extra="forbid")


class Open(BaseModel):
    """An object that may hold more: it can come from another endpoint, or be a client's own."""

    model_config = ConfigDict(extra="allow")


class Listed(Shape, Generic[T]):
    """A page of a list; the next begins ``after`` its ``last_id``."""

    object: Literal["list"]
    data: list[T]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Everything(Shape, Generic[T]):
    """A list that is all there is."""

    object: Literal["list"]
    data: list[T]


class Deleted(Shape):
    """What was deleted."""

    id: str
    object: str
    deleted: Literal[True]


class Fault(Shape):
    """What was wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(Shape):
    """Every answer that is an error."""

    error: Fault
