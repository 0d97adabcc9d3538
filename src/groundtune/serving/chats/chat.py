"""Chat completions as they are sent: whole, as chunks, with tool calls, log-probabilities, sources and usage."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from groundtune.generation.writing import Token
from groundtune.records import Completion, Source, Statement
from groundtune.serving.chats.chat_request import CALL, CALL_END, CreateChat, Function
from groundtune.serving.generating.answers import Answers, Choice
from groundtune.serving.ids import new_id

# ---------------------------------------------------------------- tool calls

#: a call that was cut off behind its name
_BEGUN = re.compile(r'\s*\{\s*"name":\s*"([^"]+)",\s*"arguments":\s*(.*)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Called:
    """A call that the model wrote."""

    id: str
    name: str
    arguments: str

    @property
    def body(self) -> dict[str, Any]:
        """As it is sent."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(slots=True)
class CallReader:
    """Divides what a model writes into text and calls, as it is written.

    Args:
        names: functions that may be called; a call of another is text.
        forced: the text begins inside of a call.
        most: calls after which no other is read.
    """

    names: frozenset[str]
    forced: bool = False
    most: int = 128
    calls: list[Called] = field(default_factory=list)
    _held: str = ""

    def __post_init__(self) -> None:
        if self.forced:
            self._held = CALL

    def add(self, text: str) -> tuple[str, list[Called]]:
        """Take text; what is text for sure, and the calls that are complete."""
        self._held += text
        said, new = "", []
        while True:
            begin = self._held.find(CALL)
            if begin < 0:
                keep = _overlap(self._held, CALL)
                said += self._held[: len(self._held) - keep]
                self._held = self._held[len(self._held) - keep :]
                break
            end = self._held.find(CALL_END, begin)
            if end < 0:
                said, self._held = said + self._held[:begin], self._held[begin:]
                break
            call = self._call(self._held[begin + len(CALL) : end])
            whole = end + len(CALL_END)
            if call is None:
                said += self._held[:whole]
            else:
                said += self._held[:begin]
                if len(self.calls) < self.most:
                    self.calls.append(call)
                    new.append(call)
            self._held = self._held[whole:]
        if self.calls or new:
            said = said.strip()  # line breaks between calls
        return said, new

    def end(self) -> tuple[str, list[Called]]:
        """What was held back: a call without its end mark is one all the same; cut off, its arguments are as far as they
        were written (as OpenAI sends them)."""
        held, self._held = self._held, ""
        if held.startswith(CALL):
            call = self._call(held.removeprefix(CALL)) or self._cut(held.removeprefix(CALL))
            if call is not None and len(self.calls) < self.most:
                self.calls.append(call)
                return "", [call]
            if self.forced and not self.calls:
                held = held.removeprefix(CALL)
        return held, []

    def _call(self, text: str) -> Called | None:
        try:
            found: Any = json.loads(text)
        except ValueError:
            return None
        if not isinstance(found, dict) or found.get("name") not in self.names:
            return None
        arguments = found.get("arguments", found.get("parameters", {}))
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        return Called(new_id("call"), str(found["name"]), written)

    def _cut(self, text: str) -> Called | None:
        found = _BEGUN.match(text)
        return Called(new_id("call"), found[1], found[2]) if found and found[1] in self.names else None


def _overlap(text: str, mark: str) -> int:
    """Length of the end of a text that a mark begins with."""
    return next((n for n in range(min(len(mark) - 1, len(text)), 0, -1) if mark.startswith(text[-n:])), 0)


# ---------------------------------------------------------------- parts of an answer


def logprobs_of(tokens: Iterable[Token]) -> dict[str, Any]:
    """Log-probabilities of tokens as chat completions have them."""
    return {"content": [_token(t.bytes, t.logprob) | {"top_logprobs": [_token(b, v) for b, v in t.alternatives]} for t in tokens], "refusal": None}  # fmt: skip


def _token(raw: bytes, logprob: float) -> dict[str, Any]:
    return {"token": raw.decode("utf-8", "replace"), "logprob": max(logprob, -9999.0), "bytes": list(raw)}


def usage_of(answers: Answers) -> dict[str, Any]:
    """Tokens read and written."""
    read, written = answers.prompt_tokens, answers.completion_tokens
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": answers.cached(), "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    }  # fmt: skip


