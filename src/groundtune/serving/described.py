"""The server's OpenAPI description: what its routes answer, beside what FastAPI reads off their parameters.

``gives`` says at a route what a good answer is; ``describe`` adds the errors that any route can answer with.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from groundtune.serving.shapes.parts import Error

#: what any route may answer instead
_ALWAYS = {
    401: "No valid key.", 403: "The key may not do that, or a web page of another site asks.", 500: "A fault of the server.",
    503: "The database does not answer.",
}  # fmt: skip
#: what any route below /v1 may
_ERRORS = {
    **_ALWAYS, 400: "The request is not valid.", 404: "There is no such object, model or address.",
    413: "The request is too large.", 429: "A rate, a budget or the server's room is used up.", 507: "The disk is full.",
}  # fmt: skip
#: what those that generate may, since another endpoint can answer for a model
_ELSEWHERE = {
    **_ERRORS, 422: "The endpoint that answers for this model cannot work with the request.",
    502: "The endpoint that answers for this model failed.", 504: "The endpoint did not answer in time.",
}  # fmt: skip
#: one of the events that an answer is sent as where ``stream`` was asked for
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "data": {"type": "string", "description": "a chunk as JSON, or [DONE]", "contentMediaType": "application/json"},
    },
    "required": ["data"],
    "additionalProperties": False,
}
_GENERATE = {"chat", "completions", "responses", "embeddings", "moderations"}


def gives(shape: Any, *, streams: bool = False, also: int | None = None) -> dict[str, Any]:
    """A route's settings: answers of a shape, which are not checked on their way.

    Args:
        streams: whether it answers as server-sent events where it is asked to.
        also: another status that comes with this shape.
    """
    found: dict[str, Any] = {"model": shape, "description": "Success."}
    if streams:
        found["content"] = {"text/event-stream": {"schema": _EVENT}}
    others = {also: {"model": shape, "description": "No success."}} if also else {}
    return {"response_model": None, "responses": {200: found, **others}}


def form(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The description of a form with files, for a route that reads it by itself."""
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def filtered(name: str, description: str) -> dict[str, Any]:
    """The description of a query parameter with brackets: ``name[key]=value``."""
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    own = {"name": name, "in": "query", "required": False, "style": "deepObject", "explode": True}
    return {"parameters": [{**own, "schema": schema, "description": description}]}


def describe(app: FastAPI) -> None:
    """Let an application describe its errors, too."""
    plain = app.openapi

    def whole() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        found = plain()
        schemas = found["components"]["schemas"]
        error = Error.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= {**error.pop("$defs"), "Error": error}
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        body = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        for path, operations in found["paths"].items():
            for operation in operations.values():
                _add_errors(path, operation, body)
        return found

    app.openapi = whole  # type: ignore[method-assign]


def _add_errors(path: str, operation: dict[str, Any], body: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own, which this server never sends
    codes = _ELSEWHERE if _GENERATE & {*operation["tags"]} else _ERRORS if path.startswith("/v1") else _ALWAYS
    if "{" in path:
        codes = {**codes, 404: _ERRORS[404]}
    for code, description in codes.items():
        responses.setdefault(str(code), {"description": description, "content": body})
