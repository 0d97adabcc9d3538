"""Server-sent events as OpenAI's clients read them: ``data: {...}``, and ``data: [DONE]`` at the end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse

from groundtune.errors import GroundtuneError
from groundtune.serving.errors import ApiError, from_ours

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def event(body: dict[str, Any], name: str = "") -> bytes:
    """One event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def streamed(events: AsyncIterator[bytes], *, done: bool = True) -> StreamingResponse:
    """An answer of events; what goes wrong on the way becomes an event, since the status is already sent.

    Args:
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
        if done:
            yield b"data: [DONE]\n\n"

    return StreamingResponse(all_of_them(), media_type="text/event-stream", headers=_HEADERS)
