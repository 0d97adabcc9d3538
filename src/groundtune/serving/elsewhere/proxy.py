"""Models that answer elsewhere: a request goes on to an OpenAI-compatible endpoint, with that endpoint's key, and back.

Nothing of the client's headers goes along, its key least of all. HTTPS_PROXY and the certificates of SSL_CERT_FILE,
REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE hold. Redirects are not followed, so that no key goes astray.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from groundtune.endpoint import shown, tls_context
from groundtune.errors import ConfigError
from groundtune.serving.callers.access import Ticket
from groundtune.serving.callers.ticketed import TicketedStream
from groundtune.serving.catalog import Model
from groundtune.serving.elsewhere.relay import EventTooLargeError, Passage, events
from groundtune.serving.errors import ApiError
from groundtune.serving.generating.unless_gone import unless_gone
from groundtune.serving.storage.store import Body

#: seconds to connect, and between two parts of an answer
CONNECT_SECONDS, SILENT_SECONDS = 10.0, 600.0
#: bytes of an answer in one piece, and of an error
LARGEST_ANSWER, LARGEST_ERROR = 32 << 20, 1 << 16
#: what the endpoint says about trying again
_KEPT = ("retry-after", "retry-after-ms", "x-should-retry")
#: routes whose streams tell their usage if they are asked to
_TELL_USAGE = ("/chat/completions", "/completions")


async def forward(request: Request, model: Model, body: Body, ticket: Ticket) -> Response:
    """Ask the endpoint of an alias, on the same path below ``/v1``; its answer, under the alias's name.

    Args:
        model: of kind "remote".
        body: as the client sent it.
        ticket: taken over: it is closed when the answer has ended, whichever way. Tokens are estimated as they pass, so that
            a budget stops a stream, and replaced by the endpoint's own figures at the end.

    Raises:
        ApiError: what the endpoint refuses, with its status; no key for it here (500), no connection (502), no JSON (502), a
            redirect (502), a key that it does not take (502: the client's own is in order), no answer in time (504).
    """
    try:
        return await _forward(request, model, body, ticket)
    except (ClientDisconnect, asyncio.CancelledError):  # the endpoint was at work by then
        await ticket.aclose()
        raise
    except Exception:
        ticket.void()
        await ticket.aclose()
        raise


async def _forward(request: Request, model: Model, body: Body, ticket: Ticket) -> Response:
    if model.alias is None or not model.alias.base_url:
        raise AssertionError(f"{model.name} answers here")
    base = model.alias.base_url.rstrip("/")
    path = request.scope["path"].removeprefix("/v1")
    payload, wants_usage = {**body, "model": model.target}, False
    if body.get("stream") and path in _TELL_USAGE:
        options = body.get("stream_options") or {}
        wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        payload["stream_options"] = {**options, "include_usage": True} if isinstance(options, dict) else options
    key = _key(model)
    headers = {"content-type": "application/json", "user-agent": "groundtune"}
    headers["accept"] = "text/event-stream" if body.get("stream") else "application/json"
    if key:
        headers["authorization"] = f"Bearer {key}"
    client = _client(request.app)
    passage = Passage(model.name, ticket, wants_usage=wants_usage)
    try:
        sent = client.build_request("POST", base + path, content=json.dumps(payload).encode(), headers=headers)
        answer = await unless_gone(request, client.send(sent, stream=True))
        try:
            if answer.status_code == 200 and answer.headers.get("content-type", "").startswith("text/event-stream"):
                stream = _relayed(answer, passage, shown(base))
                more = {"cache-control": "no-cache", "x-accel-buffering": "no"}
                return TicketedStream(
                    stream, ticket, finish=answer.aclose, media_type="text/event-stream", headers=more
                )
            largest = LARGEST_ANSWER if answer.is_success else LARGEST_ERROR
            content = await unless_gone(request, _read(answer, largest))
        except BaseException:
            await answer.aclose()
            raise
        await answer.aclose()
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise _misconfigured(f"The address of alias {model.name!r} is not valid: {shown(base)}") from None
    except httpx.HTTPError as error:
        raise _no_answer(error, shown(base)) from None
    found = _checked(answer, content, model, key)
    result = JSONResponse(passage.whole(found))
    await ticket.aclose()
    return result


async def close_client(app: FastAPI) -> None:
    """Let go of the connections to other endpoints."""
    client: httpx.AsyncClient | None = getattr(app.state, "upstream", None)
    if client is not None:
        await client.aclose()


def _client(app: FastAPI) -> httpx.AsyncClient:
    """The application's connections; proxies are the environment's."""
    found: httpx.AsyncClient | None = getattr(app.state, "upstream", None)
    if found is None:
        times = httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        try:
            tls = tls_context()
        except ConfigError as error:
            raise _misconfigured(error.problem) from None
        found = httpx.AsyncClient(verify=tls, timeout=times, limits=limits, follow_redirects=False)
        app.state.upstream = found
    return found


def _key(model: Model) -> str:
    name = model.alias.api_key_env if model.alias else None
    if not name:
        return ""
    key = os.environ.get(name, "").strip()
    if not key:
        raise _misconfigured(
            f"The server has no key for model `{model.name}`: set the environment variable {name} and start it again."
        )
    return key


def _misconfigured(message: str) -> ApiError:
    """What only whoever runs the server can mend."""
    return ApiError(500, message, type="server_error", headers={"x-should-retry": "false"})


async def _read(answer: httpx.Response, largest: int) -> bytes:
    parts, size = [], 0
    async for part in answer.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > largest:
            break
    return b"".join(parts)


async def _relayed(answer: httpx.Response, passage: Passage, where: str) -> AsyncIterator[bytes]:
    """A stream's events; what goes wrong in the middle of it comes as an event, too, as OpenAI's clients expect."""
    try:
        async for lines in events(answer.aiter_bytes()):
            if sent := passage.event(lines):
                yield sent
        passage.settle()
    except ApiError as error:
        yield _error_event(error)
    except httpx.HTTPError as error:
        yield _error_event(_no_answer(error, where))
    except EventTooLargeError:
        yield _error_event(ApiError(502, f"{where}: sends an event without end.", type="server_error"))


def _error_event(error: ApiError) -> bytes:
    return b"data: " + json.dumps(error.body).encode() + b"\n\n"


def _no_answer(error: httpx.HTTPError, where: str) -> ApiError:
    if isinstance(error, httpx.TimeoutException):
        return ApiError(504, f"{where}: no answer in time.", type="server_error", code="upstream_timeout")
    message = f"{where}: the endpoint cannot be reached, or broke off: {type(error).__name__}."
    return ApiError(502, message, type="server_error", code="upstream_unreachable")


def _checked(answer: httpx.Response, content: bytes, model: Model, key: str) -> Body:
    """The JSON object of a good answer.

    Raises:
        ApiError: it is none, or the endpoint refuses.
    """
    where = shown(model.alias.base_url) if model.alias and model.alias.base_url else ""
    status = answer.status_code
    kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
    try:
        found: Any = json.loads(content)
    except ValueError:
        found = None
    if answer.is_success:
        if not isinstance(found, dict) or len(content) > LARGEST_ANSWER:
            raise ApiError(
                502, f"{where}: the answer is not OpenAI's JSON.", type="server_error", code="upstream_invalid"
            )
        return found
    if answer.is_redirect or status < 400:
        message = f"{where}: answers {status} and sends on to another address, which is not followed."
        raise ApiError(502, message, type="server_error", code="upstream_redirect", headers={"x-should-retry": "false"})
    if status == 401:
        name = model.alias.api_key_env if model.alias else None
        message = (
            f"{where}: does not take the server's key ({f'environment variable {name}' if name else 'it has none'})."
        )
        raise ApiError(502, message, type="server_error", code="upstream_auth", headers={"x-should-retry": "false"})
    error = found.get("error", found) if isinstance(found, dict) else found
    error = error if isinstance(error, dict) else {"message": str(error or "") or f"{where}: answers {status}."}
    texts = {name: str(error[name]) for name in ("message", "type", "param", "code") if error.get(name) is not None}
    if key:
        texts = {name: text.replace(key, "***") for name, text in texts.items()}
    raise ApiError(
        status, texts.get("message", f"{where}: answers {status}.")[:2000],
        type=texts.get("type", "server_error" if status >= 500 else "invalid_request_error"),
        param=texts.get("param"), code=texts.get("code"), headers=kept,
    )  # fmt: skip
