"""Many streaming chat clients at once on a server that speaks the OpenAI API, and what they saw."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass(slots=True)
class Seen:
    """What one request saw.

    Attributes:
        text: the answer.
        first_seconds: until its first words.
        seconds: until its end.
        error: what went wrong; "" nothing.
    """

    text: str = ""
    first_seconds: float = 0.0
    seconds: float = 0.0
    error: str = ""


@dataclass(slots=True)
class Load:
    """What a number of requests saw together.

    Attributes:
        seen: of each request, in their order.
        seconds: from the first request to the last answer's end.
    """

    seen: list[Seen] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def errors(self) -> list[str]:
        """What went wrong."""
        return [one.error for one in self.seen if one.error]


async def _stream(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> Seen:
    seen, began = Seen(), time.perf_counter()
    try:
        async with client.stream("POST", f"{url}/chat/completions", json=body) as answer:
            if answer.status_code != 200:
                seen.error = f"{answer.status_code}: {(await answer.aread())[:200]!r}"
                return seen
            async for line in answer.aiter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    seen.error = str(chunk["error"])
                    return seen
                text = "".join(c["delta"].get("content") or "" for c in chunk["choices"])
                if text and not seen.text:
                    seen.first_seconds = time.perf_counter() - began
                seen.text += text
    except httpx.HTTPError as error:
        seen.error = f"{type(error).__name__}: {error}"
    seen.seconds = time.perf_counter() - began
    return seen


async def _all(url: str, bodies: Sequence[dict[str, Any]], clients: int) -> Load:
    load, left = Load([Seen() for _ in bodies]), list(range(len(bodies)))[::-1]
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(limits=limits, timeout=600, trust_env=False) as client:

        async def one() -> None:
            while left:
                n = left.pop()
                load.seen[n] = await _stream(client, url, bodies[n])

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(clients)))
        load.seconds = time.perf_counter() - began
    return load


def put_load(url: str, bodies: Sequence[dict[str, Any]], clients: int) -> Load:
    """Send streaming chat requests, so many at a time, each client its next as soon as its last is answered.

    Args:
        url: of the API, with /v1.
        bodies: of the requests, without ``stream``.
    """
    return asyncio.run(_all(url, [{**body, "stream": True} for body in bodies], clients))
