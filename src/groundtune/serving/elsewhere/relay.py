"""Another endpoint's answer as it passes through: events cut apart, our name put in for theirs, tokens counted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, TypeGuard

from groundtune.serving.callers.access import Ticket
from groundtune.serving.storage.store import Body

#: bytes of one event that are taken
LARGEST_EVENT = 16 << 20


class EventTooLargeError(Exception):
    """An event that does not end."""


async def events(parts: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Server-sent events, each as its lines (HTML standard, 9.2.6: ended by an empty line; by LF or CR LF here).

    Raises:
        EventTooLargeError: one over :data:`LARGEST_EVENT`.
    """
    rest, lines, size = b"", list[bytes](), 0
    async for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            line = line.removesuffix(b"\r")
            if line:
                lines.append(line)
                size += len(line)
            elif lines:
                yield lines
                lines, size = [], 0
        if size + len(rest) > LARGEST_EVENT:
            raise EventTooLargeError
    if rest.strip():
        lines.append(rest.removesuffix(b"\r"))
    if lines:
        yield lines


class Passage:
    """What is done to an answer on its way.

    Args:
        name: of the model, as the client knows it.
        ticket: counts.
        wants_usage: whether the client asked a stream for its usage.
    """

    def __init__(self, name: str, ticket: Ticket, *, wants_usage: bool) -> None:
        self.name, self.ticket, self.wants_usage = name, ticket, wants_usage
        self._usage: tuple[int, int] | None = None

    def event(self, lines: list[bytes]) -> bytes:
        """An event as it is sent on; empty for none.

        Raises:
            ApiError: its tokens do not fit the budget: it is not to be sent.
        """
        data = b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
        try:
            found: Any = json.loads(data) if data.strip() != b"[DONE]" else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            return b"\n".join(lines) + b"\n\n"
        text = _delta(found)
        if text:
            self.ticket.wrote(estimate(text))
        self._note(found)
        if "usage" in found and not self.wants_usage and found.get("object") != "response":
            if found.get("choices") == [] and found["usage"]:
                return b""
            del found["usage"]
        self._rename(found)
        others = [line for line in lines if not line.startswith(b"data:")]
        return b"\n".join([*others, b"data: " + json.dumps(found, separators=(",", ":")).encode()]) + b"\n\n"

    def whole(self, found: Body) -> Body:
        """An answer in one piece; counts its usage."""
        self._note(found)
        if self._usage is None:
            self.ticket.settle(self.ticket.prompt_tokens, estimate(_content(found)) if _content(found) else 0)
        self._rename(found)
        self.settle()
        return found

    def settle(self) -> None:
        """Charge what the endpoint says that it used, where it does."""
        if self._usage is not None:
            self.ticket.settle(*self._usage)

    def _rename(self, found: Body) -> None:
        for place in (found, found.get("response")):
            if isinstance(place, dict) and "model" in place:
                place["model"] = self.name

    def _note(self, found: Body) -> None:
        for place in (found, found.get("response")):
            usage = place.get("usage") if isinstance(place, dict) else None
            if isinstance(usage, dict):
                prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
                completion = usage.get("completion_tokens", usage.get("output_tokens", 0))
                if _is_count(prompt) and _is_count(completion):
                    self._usage = prompt, completion


def estimate(text: str) -> int:
    """Tokens of a text whose tokenizer is elsewhere: one for every four bytes, at least one."""
    return max(1, len(text.encode("utf-8", "surrogatepass")) // 4)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _delta(found: Body) -> str:
    """The text that an event of a stream adds, tool calls and reasoning included."""
    if isinstance(found.get("type"), str) and found["type"].endswith(".delta"):
        return found["delta"] if isinstance(found.get("delta"), str) else ""
    texts: list[str] = []
    for choice in found.get("choices") or []:
        if isinstance(choice, dict):
            _strings(choice.get("delta"), texts)
            _strings(choice.get("text"), texts)
    return "".join(texts)


def _content(found: Body) -> str:
    """The text of an answer in one piece."""
    texts: list[str] = []
    for choice in found.get("choices") or []:
        if isinstance(choice, dict):
            _strings(choice.get("message"), texts)
            _strings(choice.get("text"), texts)
    _strings(found.get("output"), texts)
    return "".join(texts)


def _strings(value: Any, into: list[str]) -> None:
    """Every string in a value that is text of the answer: not what says of what kind or whose it is."""
    if isinstance(value, str):
        into.append(value)
    elif isinstance(value, list):
        for item in value:
            _strings(item, into)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in ("role", "type", "id", "index", "status", "object"):
                _strings(item, into)
