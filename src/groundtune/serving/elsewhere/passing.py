"""Requests for a model of another endpoint go there as they came, before anything here looks at their parameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from groundtune.serving.callers.access import admit
from groundtune.serving.elsewhere.proxy import forward
from groundtune.serving.errors import ApiError
from groundtune.serving.state import serving_of
from groundtune.serving.strict_json import Strict, StrictRequest, has_json

#: letters of a request that count as one token until the endpoint says how many there were
_LETTERS_PER_TOKEN = 4


class Passing(Strict):
    """A route whose requests are passed on where their ``model`` is another endpoint's."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, with a look at the model before it."""
        own = super().get_route_handler()

        async def handler(request: Request) -> Response:
            request = StrictRequest(request.scope, request.receive)
            body = await _body(request) if request.method == "POST" else {}
            name = body.get("model")
            if isinstance(name, str):
                try:
                    model = await run_in_threadpool(serving_of(request).catalog.resolve, name)
                except ApiError:
                    return await own(request)  # which says so
                if model.kind == "remote":
                    given = {
                        key: value for key, value in body.items() if key not in ("model", "stream", "stream_options")
                    }
                    tokens = len(json.dumps(given, ensure_ascii=False)) // _LETTERS_PER_TOKEN
                    ticket = await run_in_threadpool(admit, request, model, tokens)
                    return await forward(request, model, body, ticket)
            return await own(request)

        return handler


async def _body(request: Request) -> dict[str, Any]:
    found: Any = await request.json() if has_json(request) and await request.body() else None
    return found if isinstance(found, dict) else {}
