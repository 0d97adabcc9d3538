"""What a client may ask of a chat completion, with OpenAI's bounds; what this server cannot do is refused by name.

Names and bounds are the public description's ``CreateChatCompletionRequest``. Nothing is taken in and ignored: a parameter either
has an effect, or its value is the one that asks for none, or the answer is a 400 that names it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from groundtune.errors import InputError
from groundtune.generation.constraint import Grammar, json_grammar
from groundtune.records import Message, ToolCall
from groundtune.serving.chats.closed_schema import closed
from groundtune.serving.errors import ApiError, bad_request
from groundtune.serving.tuning.job_request import Metadata

#: where a model's tool call begins and ends, as ``dataset.render`` writes them (Hermes and Qwen models)
CALL, CALL_END = "<tool_call>", "</tool_call>"


class Part(BaseModel):
    """A part of a request: unknown names are refused."""

    model_config = ConfigDict(extra="forbid")


class FunctionCall(Part):
    """Which function, with which arguments as JSON text."""

    name: str
    arguments: str


class Call(Part):
    """A tool call of an earlier assistant message."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall
    index: int | None = None


class ChatMessage(Part):
    """A message of any role."""

    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    function_call: FunctionCall | None = None
    refusal: str | None = None
    audio: None = None
    annotations: list[dict[str, Any]] | None = None


class Function(Part):
    """A function that may be called."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,128}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Part):
    """A tool."""

    type: Literal["function"]
    function: Function


class NamedFunction(Part):
    """A function by its name."""

    name: str


class NamedTool(Part):
    """A tool by its name."""

    type: Literal["function"] = "function"
    function: NamedFunction


class AllowedTools(Part):
    """Some of the tools."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class AllowedToolsChoice(Part):
    """A choice among some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


class JsonSchema(Part):
    """A schema that the answer must follow."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(Part):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(Part):
    """What a stream holds beside the answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


Probability = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Stop = str | Annotated[list[str], Field(max_length=4)]
ToolChoice = Literal["none", "auto", "required"] | NamedTool | AllowedToolsChoice


class CreateChat(Part):
    """The body of ``POST /chat/completions``."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=0)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: Stop | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[list[Function], Field(min_length=1, max_length=128)] | None = None
    function_call: Literal["none", "auto"] | NamedFunction | None = None
    response_format: ResponseFormat | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    user: str | None = None
    safety_identifier: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_key: str | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    audio: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    prompt_cache_options: dict[str, Any] | None = None
    moderation: dict[str, Any] | None = None


def unsupported(param: str, value: Any, why: str) -> ApiError:
    """400: a parameter that this server has nothing for."""
    shown = json.dumps(value, ensure_ascii=False, default=str)[:80]
    return bad_request(f"Unsupported value: {param!r} does not support {shown} here: {why}.", param=param, code="unsupported_value")  # fmt: skip


#: parameter -> (values that ask for nothing, why the others are refused)
_NOT_OFFERED: dict[str, tuple[tuple[Any, ...], str]] = {
    "service_tier": ((None, "auto", "default"), "there is one tier"),
    "reasoning_effort": ((None, "none"), "the models here do not reason apart from answering"),
    "verbosity": ((None, "medium"), "the models here have no such setting"),
    "modalities": ((None, ["text"]), "only text is written"),
    "audio": ((None,), "only text is written"),
    "prediction": ((None,), "answers are not written from predictions"),
    "web_search_options": ((None,), "the server fetches nothing from the web"),
    "prompt_cache_retention": ((None, "in_memory"), "beginnings of prompts are kept in memory only"),
    "prompt_cache_options": ((None,), "beginnings of prompts are always kept"),
    "moderation": ((None,), "ask /v1/moderations"),
}


def check_offered(wanted: CreateChat) -> None:
    """See that nothing is asked for that this server cannot do, and nothing that does not go together.

    Raises:
        ApiError: it is.
    """
    for name, (nothing, why) in _NOT_OFFERED.items():
        value = getattr(wanted, name)
        if value not in nothing:
            raise unsupported(name, value, why)
    if wanted.top_logprobs and not wanted.logprobs:
        raise bad_request("'top_logprobs' needs 'logprobs' true.", param="top_logprobs", code="invalid_value")
    if wanted.stream_options and not wanted.stream:
        raise bad_request("The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options", code="invalid_value")  # fmt: skip
    if wanted.stream_options and wanted.stream_options.include_obfuscation:
        raise unsupported("stream_options.include_obfuscation", True, "chunks are not padded")
    if wanted.metadata and not wanted.store:
        raise bad_request("The 'metadata' parameter is only allowed when 'store' is enabled.", param="metadata", code="invalid_value")  # fmt: skip
    if wanted.tools and wanted.functions:
        raise bad_request("'functions' is the older form of 'tools': give one of them.", param="functions", code="invalid_value")  # fmt: skip
    if wanted.tool_choice not in (None, "none") and not wanted.tools:
        raise bad_request("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice", code="invalid_value")  # fmt: skip
    if wanted.function_call not in (None, "none") and not wanted.functions:
        raise bad_request("'function_call' is only allowed when 'functions' are specified.", param="function_call", code="invalid_value")  # fmt: skip
    if wanted.parallel_tool_calls is not None and not wanted.tools:
        raise bad_request("'parallel_tool_calls' is only allowed when 'tools' are specified.", param="parallel_tool_calls", code="invalid_value")  # fmt: skip
    format_ = wanted.response_format
    if format_ and format_.type == "json_object" and "json" not in " ".join(text_of(m) for m in wanted.messages).lower():  # fmt: skip
        raise bad_request("'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.", param="messages")  # fmt: skip