def annotations_of(completion: Completion, text: str, base_url: str) -> list[dict[str, Any]]:
    """A System's sources as URL citations, with the document, the page and the words beside OpenAI's fields.

    Each spans the first sentence that rests on it; the whole text where the System does not tell.
    """
    out = []
    for source in completion.sources:
        begin, end = span_of(source, completion.statements, text)
        url = f"{base_url}sources/{source.chunk_id}?quote={quote(source.quote)}"
        cited = {"start_index": begin, "end_index": end, "title": source.document, "url": url}
        out.append({"type": "url_citation", "url_citation": cited, **source.to_json()})
    return out


def span_of(source: Source, statements: Sequence[Statement], text: str) -> tuple[int, int]:
    """Where the first sentence that rests on a source begins and ends in a text."""
    resting = next((s.text for s in statements if source in s.sources and s.text in text), text)
    begin = text.find(resting)
    return begin, begin + len(resting)


@dataclass(slots=True)
class Chat:
    """One request's answer, built choice by choice.

    Args:
        wanted: the request.
        functions: that may be called.
        forced: the answer begins inside of a call.
        model: the name to send back.
        fingerprint: of what writes.
        base_url: of this server, for sources.
    """

    wanted: CreateChat
    functions: list[Function]
    forced: bool
    model: str
    fingerprint: str
    base_url: str
    created: int
    id: str = field(default_factory=lambda: new_id("chat"))

    def reader(self) -> CallReader | None:
        """What finds calls in a choice's text; None where there can be none."""
        if not self.functions:
            return None
        most = 1 if self.wanted.parallel_tool_calls is False or self.wanted.functions else 128
        return CallReader(frozenset(f.name for f in self.functions), self.forced, most)

    def finish(self, choice: Choice, calls: Sequence[Called]) -> str:
        """Why a choice ended, in OpenAI's words."""
        if calls and choice.finish != "length":
            return "function_call" if self.wanted.functions else "tool_calls"
        return choice.finish or "stop"

    # ------------------------------------------------------------ whole

    def whole(self, answers: Answers) -> dict[str, Any]:
        """The completion's object."""
        body = {
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [self._choice(n, choice) for n, choice in enumerate(answers.choices)],
            "usage": usage_of(answers), "service_tier": "default", "system_fingerprint": self.fingerprint,
        }  # fmt: skip
        if self.wanted.store:
            body["metadata"] = self.wanted.metadata or {}
        return body

    def _choice(self, number: int, choice: Choice) -> dict[str, Any]:
        text, calls = choice.text, list[Called]()
        reader = self.reader()
        if reader:
            said, _ = reader.add(choice.text)
            rest, _ = reader.end()
            text, calls = said + rest, reader.calls
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if calls and not text else text,
            "refusal": None,
        }
        if calls and self.wanted.functions:
            message["function_call"] = calls[0].body["function"]
        elif calls:
            message["tool_calls"] = [call.body for call in calls]
        completion = choice.completion
        message["annotations"] = annotations_of(completion, text, self.base_url) if completion else []
        shown = logprobs_of(choice.tokens) if self.wanted.logprobs else None
        return {"index": number, "message": message, "logprobs": shown, "finish_reason": self.finish(choice, calls)}

    # ------------------------------------------------------------ chunks

    def chunk(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """A chunk's object."""
        with_usage = self.wanted.stream_options and self.wanted.stream_options.include_usage
        return {
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "service_tier": "default", "system_fingerprint": self.fingerprint, "choices": choices,
            **({"usage": None} if with_usage else {}), **more,
        }  # fmt: skip

    def delta(
        self, number: int, delta: dict[str, Any], tokens: Sequence[Token] = (), finish: str | None = None
    ) -> dict[str, Any]:
        """One choice of a chunk."""
        shown = logprobs_of(tokens) if self.wanted.logprobs and tokens else None
        return {"index": number, "delta": delta, "logprobs": shown, "finish_reason": finish}

    def call_deltas(self, reader: CallReader, new: Sequence[Called]) -> list[dict[str, Any]]:
        """Deltas of calls: the name first, then the arguments."""
        if self.wanted.functions:
            return [part for call in new for part in ({"function_call": {"name": call.name, "arguments": ""}}, {"function_call": {"arguments": call.arguments}})]  # fmt: skip
        first = len(reader.calls) - len(new)
        return [
            part
            for n, call in enumerate(new, first)
            for part in (
                {"tool_calls": [{"index": n, **call.body, "function": {"name": call.name, "arguments": ""}}]},
                {"tool_calls": [{"index": n, "function": {"arguments": call.arguments}}]},
            )
        ]
