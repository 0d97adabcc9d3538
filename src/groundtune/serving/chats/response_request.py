"""What a client may ask of ``/responses``, and what that is as a conversation.

Names are openai-python's ``response_create_params``. As in ``chat_request`` nothing is taken in and ignored.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from groundtune.records import Message, ToolCall
from groundtune.serving.chats.chat_request import (
    AllowedTools,
    AllowedToolsChoice,
    CreateChat,
    Function,
    JsonSchema,
    NamedFunction,
    NamedTool,
    Part,
    Probability,
    ResponseFormat,
    Tool,
    unsupported,
)
from groundtune.serving.errors import bad_request
from groundtune.serving.tuning.job_request import Metadata

INCLUDABLE = ("file_search_call.results", "message.output_text.logprobs")


class FunctionTool(Part):
    """A function that may be called."""

    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class RankingOptions(Part):
    """How passages are ranked."""

    ranker: Literal["none", "auto", "default-2024-11-15"] | None = None
    score_threshold: Annotated[float, Field(ge=0, le=1)] | None = None


class FileSearchTool(Part):
    """A search in vector stores before the answer."""

    type: Literal["file_search"]
    vector_store_ids: Annotated[list[str], Field(min_length=1)]
    max_num_results: Annotated[int, Field(ge=1, le=50)] | None = None
    filters: dict[str, Any] | None = None
    ranking_options: RankingOptions | None = None


class TextFormat(Part):
    """The form of the answer; the schema stands beside its name here."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class Text(Part):
    """How text is written."""

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class NamedChoice(Part):
    """A tool that must be used."""

    type: Literal["function", "file_search"]
    name: str | None = None


class AllowedChoice(Part):
    """Some of the tools."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[NamedChoice]


class ReasoningOptions(Part):
    """Reasoning; only none is offered."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class ResponseStreamOptions(Part):
    """What a stream holds beside the answer."""

    include_obfuscation: bool | None = None


