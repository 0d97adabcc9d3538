"""Responses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from groundtune.serving.shapes.chat import Citation, TokenLogprob
from groundtune.serving.shapes.parts import Count, Moment, Open, Shape


class FileCitation(Shape):
    """A file that the answer rests on."""

    type: Literal["file_citation"]
    file_id: str
    filename: str
    index: Count


class OutputText(Open):
    """Text of a message."""

    type: Literal["output_text"]
    text: str
    annotations: list[FileCitation | Citation]
    logprobs: list[TokenLogprob] = []


class OutputMessage(Open):
    """A message."""

    type: Literal["message"]
    id: str
    role: Literal["assistant"]
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputText]


class OutputCall(Open):
    """A call of a function."""

    type: Literal["function_call"]
    id: str
    call_id: str
    name: str
    arguments: str
    status: Literal["in_progress", "completed", "incomplete"]


class FoundFile(Shape):
    """A part of a file that a search found."""

    file_id: str
    filename: str
    score: Annotated[float, Field(ge=0, le=1)]
    attributes: dict[str, str | bool | float]
    text: str


class FileSearch(Open):
    """A search in vector stores."""

    type: Literal["file_search_call"]
    id: str
    status: Literal["in_progress", "searching", "completed", "incomplete", "failed"]
    queries: list[str]
    results: list[FoundFile] | None


class ResponseUsage(Open):
    """Tokens."""

    input_tokens: Count
    output_tokens: Count
    total_tokens: Count
    input_tokens_details: dict[str, int]
    output_tokens_details: dict[str, int]


class Response(Open):
    """A response; of what it was asked for it holds every setting."""

    id: str
    object: Literal["response"]
    created_at: Moment
    status: Literal["completed", "failed", "in_progress", "incomplete", "cancelled", "queued"]
    error: dict[str, Any] | None
    incomplete_details: dict[str, str] | None
    instructions: Any
    metadata: dict[str, str] | None
    model: str
    output: list[OutputMessage | OutputCall | FileSearch]
    parallel_tool_calls: bool
    temperature: float | None
    tool_choice: Any
    tools: list[dict[str, Any]]
    top_p: float | None
    usage: ResponseUsage | None = None


class DeletedResponse(Shape):
    """A stored response that was deleted."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class InputItem(Open):
    """What was asked, or answered before: a message, a call, what a call gave."""

    type: str
