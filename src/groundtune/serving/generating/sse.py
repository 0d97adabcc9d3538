"""Server-sent events as OpenAI's clients read them: ``data: {...}``, and ``data: [DONE]`` at the end."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from anyio import CancelScope
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from groundtune.errors import GroundtuneError
from groundtune.serving.errors import ApiError, from_ours
from groundtune.serving.request_log import where

log = logging.getLogger("groundtune.serving")
#: characters that some clients (httpx's lines among them) take for the end of a line
_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def event(body: dict[str, Any], name: str = "") -> bytes:
    """One event."""
    head = f"event: {name}\n" if name else ""
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).translate(_LINE_ENDS)
    return f"{head}data: {data}\n\n".encode()


class _Events(StreamingResponse):
    """Closes what its answer holds when it ends: whole, broken off, or never begun."""

    def __init__(self, content: AsyncIterator[bytes], held: AsyncExitStack) -> None:
        super().__init__(content, media_type="text/event-stream", headers=_HEADERS)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with CancelScope(shield=True):
                await self._held.aclose()


def streamed(events: AsyncIterator[bytes], held: AsyncExitStack, *, done: bool = True) -> StreamingResponse:
    """An answer of events; what goes wrong on the way becomes an event, since the status is already sent.

    Args:
        held: closed at the end.
        done: end with ``[DONE]``.
    """

    async def all_of_them() -> AsyncIterator[bytes]:
        try:
            async for one in events:
                yield one
        except ApiError as error:
            yield event(error.body)
        except GroundtuneError as error:
            yield event(from_ours(error).body)
        except Exception as error:
            log.error("fault in a stream: %s", where(error))
            fault = ApiError(500, "The server had an error while processing your request.", type="server_error")
            yield event(fault.body)
        if done:
            yield b"data: [DONE]\n\n"

    return _Events(all_of_them(), held)
