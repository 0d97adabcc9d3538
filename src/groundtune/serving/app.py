"""The HTTP server: routes of each kind of object, errors in OpenAI's form, a request id on every answer.

What is served is in the modules named by :data:`ROUTES` and :data:`BESIDE`; who may call is the ``gate``'s business, what is
counted and logged ``request_log``'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from groundtune import __version__
from groundtune.errors import GroundtuneError
from groundtune.serving.batches import coming_batch_files
from groundtune.serving.callers.access import Access
from groundtune.serving.callers.gate import Gate
from groundtune.serving.described import describe
from groundtune.serving.elsewhere.proxy import close_client
from groundtune.serving.errors import ApiError, bad_request, from_ours, is_full
from groundtune.serving.generating.answers import Generators
from groundtune.serving.ids import new_id
from groundtune.serving.metrics import Metrics
from groundtune.serving.request_log import Observed, where
from groundtune.serving.state import Serving
from groundtune.serving.tuning.job_keeper import JobKeeper
from groundtune.serving.tuning.jobs import Jobs, coming_files
from groundtune.serving.uploads import expire_uploads

log = logging.getLogger("groundtune.serving")
#: modules of this package with a ``router``, below ``/v1``
ROUTES = (
    "files_api", "uploads", "models_api", "chats.chat_api", "chats.completions_api", "chats.responses_api", "vectors.embeddings_api", "moderating.moderations_api",
    "vectors.vector_stores_api", "tuning.jobs_api", "tuning.permissions_api", "grading.graders_api", "batches_api",
)  # fmt: skip
#: the same, below ``/``
BESIDE = ("metrics", "callers.usage_page", "sources_page")


def create_app(serving: Serving) -> FastAPI:
    """The application over an opened server's state."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        made = app.state.generators = Generators(serving, asyncio.get_running_loop())
        app.state.metrics.waiting.set_function(lambda: made.engines.load[2])
        app.state.metrics.loaded_models.set_function(lambda: made.engines.load[0])
        keeper = JobKeeper(app.state.jobs)  # jobs go on without the server, too
        keeper.start()
        yield
        await run_in_threadpool(keeper.stop)
        made.close()
        await close_client(app)

    app = FastAPI(title="groundtune", version=__version__, redirect_slashes=False, lifespan=life)
    app.state.serving = serving
    app.state.access = Access(serving)
    app.state.metrics = Metrics(serving.store, app.state.access)
    app.state.jobs = Jobs(serving)
    serving.files.tidy([*coming_files(serving), *coming_batch_files(serving)])
    expire_uploads(serving)
    for name in ROUTES:
        app.include_router(import_module(f"groundtune.serving.{name}").router, prefix="/v1")
    for name in BESIDE:
        app.include_router(import_module(f"groundtune.serving.{name}").router)
    describe(app)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(GroundtuneError, _our_error)
    app.add_exception_handler(SQLAlchemyError, _database_error)
    app.add_exception_handler(OSError, _disk_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(_Limited, serving=serving)
    app.add_middleware(Gate, serving=serving)
    app.add_middleware(Observed, metrics=app.state.metrics, prompts=serving.config.log_prompts)
    app.add_middleware(_Named)
    return app


#: parts of OpenAI's API that are not here, and what to use instead
_NOT_OFFERED = {
    **dict.fromkeys(("assistants", "threads"), "OpenAI ended it in 2026; use /v1/responses with file_search"),
    **dict.fromkeys(("images", "audio", "videos", "realtime"), "only text is read and written here"),
    "evals": "OpenAI ended it in 2026; groundtune compare measures Systems on held-out questions",
    "conversations": "use previous_response_id of /v1/responses",
}

# ---------------------------------------------------------------- errors


def _sent(error: ApiError) -> JSONResponse:
    return JSONResponse(error.body, error.status, error.headers)


async def _api_error(request: Request, error: Any) -> JSONResponse:
    return _sent(error)


async def _our_error(request: Request, error: Any) -> JSONResponse:
    return _sent(from_ours(error))


async def _database_error(request: Request, error: Any) -> JSONResponse:
    """A database that is locked, full or gone: nothing of the request was kept, and it can be sent again."""
    log.error("fault of the database: %s", where(error))
    return _sent(ApiError(503, "The server's database does not answer.", type="server_error"))


async def _disk_error(request: Request, error: Any) -> JSONResponse:
    if not is_full(error):
        raise error
    log.error("fault of the disk: %s", where(error))
    return _sent(ApiError(507, f"The server's disk does not take this: {error.strerror}.", type="server_error"))


async def _invalid(request: Request, error: Any) -> JSONResponse:
    """The first fault of a request, named by its field."""
    fault = error.errors()[0]
    place = [str(part) for part in fault["loc"] if part not in ("body", "query", "path", "form")]
    param = ".".join(place) or None
    if fault["type"] == "extra_forbidden":
        return _sent(
            bad_request(f"Unrecognized request argument supplied: {param}", param=param, code="unknown_parameter")
        )
    if fault["type"] == "missing":
        message = f"Missing required parameter: '{param}'."
        return _sent(bad_request(message, param=param, code="missing_required_parameter"))
    if fault["type"].startswith("json_"):
        return _sent(bad_request("We could not parse the JSON body of your request: it is no valid JSON."))
    return _sent(bad_request(f"Invalid '{param}': {fault['msg']}.", param=param, code="invalid_value"))


async def _http_error(request: Request, error: Any) -> JSONResponse:
    first = request.url.path.removeprefix("/v1/").partition("/")[0]
    what = {
        404: f"The {first} API is not offered: {_NOT_OFFERED[first]}."
        if first in _NOT_OFFERED
        else f"Unknown request URL: {request.method} {request.url.path}.",
        405: f"Not allowed to {request.method} on {request.url.path}.",
    }
    code = {404: "unknown_url", 405: "method_not_supported"}.get(error.status_code)
    message = what.get(error.status_code, str(error.detail))
    return _sent(ApiError(error.status_code, message, code=code, headers=dict(error.headers or {})))


# ---------------------------------------------------------------- around every request


class _Named:
    """Puts ``x-request-id`` on every answer: openai-python shows it with errors."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_id("request")
        name = request_id.encode()
        if scope["type"] == "http":
            scope.setdefault("state", {})["request_id"] = request_id

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-request-id", name)]}
            await send(message)

        await self.app(scope, receive, named if scope["type"] == "http" else send)


class _Limited:
    """Refuses bodies over the limit, by their declared length or while they come."""

    def __init__(self, app: ASGIApp, serving: Serving) -> None:
        self.app = app
        self.body_bytes, self.upload_bytes = (
            serving.config.body_megabytes << 20,
            serving.config.upload_megabytes << 20,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        upload = headers.get(b"content-type", b"").startswith(b"multipart/form-data")
        limit = self.upload_bytes if upload else self.body_bytes
        error = ApiError(413, f"The request is too large: at most {limit} bytes are taken.", code="request_too_large")
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit:
            await _sent(error)(scope, receive, send)
            return
        taken, over = 0, False

        async def counted() -> Message:
            nonlocal taken, over
            message = await receive()
            taken += len(message.get("body", b""))
            over = over or taken > limit
            return {"type": "http.disconnect"} if over else message

        async def unless_over(message: Message) -> None:
            if not over:
                await send(message)

        try:
            await self.app(scope, counted, unless_over)
        except ClientDisconnect:
            if not over:
                raise
        if over:
            await _sent(error)(scope, receive, send)