class CreateResponse(Part):
    """The body of ``POST /responses``."""

    model: str
    input: str | Annotated[list[dict[str, Any]], Field(min_length=1)]
    instructions: str | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tool_calls: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[FunctionTool | FileSearchTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | AllowedChoice | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    include: list[str] | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    previous_response_id: str | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None
    safety_identifier: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    reasoning: ReasoningOptions | None = None
    background: bool | None = None
    conversation: Any = None
    prompt: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    moderation: dict[str, Any] | None = None
    context_management: list[dict[str, Any]] | None = None
    access_programs: dict[str, Any] | None = None
    image: dict[str, Any] | None = None

    @property
    def searches(self) -> list[FileSearchTool]:
        """Searches that are to be made: all there are, unless the choice is another."""
        found = [tool for tool in self.tools or () if isinstance(tool, FileSearchTool)]
        choice = self.tool_choice
        if choice == "none" or (isinstance(choice, NamedChoice) and choice.type != "file_search"):
            return []
        if isinstance(choice, AllowedChoice) and not any(tool.type == "file_search" for tool in choice.tools):
            return []
        return found


_NOT_OFFERED: dict[str, tuple[tuple[Any, ...], str]] = {
    "service_tier": ((None, "auto", "default"), "there is one tier"),
    "background": ((None, False), "answers are written while the connection is open"),
    "conversation": ((None,), "use previous_response_id"),
    "prompt": ((None,), "stored prompts are not offered"),
    "prompt_cache_retention": ((None, "in_memory"), "beginnings of prompts are kept in memory only"),
    "prompt_cache_options": ((None,), "beginnings of prompts are always kept"),
    "moderation": ((None,), "ask /v1/moderations"),
    "context_management": ((None,), "see truncation"),
    "access_programs": ((None,), "there are none"),
    "image": ((None,), "only text is read"),
}


def check_offered(wanted: CreateResponse) -> None:
    """See that nothing is asked for that this server cannot do.

    Raises:
        ApiError: it is.
    """
    for name, (nothing, why) in _NOT_OFFERED.items():
        if getattr(wanted, name) not in nothing:
            raise unsupported(name, getattr(wanted, name), why)
    if wanted.reasoning and wanted.reasoning.model_dump(exclude_none=True) not in ({}, {"effort": "none"}):
        raise unsupported("reasoning", wanted.reasoning.model_dump(exclude_none=True), "the models here do not reason apart")  # fmt: skip
    if wanted.text and wanted.text.verbosity not in (None, "medium"):
        raise unsupported("text.verbosity", wanted.text.verbosity, "the models here have no such setting")
    for one in wanted.include or ():
        if one not in INCLUDABLE:
            raise unsupported("include", one, f"there is {' and '.join(INCLUDABLE)}")
    if wanted.top_logprobs and "message.output_text.logprobs" not in (wanted.include or ()):
        raise bad_request("'top_logprobs' needs 'message.output_text.logprobs' in 'include'.", param="top_logprobs", code="invalid_value")  # fmt: skip
    if wanted.stream_options is not None and not wanted.stream:
        raise bad_request("The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options", code="invalid_value")  # fmt: skip
    if wanted.stream_options and wanted.stream_options.include_obfuscation:
        raise unsupported("stream_options.include_obfuscation", True, "chunks are not padded")


def as_chat(wanted: CreateResponse) -> CreateChat:
    """The parameters that chat completions have too, in their form; the messages are another's business.

    Raises:
        ApiError: a choice of a tool that is not there.
    """
    functions = [
        Tool(
            type="function",
            function=Function(name=t.name, description=t.description, parameters=t.parameters, strict=t.strict),
        )
        for t in wanted.tools or ()
        if isinstance(t, FunctionTool)
    ]
    choice: Any = wanted.tool_choice if functions else None
    if isinstance(choice, NamedChoice):
        choice = NamedTool(function=NamedFunction(name=choice.name or "")) if choice.type == "function" else "none"
    elif isinstance(choice, AllowedChoice):
        named = [NamedTool(function=NamedFunction(name=t.name or "")) for t in choice.tools if t.type == "function"]
        choice = AllowedToolsChoice(type="allowed_tools", allowed_tools=AllowedTools(mode=choice.mode, tools=named))
    elif isinstance(wanted.tool_choice, NamedChoice) and wanted.tool_choice.type == "function":
        raise bad_request(f"Tool choice {wanted.tool_choice.name!r} is not among the 'tools'.", param="tool_choice")
    return CreateChat.model_construct(
        model=wanted.model,
        messages=[],
        tools=functions or None,
        functions=None,
        function_call=None,
        tool_choice=choice,
        parallel_tool_calls=wanted.parallel_tool_calls,
        response_format=_format(wanted),
        temperature=wanted.temperature,
        top_p=wanted.top_p,
        max_completion_tokens=wanted.max_output_tokens,
        top_logprobs=wanted.top_logprobs,
        stop=None,
        logit_bias=None,
        prompt_cache_key=wanted.prompt_cache_key,
    )


def _format(wanted: CreateResponse) -> ResponseFormat | None:
    form = wanted.text.format if wanted.text else None
    if form is None:
        return None
    schema = None
    if form.type == "json_schema":
        if form.schema_ is None or not form.name:
            raise bad_request("Missing required parameter: 'text.format.schema' or 'text.format.name'.", param="text.format", code="missing_required_parameter")  # fmt: skip
        schema = JsonSchema.model_validate({"name": form.name, "schema": form.schema_, "strict": form.strict})
    return ResponseFormat(type=form.type, json_schema=schema)


# ---------------------------------------------------------------- input


def items_of(wanted: CreateResponse) -> list[dict[str, Any]]:
    """The input as items; a bare text is a user's message."""
    if isinstance(wanted.input, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": wanted.input}]}]
    return [
        {"type": "message", **item} if "role" in item and "type" not in item else dict(item) for item in wanted.input
    ]


def messages_of(items: list[dict[str, Any]]) -> list[Message]:
    """Items as a conversation; calls go to the assistant's message before them.

    Raises:
        ApiError: an item, or content, that is not read here.
    """
    out: list[Message] = []
    calls: dict[str, str] = {}
    for number, item in enumerate(items):
        kind, param = item.get("type"), f"input[{number}]"
        if kind == "message":
            if item.get("role") not in ("user", "assistant", "system", "developer"):
                raise bad_request(f"Invalid value: {item.get('role')!r} at {param}.role.", param=param, code="invalid_value")  # fmt: skip
            out.append(Message(item["role"], _text(item.get("content"), param)))
        elif kind == "function_call":
            call = ToolCall(str(item.get("name")), str(item.get("arguments") or "{}"), str(item.get("call_id")))
            calls[call.id] = call.name
            if out and out[-1].role == "assistant":
                last = out.pop()
                out.append(Message("assistant", last.content, tool_calls=(*last.tool_calls, call)))
            else:
                out.append(Message("assistant", tool_calls=(call,)))
        elif kind == "function_call_output":
            id = str(item.get("call_id"))
            if id not in calls:
                raise bad_request(f"No tool call found for function call output with call_id {id}.", param=param)
            output = item.get("output")
            said = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
            out.append(Message("tool", said, calls[id], tool_call_id=id))
        elif kind not in ("file_search_call", "reasoning"):
            raise bad_request(f"Invalid value: {kind!r} at {param}.type: expected message, function_call or function_call_output.", param=param, code="invalid_value")  # fmt: skip
    return out


def _text(content: Any, param: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad_request(f"Invalid type for '{param}.content': expected a string or a list.", param=f"{param}.content")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("input_text", "output_text", "text", "refusal"):
            raise bad_request(f"Invalid content type {kind!r} at {param}: here, only text is read.", param=f"{param}.content", code="invalid_value")  # fmt: skip
        texts.append(str(part.get("refusal" if kind == "refusal" else "text", "")))
    return "\n".join(texts)
