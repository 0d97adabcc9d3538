"""Chat completions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from groundtune.serving.shapes.parts import Count, Metadata, Moment, Open, Shape

Byte = Annotated[int, Field(ge=0, le=255)]


class Alternative(Shape):
    """A token that could have stood here."""

    token: str
    logprob: Annotated[float, Field(le=0)]
    bytes: list[Byte] | None


class TokenLogprob(Alternative):
    """A token that was written."""

    top_logprobs: Annotated[list[Alternative], Field(max_length=20)]


class Logprobs(Shape):
    """Of a choice."""

    content: list[TokenLogprob] | None
    refusal: list[TokenLogprob] | None


class CalledFunction(Shape):
    """A function with its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(Shape):
    """A call."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class Cited(Shape):
    """Where a source begins and ends in the answer, and its address."""

    start_index: Count
    end_index: Count
    title: str
    url: str


class Citation(Shape):
    """A source of a System's answer, with the document, the page and the words beside OpenAI's fields."""

    type: Literal["url_citation"]
    url_citation: Cited
    document: str
    page: int | None
    chunk_id: str
    score: float
    quote: str


class AssistantMessage(Open):
    """What the model says."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    annotations: list[Citation] = []
    tool_calls: list[ToolCall] = []
    function_call: CalledFunction | None = None


class Choice(Open):
    """One answer."""

    index: Count
    message: AssistantMessage
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class PromptDetails(Open):
    """Of the tokens read."""

    cached_tokens: Count = 0
    audio_tokens: Count = 0


class CompletionDetails(Open):
    """Of the tokens written."""

    reasoning_tokens: Count = 0
    audio_tokens: Count = 0
    accepted_prediction_tokens: Count = 0
    rejected_prediction_tokens: Count = 0


class Usage(Open):
    """Tokens."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class ChatCompletion(Open):
    """An answer."""

    id: str
    object: Literal["chat.completion"]
    created: Moment
    model: str
    choices: list[Choice]
    usage: Usage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    metadata: Metadata | None = None


class DeletedChat(Shape):
    """A stored completion that was deleted."""

    id: str
    object: Literal["chat.completion.deleted"]
    deleted: Literal[True]


class StoredMessage(Shape):
    """A message that a stored completion answered."""

    id: str
    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | None
    refusal: str | None
    content_parts: list[dict[str, Any]] | None
    name: str = ""
    tool_calls: list[ToolCall] = []
    tool_call_id: str = ""
    function_call: CalledFunction | None = None
    annotations: list[dict[str, Any]] = []
