"""Bodies with half a character in them are refused, before anything here tries to read, keep or send it.

JSON may hold ``"\\ud83d"`` alone: half of a character outside Unicode's first plane, which is in no UTF-8. What is passed on to
another endpoint passes it on as it came.
"""

from __future__ import annotations

import json
import re

from fastapi import Request

from groundtune.serving.errors import bad_request

#: bytes without which no body can hold one: an escape, the half itself, or the zeros of UTF-16
_SUSPECT = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]|\x00")


async def whole_text(request: Request) -> None:
    """See that a JSON body is text.

    Raises:
        ApiError: it holds half a character.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        return
    body = await request.body()
    if not _SUSPECT.search(body):
        return
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        message = f"The body of your request is no valid Unicode: it holds half a character, {half} alone."
        raise bad_request(message, code="invalid_unicode") from None
    except (ValueError, RecursionError):
        return  # whoever reads it says so
