"""``/responses``: create, whole or streamed, with file search over vector stores; retrieve, delete, input items."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from fastapi import APIRouter, Request
from jinja2.exceptions import TemplateError
from starlette.concurrency import run_in_threadpool

from groundtune.dataset.render import render_prompt
from groundtune.errors import GroundtuneError
from groundtune.generation.sampling import Sampling
from groundtune.records import Message
from groundtune.serving.catalog import Model
from groundtune.serving.chats import chat_request
from groundtune.serving.chats import response_request as asked
from groundtune.serving.chats.chat import CallReader
from groundtune.serving.chats.chat_request import CALL, unsupported
from groundtune.serving.chats.response_request import CreateResponse
from groundtune.serving.chats.response_search import Found, search
from groundtune.serving.chats.responses import Reply
from groundtune.serving.described import gives
from groundtune.serving.elsewhere.passing import Passing
from groundtune.serving.errors import ApiError, bad_request, from_ours, no_such
from groundtune.serving.generating.answers import Answers, Ask, note, of_system, of_weights
from groundtune.serving.generating.engines import AnyEngine
from groundtune.serving.generating.sampling_request import room_for, sampling_changes
from groundtune.serving.generating.sse import streamed
from groundtune.serving.generating.unless_gone import unless_gone
from groundtune.serving.pages import listed
from groundtune.serving.shapes.parts import Listed
from groundtune.serving.shapes.responses import DeletedResponse, InputItem, Response
from groundtune.serving.state import Serving, serving_of
from groundtune.serving.storage.store import Body, Order, Page

router = APIRouter(tags=["responses"], route_class=Passing)


@router.post("/responses", **gives(Response, streams=True))
async def create_response(request: Request, wanted: CreateResponse) -> Any:
    """Answer."""
    serving = serving_of(request)
    asked.check_offered(wanted)
    model = await run_in_threadpool(serving.catalog.resolve, wanted.model, "weights", "system")
    items = await run_in_threadpool(_history, serving, wanted)
    messages = asked.messages_of(items)
    if not any(message.role == "user" for message in messages) and wanted.searches:
        raise bad_request("File search needs a user's message to search for.", param="input")
    found: Found | None = None
    if wanted.searches:
        if model.kind == "system":
            raise unsupported("tools", "file_search", "the project's Systems search its own documents")
        with_results = "file_search_call.results" in (wanted.include or ())
        found = await run_in_threadpool(search, serving, wanted.searches, messages, model, with_results=with_results)
        messages = found.messages
    if wanted.instructions is not None:
        messages = [Message("developer", wanted.instructions), *messages]
    note(request, wanted, messages)
    reply, begun = await _begun(request, wanted, model, messages, found)
    if wanted.stream:
        stack = AsyncExitStack()
        answers = await stack.enter_async_context(begun)
        return streamed(_events(reply, answers, serving, items), stack, done=False)
    return await unless_gone(request, _whole(reply, begun, serving, items))


async def _begun(
    request: Request, wanted: CreateResponse, model: Model, messages: Sequence[Message], found: Found | None
) -> tuple[Reply, AbstractAsyncContextManager[Answers]]:
    chat = asked.as_chat(wanted)
    functions = chat_request.tools_of(chat)
    forced = bool(functions) and chat_request.must_call(chat)
    grammar = await run_in_threadpool(chat_request.grammar_of, chat, functions)
    changes = sampling_changes(chat, grammar=grammar)
    most = 1 if wanted.parallel_tool_calls is False else 128
    reader = CallReader(frozenset(f.name for f in functions), forced, most) if functions else None
    reply = Reply(wanted, reader, found, str(request.base_url))
    if model.kind == "system":
        if functions:
            raise unsupported("tools", [f.name for f in functions], "the project's Systems call none")
        return reply, of_system(request, model, messages, changes, 1)

    def prompts(engine: AnyEngine) -> list[list[int]]:
        context = engine.context_tokens
        room = context - min(wanted.max_output_tokens or 1, context // 2)
        kept = list(messages)
        while True:
            try:
                ids = render_prompt(engine.tokenizer, kept, chat_request.described(functions))
            except TemplateError as error:
                raise bad_request(f"This model's chat template refuses the input: {error}.", param="input") from None
            if len(ids) <= room or wanted.truncation != "auto" or len(kept) < 2:
                return [[*ids, *(engine.vocabulary.encode(f"{CALL}\n") if forced else ())]]
            oldest = next((n for n, m in enumerate(kept[:-1]) if m.role not in ("system", "developer")), 0)
            del kept[oldest]

    def sampling(engine: AnyEngine, prompt: Sequence[int], number: int) -> Sampling:
        return room_for(engine, prompt, wanted.max_output_tokens, changes, number, "input")

    return reply, of_weights(request, model, Ask(prompts, sampling, 1, salt=wanted.prompt_cache_key or ""))


def _status(answers: Answers) -> str:
    return "incomplete" if answers.choices[0].finish == "length" else "completed"


async def _whole(
    reply: Reply, begun: AbstractAsyncContextManager[Answers], serving: Serving, items: list[dict[str, Any]]
) -> dict[str, Any]:
    async with begun as answers:
        async for _, piece in answers:
            reply.add(piece.text, piece.tokens, bool(piece.finish))
    body = reply.body(_status(answers), answers)
    await run_in_threadpool(_keep, serving, reply, body, items)
    return body


async def _events(
    reply: Reply, answers: Answers, serving: Serving, items: list[dict[str, Any]]
) -> AsyncIterator[bytes]:
    yield reply.say("response.created", response=reply.body("in_progress"))
    yield reply.say("response.in_progress", response=reply.body("in_progress"))
    for one in reply.search_events():
        yield one
    begun, index = False, 1 if reply.found else 0
    try:
        async for _, piece in answers:
            text, new = reply.add(piece.text, piece.tokens, bool(piece.finish))
            if not begun and (text or (piece.finish and not reply.calls)):
                begun = True
                for one in reply.text_begins():
                    yield one
            if text:
                yield reply.text_delta(text, piece.tokens)
            if piece.finish and begun:
                for one in reply.text_ends(answers):
                    yield one
            for number, call in enumerate(new, len(reply.calls) - len(new)):
                for one in reply.call_events(call, index + number + begun):
                    yield one
    except (ApiError, GroundtuneError) as error:
        fault = error if isinstance(error, ApiError) else from_ours(error)
        yield reply.say("error", code=fault.code or fault.type, message=fault.message, param=fault.param)
        failed = {
            "code": "server_error" if fault.status >= 500 else "rate_limit_exceeded",
            "message": fault.message,
        }
        yield reply.say("response.failed", response=reply.body("failed", answers, failed))
        return
    body = reply.body(_status(answers), answers)
    await run_in_threadpool(_keep, serving, reply, body, items)
    yield reply.say(f"response.{body['status']}", response=body)


# ---------------------------------------------------------------- stored ones


def _history(serving: Serving, wanted: CreateResponse) -> list[dict[str, Any]]:
    """The input's items behind those of the response it goes on from."""
    items = asked.items_of(wanted)
    if wanted.previous_response_id is None:
        return items
    before = serving.store.get("response", wanted.previous_response_id)
    if before is None:
        message = f"Previous response with id '{wanted.previous_response_id}' not found."
        raise ApiError(404, message, param="previous_response_id", code="previous_response_not_found")
    output = [item for item in before["body"]["output"] if item["type"] != "file_search_call"]
    return [*before["items"], *output, *items]