# ---------------------------------------------------------------- messages


def text_of(message: ChatMessage) -> str:
    """The text of a message.

    Raises:
        ApiError: it holds something else.
    """
    if not isinstance(message.content, list):
        return message.content or ""
    texts = []
    for part in message.content:
        kind = part.get("type")
        if kind not in ("text", "refusal", "input_text", "output_text") or not isinstance(part.get(kind.removeprefix("input_").removeprefix("output_")), str):  # fmt: skip
            raise bad_request(f"Invalid content type. {kind} is only supported by certain models: here, text.", param="messages", code="invalid_value")  # fmt: skip
        texts.append(part["refusal" if kind == "refusal" else "text"])
    return "\n".join(texts)


def messages_of(wanted: list[ChatMessage]) -> list[Message]:
    """The conversation.

    Raises:
        ApiError: a tool's answer to no call, an assistant that says nothing, or content that is no text.
    """
    out: list[Message] = []
    called: set[str] = set()
    for number, message in enumerate(wanted):
        param = f"messages.[{number}]"
        calls = tuple(ToolCall(c.function.name, c.function.arguments, c.id) for c in message.tool_calls or ())
        if message.function_call:
            calls = (*calls, ToolCall(message.function_call.name, message.function_call.arguments))
        if message.role != "assistant" and calls:
            raise bad_request("Only assistant messages can have tool calls.", param=f"{param}.tool_calls", code="invalid_value")  # fmt: skip
        if message.role == "tool" and (message.tool_call_id is None or message.tool_call_id not in called):
            raise bad_request("Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'.", param=f"{param}.role")  # fmt: skip
        if message.role == "function" and not message.name:
            raise bad_request("Messages with role 'function' need a 'name'.", param=f"{param}.name")
        text = text_of(message) or message.refusal or ""
        if message.content is None and not calls and not text:
            raise bad_request(f"Invalid value for 'content': expected a string, got null in {param}.", param=f"{param}.content", code="invalid_value")  # fmt: skip
        called |= {call.id for call in calls}
        out.append(Message(message.role, text, message.name or "", calls, message.tool_call_id or ""))
    return out


# ---------------------------------------------------------------- tools and forms


def tools_of(wanted: CreateChat) -> list[Function]:
    """The functions that the model may call now.

    Raises:
        ApiError: a choice among tools that are not there.
    """
    every = [tool.function for tool in wanted.tools or ()] or list(wanted.functions or ())
    named: list[str] | None = None
    choice = wanted.tool_choice
    if isinstance(choice, NamedTool):
        named = [choice.function.name]
    elif isinstance(choice, AllowedToolsChoice):
        named = [tool.function.name for tool in choice.allowed_tools.tools]
    elif isinstance(wanted.function_call, NamedFunction):
        named = [wanted.function_call.name]
    elif choice == "none" or wanted.function_call == "none":
        return []
    if named is None:
        return every
    unknown = [name for name in named if name not in {f.name for f in every}]
    if unknown:
        raise bad_request(f"Tool choice {unknown[0]!r} is not among the 'tools'.", param="tool_choice", code="invalid_value")  # fmt: skip
    return [f for f in every if f.name in named]


def must_call(wanted: CreateChat) -> bool:
    """Whether the answer has to be a tool call."""
    choice = wanted.tool_choice
    if isinstance(choice, AllowedToolsChoice):
        return choice.allowed_tools.mode == "required"
    return choice == "required" or isinstance(choice, NamedTool) or isinstance(wanted.function_call, NamedFunction)


def described(functions: list[Function]) -> list[dict[str, Any]]:
    """Functions as chat templates take them."""
    return [{"type": "function", "function": f.model_dump(exclude_none=True, exclude={"strict"})} for f in functions]


def grammar_of(wanted: CreateChat, functions: list[Function]) -> Grammar | None:
    """What the answer must be: JSON of a schema, or a call of one of the functions.

    A call that the model begins by itself is held to the functions' schemas, too.

    Raises:
        ApiError: a schema that cannot be held to.
    """
    form = wanted.response_format
    try:
        if functions:
            options: list[Mapping[str, Any]] = [_call_schema(f) for f in functions]
            schema = options[0] if len(options) == 1 else {"anyOf": options}
            again = "" if wanted.parallel_tool_calls is False or wanted.functions else CALL
            return json_grammar(schema, trigger="" if must_call(wanted) else CALL, end=CALL_END, again=again)
        if form and form.type == "json_object":
            return json_grammar(None)
        if form and form.type == "json_schema":
            if form.json_schema is None:
                raise bad_request("Missing required parameter: 'response_format.json_schema'.", param="response_format.json_schema", code="missing_required_parameter")  # fmt: skip
            return json_grammar(closed(form.json_schema.schema_ or {}))
    except InputError as error:
        param = "tools" if functions else "response_format"
        raise bad_request(f"Invalid schema for {param!r}: {error.problem}", param=param, code="invalid_value") from None
    return None


def _call_schema(function: Function) -> dict[str, Any]:
    """A function without parameters takes none (OpenAI's words)."""
    return {
        "type": "object",
        "properties": {"name": {"const": function.name}, "arguments": closed(function.parameters or {"type": "object", "properties": {}})},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }  # fmt: skip
