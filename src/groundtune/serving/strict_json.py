"""JSON bodies as RFC 8259 has them, read before FastAPI looks at them: what Python's reader lets through besides is refused.

That is ``NaN`` and ``Infinity``, numbers beyond the range of a double, halves of surrogate pairs (no text that can be sent on),
and nesting without end. Of a name that stands twice in an object the last holds, as everywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute

from groundtune.serving.errors import ApiError, bad_request

#: arrays and objects in each other; JSON Schemas of tools are the deepest that clients send
DEEPEST = 100
_MOST_DIGITS = 400


def parse(body: bytes | str) -> Any:
    """What a body says.

    Raises:
        ApiError: it is no JSON; the message names what is wrong.
    """
    try:
        text = body.decode("utf-8-sig") if isinstance(body, bytes) else body  # json.loads would take UTF-16, too
        found: Any = json.loads(text, parse_constant=_no_number, parse_float=_number, parse_int=_whole)
    except UnicodeDecodeError:
        raise _refused("it is not UTF-8") from None
    except RecursionError:
        raise _refused(f"it is nested deeper than {DEEPEST} levels") from None
    except ValueError as error:
        raise _refused(str(error)) from None
    _check(found)
    return found


def _refused(why: str) -> ApiError:
    return bad_request(f"We could not parse the JSON body of your request: {why[:200]}.", code="invalid_json")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _number(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"the number {text[:40]} is too large")
    return found


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    found = int(text)
    if len(text) > 300:
        _number(text)
    return found


def _check(found: Any) -> None:
    """See that texts are Unicode, and that nothing is nested too deep."""
    level: list[Any] = [found]
    depth = 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise _refused(f"it is nested deeper than {DEEPEST} levels")
        below: list[Any] = []
        for one in level:
            if isinstance(one, str):
                _check_text(one)
            elif isinstance(one, dict):
                below += [*one, *one.values()]
            elif isinstance(one, list) and not (one and type(one[0]) is int and all(type(i) is int for i in one)):
                below += one
        level = below


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refused("a text holds half of a surrogate pair") from None


class StrictRequest(Request):
    """A request whose JSON is read by :func:`parse`, once."""

    async def json(self) -> Any:
        """What the body says. Raises an ApiError where it is no JSON."""
        if not hasattr(self, "_strict"):
            self._strict: Any = parse(await self.body())
        return self._strict


class Strict(APIRoute):
    """A route whose JSON bodies are read by :func:`parse`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, behind a look at the body."""
        own = super().get_route_handler()

        async def handler(request: Request) -> Response:
            strict = request if isinstance(request, StrictRequest) else StrictRequest(request.scope, request.receive)
            if self.body_field is not None and has_json(request) and await strict.body():
                await strict.json()
            return await own(strict)

        return handler


def has_json(request: Request) -> bool:
    """Whether a request says that its body is JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