def _keep(serving: Serving, reply: Reply, body: dict[str, Any], items: list[dict[str, Any]]) -> None:
    if reply.wanted.store is not False:
        serving.store.add("response", {"body": body, "items": items, "created_at": reply.created}, id=reply.id)


def _stored(request: Request, id: str) -> Body:
    body = serving_of(request).store.get("response", id)
    if body is None:
        raise no_such("response", id, param="response_id")
    return body


@router.get("/responses/{response_id}", **gives(Response))
def retrieve_response(request: Request, response_id: str) -> dict[str, Any]:
    """A stored response."""
    found: dict[str, Any] = _stored(request, response_id)["body"]
    return found


@router.delete("/responses/{response_id}", **gives(DeletedResponse))
def delete_response(request: Request, response_id: str) -> dict[str, Any]:
    """Delete a stored response."""
    _stored(request, response_id)
    serving_of(request).store.remove("response", response_id)
    return {"id": response_id, "object": "response", "deleted": True}


@router.get("/responses/{response_id}/input_items", **gives(Listed[InputItem]))
def list_input_items(
    request: Request, response_id: str, after: str | None = None, limit: int = 20, order: Order = "desc"
) -> dict[str, Any]:
    """What a stored response answered."""
    items = [{"id": f"{response_id}-{n}", **item} for n, item in enumerate(_stored(request, response_id)["items"])]
    ordered = items if order == "asc" else items[::-1]
    start = next((n + 1 for n, item in enumerate(ordered) if item["id"] == after), 0)
    size = max(0, min(limit, 100))
    return listed(Page(ordered[start : start + size], len(ordered) > start + size))
