"""One JSON line in the log for each request, the figures of ``/metrics``, and faults without what was in the request.

Lines go to the logger ``groundtune.serving.callers.access``. What a route puts into ``request.state.log`` comes in, if it is one of
:data:`FIELDS`, or one of :data:`PRIVATE` and ``serve.log_prompts`` is on. Queries, bodies and keys are never logged; a
fault is logged by its class and the lines of our code it came through, since its message may hold what a client sent.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from datetime import UTC, datetime
from typing import Any

from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from groundtune.serving.callers.access import ANONYMOUS, Caller, Ticket
from groundtune.serving.errors import ApiError
from groundtune.serving.metrics import Metrics

access_log = logging.getLogger("groundtune.serving.access")
log = logging.getLogger("groundtune.serving")
FIELDS = ("user", "safety_identifier", "stream", "finish_reason", "first_token_seconds", "waited_seconds", "job")
PRIVATE = ("prompt", "answer")
#: letters of a field that clients fill, unless prompts are logged
_LONGEST = 200
#: what nginx writes where the client went away before there was an answer
GONE = 499


class Observed:
    """Counts and logs each request once its answer has ended.

    Args:
        app: what is behind.
        metrics: where it is counted.
        prompts: log prompts and answers, too.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, *, prompts: bool = False) -> None:
        self.app, self.metrics, self.prompts = app, metrics, prompts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; an unforeseen fault becomes a 500 here."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            status = GONE
        except Exception as error:
            self._fault(scope, error)
            if not status:
                answer = ApiError(500, "The server had an error while processing your request.", type="server_error")
                await JSONResponse(answer.body, answer.status)(scope, receive, watched)
            status = 500
        finally:
            self._ended(scope, status or GONE, time.perf_counter() - started)

    def _fault(self, scope: Scope, error: Exception) -> None:
        log.error("fault in %s %s: %s", scope["method"], _route(scope), where(error, message=self.prompts))

    def _ended(self, scope: Scope, status: int, seconds: float) -> None:
        state: dict[str, Any] = scope.get("state", {})
        caller: Caller | None = state.get("caller")
        ticket: Ticket | None = state.get("ticket")
        self.metrics.answered(scope["method"], _route(scope), status, seconds)
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": state.get("request_id"),
            "key": caller.id if caller else None,
            "key_name": caller.name if caller and caller.id != ANONYMOUS else None,
            "method": scope["method"][:20], "route": _route(scope), "status": status, "seconds": round(seconds, 4),
        }  # fmt: skip
        if ticket is not None:
            self.metrics.used(ticket.model, ticket.prompt_tokens, ticket.completion_tokens)
            line |= {
                "model": ticket.model[:_LONGEST],
                "prompt_tokens": ticket.prompt_tokens,
                "completion_tokens": ticket.completion_tokens,
            }
        more = state.get("log") or {}
        line |= {name: _short(more[name]) for name in FIELDS if more.get(name) is not None}
        if self.prompts:
            line |= {name: more[name] for name in PRIVATE if more.get(name) is not None}
        access_log.info(json.dumps(line, ensure_ascii=False, default=str))


def where(error: BaseException, *, message: bool = False) -> str:
    """A fault's class and the places it came through, and those of what it followed from.

    Args:
        message: what it says, too, which may hold parts of the request.
    """
    parts: list[str] = []
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        at = todo.pop()
        if at is None or id(at) in seen:
            continue
        seen.add(id(at))
        frames = "".join(f"\n  {f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(at.__traceback__))
        parts.append(f"{type(at).__name__}{f': {at}' if message else ''}{frames}")
        todo.append(at.__cause__ or (None if at.__suppress_context__ else at.__context__))
        if isinstance(at, BaseExceptionGroup):
            todo += at.exceptions
    return "\nfollowed from: ".join(parts)


def _route(scope: Scope) -> str:
    """The template of the path, such as ``/v1/files/{file_id}``: paths themselves are without end."""
    found: str | None = getattr(scope.get("route"), "path", None)
    if found is None:
        return "(none)"
    inside = scope["path"].startswith("/v1/") and not found.startswith("/v1/")  # a router's own, without its prefix
    return f"/v1{found}" if inside else found


def _short(value: Any) -> Any:
    return (
        value[:_LONGEST]
        if isinstance(value, str)
        else value
        if isinstance(value, bool | int | float)
        else str(value)[:_LONGEST]
    )
