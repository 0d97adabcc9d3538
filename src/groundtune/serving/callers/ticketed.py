"""Answers in parts that give their ticket back when they end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from groundtune.serving.callers.access import Ticket


class TicketedStream(StreamingResponse):
    """An answer in parts that closes its ticket when it ends: whole, broken off, or never begun.

    Args:
        content: what is sent, sync or async.
        ticket: taken over.
        finish: awaited before the ticket is closed, such as what closes a connection.
    """

    def __init__(
        self, content: Any, ticket: Ticket, *, finish: Callable[[], Awaitable[None]] | None = None, **more: Any
    ) -> None:
        super().__init__(content, **more)
        self._ticket, self._finish = ticket, finish

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    if self._finish is not None:
                        await self._finish()
                finally:
                    await self._ticket.aclose()
