"""OpenAI's error body, and how our own errors become one.

``{"error": {"message", "type", "param", "code"}}``, all four always there (the public description's ``ErrorResponse``).
openai-python retries 408, 409, 429 and everything from 500 on by itself unless ``x-should-retry`` says otherwise.
"""

from __future__ import annotations

import errno
from typing import Any

from groundtune.errors import GroundtuneError

INVALID = "invalid_request_error"


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: of HTTP.
        message: what is wrong, to people.
        type: OpenAI's class of errors.
        param: the request's field it is about.
        code: what programs tell errors apart by.
        headers: to send along.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        message = message.encode(
            "utf-8", "backslashreplace"
        ).decode()  # a name that is quoted may hold half a character
        super().__init__(message)
        self.status, self.message, self.type, self.param, self.code = status, message, type, param, code
        self.headers = headers or {}

    @property
    def body(self) -> dict[str, Any]:
        """As it is sent."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def bad_request(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    """400: a request that can never work."""
    return ApiError(400, message, param=param, code=code)


def no_such(what: str, id: str, *, param: str = "id") -> ApiError:
    """404: no object of that id."""
    return ApiError(404, f"No such {what} object: {id}", param=param)


def no_such_model(name: str) -> ApiError:
    """404: no model of that name."""
    message = f"The model `{name}` does not exist or you do not have access to it."
    return ApiError(404, message, param="model", code="model_not_found")


def is_full(error: BaseException) -> bool:
    """Whether a disk had no room, or may not be written to."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def from_ours(error: GroundtuneError) -> ApiError:
    """400 with what was wrong, what was expected and what to do next in one line."""
    more = [
        f"Expected: {error.expected}." if error.expected else "",
        f"Next: {error.next_step}" if error.next_step else "",
    ]
    return bad_request(" ".join([error.problem, *(part for part in more if part)]))
