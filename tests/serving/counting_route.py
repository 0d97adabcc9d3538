"""Beside the real routes one that writes words as fast as it is read, for tests that count tokens one by one; and what asks it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from groundtune.config import Config
from groundtune.methods._setup import Setup
from groundtune.serving.app import create_app
from groundtune.serving.callers.access import admit
from groundtune.serving.callers.ticketed import TicketedStream
from groundtune.serving.errors import ApiError
from groundtune.serving.state import Serving, serving_of
from groundtune.workspace import Workspace

router = APIRouter(prefix="/v1")


@router.post("/test/words")
def words_of(request: Request, body: dict[str, Any]) -> Response:
    """As many words as ``max_tokens`` says, ``metadata.pause`` seconds apart; a prompt token a word of the first message."""
    model = serving_of(request).catalog.resolve(body["model"])
    ticket = admit(request, model, len(body["messages"][0]["content"].split()))
    pause = float(body.get("metadata", {}).get("pause", 0))

    def parts() -> Iterator[str]:
        for n in range(body["max_tokens"]):
            time.sleep(pause)
            try:
                ticket.wrote(1)
            except ApiError as error:
                yield f"data: {json.dumps(error.body)}\n\n"
                return
            yield f"data: {json.dumps(chunk(body['model'], f'w{n} '))}\n\n"
        yield "data: [DONE]\n\n"

    return TicketedStream(parts(), ticket, media_type="text/event-stream")


def chunk(model: str, content: str) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": None}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}


def counting_app(serving: Serving) -> FastAPI:
    """The server with that route, too."""
    app = create_app(serving)
    app.include_router(router)
    return app


def words(
    client: Any, tokens: int = 3, *, prompt: str = "one", model: str = "gpt-4o", pause: float = 0
) -> Iterator[str]:
    """The words of that route's stream, through the official client."""
    import openai
    from openai.types.chat import ChatCompletionChunk

    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": tokens,
            "metadata": {"pause": str(pause)}, "stream": True}  # fmt: skip
    kind = openai.Stream[ChatCompletionChunk]
    stream = client.post("/test/words", body=body, cast_to=ChatCompletionChunk, stream=True, stream_cls=kind)
    for part in stream:
        yield part.choices[0].delta.content


def written(client: Any, tokens: int, *, prompt: str = "a", model: str = "pebble") -> Iterator[str]:
    """The tokens of an answer of the real route that does not end by itself (the bundled model's end is token 0)."""
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": prompt}], max_tokens=tokens, stream=True, logprobs=True,
        logit_bias={"0": -100},
    )  # fmt: skip
    for part in stream:
        for choice in part.choices:
            yield from (token.token for token in (choice.logprobs.content if choice.logprobs else None) or ())


def opened(folder: Any, **serve: Any) -> Serving:
    """A server's state with settings of its ``serve`` section."""
    return Serving.open(Setup(Workspace(folder), Config.model_validate({"serve": serve})))
