"""Requests that the server makes of itself for somebody: of a batch, of a grader that asks a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from groundtune.serving.callers.access import Caller
from groundtune.serving.callers.gate import CALLER
from groundtune.serving.errors import ApiError
from groundtune.serving.grading.graders import Judgement


def client(app: FastAPI, caller: Caller | None) -> httpx.AsyncClient:
    """A client of the application's own routes, as a caller, without a key and without the network."""

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, CALLER: caller}, receive, send)

    transport = httpx.ASGITransport(app=inside, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=None)


def judge(app: FastAPI, caller: Caller, loop: asyncio.AbstractEventLoop) -> Callable[..., Judgement]:
    """What asks a model for a grader, from a thread that is not the loop's.

    Returns:
        (model, messages, sampling parameters) -> what it says; raises ApiError with what the route answers.
    """

    async def ask(model: str, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any]) -> Judgement:
        async with client(app, caller) as own:
            answer = await own.post(
                "/v1/chat/completions", json={"model": model, "messages": list(messages), **parameters}
            )
        body = answer.json()
        if answer.status_code != 200:
            error = body["error"]
            raise ApiError(
                answer.status_code, error["message"], type=error["type"], param=error["param"], code=error["code"]
            )
        return Judgement(body["choices"][0]["message"]["content"], body["usage"]["total_tokens"])

    def wait(model: str, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any]) -> Judgement:
        return asyncio.run_coroutine_threadsafe(ask(model, messages, parameters), loop).result()

    return wait
