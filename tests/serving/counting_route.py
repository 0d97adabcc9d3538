"""A route that writes words as fast as it is read: asks to be admitted and counts as the real ones do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from groundtune.config import Config
from groundtune.methods._setup import Setup
from groundtune.serving.access import admit
from groundtune.serving.app import create_app
from groundtune.serving.errors import ApiError
from groundtune.serving.state import Serving, serving_of
from groundtune.serving.ticketed import TicketedStream
from groundtune.workspace import Workspace

router = APIRouter(prefix="/v1")


@router.post("/chat/completions")
def chat(request: Request, body: dict[str, Any]) -> Response:
    """As many words as ``max_tokens`` says, ``metadata.pause`` seconds apart; a prompt token for each word of the first message."""
    model = serving_of(request).catalog.resolve(body["model"])
    ticket = admit(request, model, len(body["messages"][0]["content"].split()))
    pause = float(body.get("metadata", {}).get("pause", 0))

    def words() -> Iterator[str]:
        for n in range(body["max_tokens"]):
            time.sleep(pause)
            try:
                ticket.wrote(1)
            except ApiError as error:
                yield f"data: {json.dumps(error.body)}\n\n"
                return
            yield f"data: {json.dumps(chunk(body['model'], f'w{n} '))}\n\n"
        yield "data: [DONE]\n\n"

    return TicketedStream(words(), ticket, media_type="text/event-stream")


def chunk(model: str, content: str) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": None}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}


def counting_app(serving: Serving) -> FastAPI:
    """The server with that route."""
    app = create_app(serving)
    app.router.routes[:] = [r for r in app.router.routes if getattr(r, "path", "") != "/v1/chat/completions"]
    app.include_router(router)
    return app


def opened(folder: Any, **serve: Any) -> Serving:
    """A server's state with settings of its ``serve`` section."""
    return Serving.open(Setup(Workspace(folder), Config.model_validate({"serve": serve})))
