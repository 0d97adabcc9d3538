"""``/chat/completions``: create, whole or streamed; and those that were stored: list, retrieve, update, delete, messages."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from fastapi import APIRouter, Request
from jinja2.exceptions import TemplateError
from starlette.concurrency import run_in_threadpool

from groundtune.dataset.render import render_prompt
from groundtune.generation.sampling import Sampling
from groundtune.records import Message
from groundtune.serving.catalog import Model
from groundtune.serving.chats import chat_request as asked
from groundtune.serving.chats.chat import Chat, annotations_of, usage_of
from groundtune.serving.chats.chat_request import CALL, CreateChat, Part
from groundtune.serving.described import filtered, gives
from groundtune.serving.elsewhere.passing import Passing
from groundtune.serving.errors import bad_request, no_such
from groundtune.serving.fields import nested
from groundtune.serving.generating.answers import Answers, Ask, note, of_system, of_weights
from groundtune.serving.generating.engines import AnyEngine
from groundtune.serving.generating.sampling_request import fingerprint, room_for, sampling_changes
from groundtune.serving.generating.sse import event, streamed
from groundtune.serving.generating.unless_gone import unless_gone
from groundtune.serving.pages import listed
from groundtune.serving.shapes.chat import ChatCompletion, DeletedChat, StoredMessage
from groundtune.serving.shapes.parts import Listed
from groundtune.serving.state import Serving, serving_of
from groundtune.serving.storage.store import Body, Order
from groundtune.serving.tuning.job_request import Metadata

router = APIRouter(tags=["chat"], route_class=Passing)


@router.post("/chat/completions", **gives(ChatCompletion, streams=True))
async def create_chat(request: Request, wanted: CreateChat) -> Any:
    """Write the next message of a conversation."""
    serving = serving_of(request)
    asked.check_offered(wanted)
    model = await run_in_threadpool(serving.catalog.resolve, wanted.model, "weights", "system")
    messages, functions = asked.messages_of(wanted.messages), asked.tools_of(wanted)
    forced = bool(functions) and asked.must_call(wanted)
    if functions and model.kind == "system":
        raise asked.unsupported("tools", [f.name for f in functions], "the project's Systems call none")
    grammar = await run_in_threadpool(asked.grammar_of, wanted, functions)
    chat = Chat(wanted, functions, forced, wanted.model, fingerprint(model), str(request.base_url), int(time.time()))
    changes = sampling_changes(wanted, grammar=grammar)

    def prompts(engine: AnyEngine) -> list[list[int]]:
        try:
            ids = render_prompt(engine.tokenizer, messages, asked.described(functions))
        except TemplateError as error:
            raise bad_request(f"This model's chat template refuses the messages: {error}.", param="messages") from None
        return [[*ids, *(engine.vocabulary.encode(f"{CALL}\n") if forced else ())]]

    note(request, wanted, messages)
    begun = _begun(request, model, wanted, messages, changes, prompts)
    if wanted.stream:
        stack = AsyncExitStack()
        answers = await stack.enter_async_context(begun)  # what is wrong with the request is still answered by a status
        return streamed(_chunks(chat, answers, serving), stack)
    return await unless_gone(request, _whole(chat, begun, serving))


def _begun(
    request: Request,
    model: Model,
    wanted: CreateChat,
    messages: Sequence[Message],
    changes: dict[str, Any],
    prompts: Any,
) -> AbstractAsyncContextManager[Answers]:
    if model.kind == "system":
        return of_system(request, model, messages, changes, wanted.n or 1)

    def sampling(engine: AnyEngine, prompt: Sequence[int], number: int) -> Sampling:
        limit = wanted.max_completion_tokens if wanted.max_completion_tokens is not None else wanted.max_tokens
        return room_for(engine, prompt, limit, changes, number, "messages")

    return of_weights(request, model, Ask(prompts, sampling, wanted.n or 1, salt=wanted.prompt_cache_key or ""))


async def _whole(chat: Chat, begun: AbstractAsyncContextManager[Answers], serving: Serving) -> dict[str, Any]:
    async with begun as answers:
        await answers.all()
    body = chat.whole(answers)
    if chat.wanted.store:
        await run_in_threadpool(_keep, serving, chat, body)
    return body


async def _chunks(chat: Chat, answers: Answers, serving: Serving) -> AsyncIterator[bytes]:
    for number in range(len(answers.choices)):
        yield event(chat.chunk([chat.delta(number, {"role": "assistant", "content": "", "refusal": None})]))
    readers = [chat.reader() for _ in answers.choices]
    async for number, piece in answers:
        choice, reader = answers.choices[number], readers[number]
        text, new = (piece.text, []) if reader is None else reader.add(piece.text)
        if reader is not None and piece.finish:
            rest, last = reader.end()
            text, new = text + rest, [*new, *last]
        if text or (piece.tokens and chat.wanted.logprobs):
            yield event(chat.chunk([chat.delta(number, {"content": text}, piece.tokens)]))
        if reader is not None:
            for delta in chat.call_deltas(reader, new):
                yield event(chat.chunk([chat.delta(number, delta)]))
        if piece.finish:
            last_delta: dict[str, Any] = {}
            if choice.completion is not None:
                last_delta = {"annotations": annotations_of(choice.completion, choice.text, chat.base_url)}
            calls = reader.calls if reader else []
            yield event(chat.chunk([chat.delta(number, last_delta, (), chat.finish(choice, calls))]))
    if chat.wanted.stream_options and chat.wanted.stream_options.include_usage:
        yield event(chat.chunk([], usage=usage_of(answers)))
    if chat.wanted.store:
        await run_in_threadpool(_keep, serving, chat, chat.whole(answers))


# ---------------------------------------------------------------- stored ones


class UpdateChat(Part):
    """The body of an update."""

    metadata: Metadata | None


def _keep(serving: Serving, chat: Chat, body: dict[str, Any]) -> None:
    kept = {
        **body,
        "metadata": chat.wanted.metadata or {},
        **{name: getattr(chat.wanted, name) for name in ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty")},
        "request_id": chat.id, "tool_choice": None, "input_user": chat.wanted.user,
        "tools": asked.described(chat.functions) or None,
        "response_format": chat.wanted.response_format.model_dump(by_alias=True, exclude_none=True) if chat.wanted.response_format else None,
    }  # fmt: skip
    serving.store.add("chat_completion", {**kept, "created_at": body["created"]}, id=body["id"])
    for number, message in enumerate(chat.wanted.messages):
        id = f"{body['id']}-{number}"
        own = message.model_dump(exclude_none=True, exclude={"tool_calls", "content"})
        said = {"content": asked.text_of(message), "content_parts": None, **own}
        if isinstance(message.content, list):
            said["content_parts"] = message.content
        if message.tool_calls:
            said["tool_calls"] = [call.model_dump(exclude={"index"}) for call in message.tool_calls]
        serving.store.add("chat_message", {"refusal": None, **said}, id=id, parent=body["id"])


def _stored(request: Request, id: str) -> Body:
    body = serving_of(request).store.get("chat_completion", id)
    if body is None:
        raise no_such("chat completion", id, param="completion_id")
    return body


def _shown(body: Body) -> Body:
    return {key: value for key, value in body.items() if key != "created_at"}


@router.get(
    "/chat/completions", **gives(Listed[ChatCompletion]), openapi_extra=filtered("metadata", "metadata[key]=value")
)
def list_chats(
    request: Request, after: str | None = None, limit: int = 20, model: str | None = None, order: Order = "asc"
) -> dict[str, Any]:
    """Completions that were made with ``store``."""
    wanted = nested(request.query_params.multi_items()).get("metadata") or {}
    if not isinstance(wanted, dict):
        raise bad_request("'metadata' is given as metadata[key]=value.", param="metadata")

    def fits(body: Body) -> bool:
        own = body.get("metadata") or {}
        return (model is None or body["model"] == model) and all(own.get(k) == v for k, v in wanted.items())

    page = serving_of(request).store.page(
        "chat_completion", after=after, limit=max(0, min(limit, 100)), order=order, fits=fits
    )
    found = listed(page)
    return {**found, "data": [_shown(body) for body in page.items]}


@router.get("/chat/completions/{completion_id}", **gives(ChatCompletion))
def retrieve_chat(request: Request, completion_id: str) -> dict[str, Any]:
    """A stored completion."""
    return _shown(_stored(request, completion_id))


@router.post("/chat/completions/{completion_id}", **gives(ChatCompletion))
def update_chat(request: Request, completion_id: str, wanted: UpdateChat) -> dict[str, Any]:
    """Change a stored completion's metadata."""
    _stored(request, completion_id)
    changed = serving_of(request).store.change(
        "chat_completion", completion_id, lambda _: {"metadata": wanted.metadata or {}}
    )
    return _shown(changed or _stored(request, completion_id))


@router.delete("/chat/completions/{completion_id}", **gives(DeletedChat))
def delete_chat(request: Request, completion_id: str) -> dict[str, Any]:
    """Delete a stored completion."""
    _stored(request, completion_id)
    store = serving_of(request).store
    store.remove_all("chat_message", parent=completion_id)
    store.remove("chat_completion", completion_id)
    return {"object": "chat.completion.deleted", "id": completion_id, "deleted": True}


@router.get("/chat/completions/{completion_id}/messages", **gives(Listed[StoredMessage]))
def list_chat_messages(
    request: Request, completion_id: str, after: str | None = None, limit: int = 20, order: Order = "asc"
) -> dict[str, Any]:
    """The messages that a stored completion answered."""
    _stored(request, completion_id)
    page = serving_of(request).store.page(
        "chat_message", parent=completion_id, after=after, limit=max(0, min(limit, 100)), order=order
    )
    found = listed(page)
    return {**found, "data": [_shown(body) for body in page.items]}
