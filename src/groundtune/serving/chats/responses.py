"""A response as it is sent: its object, its output items, and the events of its stream."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from groundtune.dataset.prompts import abstains
from groundtune.generation.writing import Token
from groundtune.serving.chats.chat import Called, CallReader, annotations_of, logprobs_of
from groundtune.serving.chats.response_request import CreateResponse, FunctionTool
from groundtune.serving.chats.response_search import Found
from groundtune.serving.generating.answers import Answers
from groundtune.serving.generating.sse import event
from groundtune.serving.ids import new_id


@dataclass(slots=True)
class Reply:
    """One response while it is made.

    Args:
        wanted: the request.
        reader: finds calls in what is written; None where there can be none.
        found: what a file search brought; None where there was none.
        base_url: of this server, for sources.
    """

    wanted: CreateResponse
    reader: CallReader | None
    found: Found | None
    base_url: str
    id: str = field(default_factory=lambda: new_id("response"))
    message_id: str = field(default_factory=lambda: new_id("message"))
    created: int = field(default_factory=lambda: int(time.time()))
    text: str = ""
    calls: list[Called] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    _number: int = 0

    # ------------------------------------------------------------ the object

    def body(self, status: str, answers: Answers | None = None, error: dict[str, Any] | None = None) -> dict[str, Any]:
        """The response's object."""
        wanted = self.wanted
        ended = answers is not None and error is None
        return {
            "id": self.id, "object": "response", "created_at": self.created, "status": status, "error": error,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": wanted.instructions, "metadata": wanted.metadata or {}, "model": wanted.model,
            "output": self.output(answers) if ended else [], "parallel_tool_calls": wanted.parallel_tool_calls is not False,
            "temperature": 1.0 if wanted.temperature is None else wanted.temperature,
            "top_p": 1.0 if wanted.top_p is None else wanted.top_p,
            "tool_choice": _dumped(wanted.tool_choice) or "auto", "tools": [_tool(t) for t in wanted.tools or ()],
            "background": False, "max_output_tokens": wanted.max_output_tokens, "max_tool_calls": wanted.max_tool_calls,
            "previous_response_id": wanted.previous_response_id, "prompt_cache_key": wanted.prompt_cache_key,
            "reasoning": {"effort": None, "summary": None}, "safety_identifier": wanted.safety_identifier,
            "service_tier": "default", "store": wanted.store is not False,
            "text": {"format": _format(wanted), "verbosity": "medium"}, "top_logprobs": wanted.top_logprobs or 0,
            "truncation": wanted.truncation or "disabled", "usage": _usage(answers) if answers else None, "user": wanted.user,
        }  # fmt: skip

    def output(self, answers: Answers | None) -> list[dict[str, Any]]:
        """Search, message and calls, in this order."""
        items = [self.found.item] if self.found else []
        if self.text or not self.calls:
            items.append(self._message("completed", answers))
        return [*items, *(_called(call) for call in self.calls)]

    def _message(self, status: str, answers: Answers | None) -> dict[str, Any]:
        return {"id": self.message_id, "type": "message", "status": status, "role": "assistant", "content": [self._part(answers)]}  # fmt: skip

    def _part(self, answers: Answers | None) -> dict[str, Any]:
        shown = logprobs_of(self.tokens)["content"] if self._with_logprobs else []
        return {"type": "output_text", "text": self.text, "annotations": self.annotations(answers), "logprobs": shown}

    @property
    def _with_logprobs(self) -> bool:
        return "message.output_text.logprobs" in (self.wanted.include or ())

    def annotations(self, answers: Answers | None) -> list[dict[str, Any]]:
        """Files whose words were before the model, or a System's own sources; none where it says it has no answer."""
        completion = answers.choices[0].completion if answers else None
        if completion is not None:
            nested = annotations_of(completion, self.text, self.base_url)
            return [{**one, **one.pop("url_citation")} for one in nested]  # responses have them flat
        if self.found is None or not self.text or abstains(self.text):
            return []
        files = dict.fromkeys((c.file_id, c.filename) for c in self.found.cited)
        return [{"type": "file_citation", "file_id": f, "filename": name, "index": len(self.text)} for f, name in files]

    # ------------------------------------------------------------ reading what is written

    def add(self, text: str, tokens: Sequence[Token], last: bool) -> tuple[str, list[Called]]:
        """Take a piece; what of it is text, and calls that are complete now."""
        new: list[Called] = []
        if self.reader is not None:
            text, new = self.reader.add(text)
            if last:
                rest, others = self.reader.end()
                text, new = text + rest, [*new, *others]
        self.text += text
        self.calls += new
        self.tokens.extend(tokens)
        return text, new

    # ------------------------------------------------------------ events

    def say(self, kind: str, **fields: Any) -> bytes:
        """One event of the stream."""
        body = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return event(body, kind)

    def search_events(self) -> Iterator[bytes]:
        """Of the file search, which was made before anything is written."""
        if self.found is None:
            return
        item, place = self.found.item, {"output_index": 0, "item_id": self.found.item["id"]}
        yield self.say("response.output_item.added", output_index=0, item={**item, "status": "in_progress", "results": None})  # fmt: skip
        for step in ("in_progress", "searching", "completed"):
            yield self.say(f"response.file_search_call.{step}", **place)
        yield self.say("response.output_item.done", output_index=0, item=item)

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self.message_id, "output_index": 1 if self.found else 0, "content_index": 0}

    def text_begins(self) -> Iterator[bytes]:
        """Before the first text."""
        empty = {"id": self.message_id, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        yield self.say("response.output_item.added", output_index=self._place["output_index"], item=empty)
        yield self.say("response.content_part.added", **self._place, part=part)

    def text_delta(self, text: str, tokens: Sequence[Token]) -> bytes:
        """Some text."""
        shown = logprobs_of(tokens)["content"] if self._with_logprobs else []
        return self.say("response.output_text.delta", **self._place, delta=text, logprobs=shown)

    def text_ends(self, answers: Answers) -> Iterator[bytes]:
        """Behind the last text."""
        part = self._part(answers)
        for number, annotation in enumerate(part["annotations"]):
            yield self.say(
                "response.output_text.annotation.added", **self._place, annotation_index=number, annotation=annotation
            )
        yield self.say("response.output_text.done", **self._place, text=self.text, logprobs=part["logprobs"])
        yield self.say("response.content_part.done", **self._place, part=part)
        item = self._message("completed", answers)
        yield self.say("response.output_item.done", output_index=self._place["output_index"], item=item)

    def call_events(self, call: Called, output_index: int) -> Iterator[bytes]:
        """Of a call."""
        item = _called(call)
        place = {"item_id": item["id"], "output_index": output_index}
        yield self.say("response.output_item.added", output_index=output_index, item={**item, "arguments": "", "status": "in_progress"})  # fmt: skip
        yield self.say("response.function_call_arguments.delta", **place, delta=call.arguments)
        yield self.say("response.function_call_arguments.done", **place, arguments=call.arguments, name=call.name)
        yield self.say("response.output_item.done", output_index=output_index, item=item)


def _called(call: Called) -> dict[str, Any]:
    return {
        "id": "fc_" + call.id.removeprefix("call_"), "type": "function_call", "status": "completed",
        "call_id": call.id, "name": call.name, "arguments": call.arguments,
    }  # fmt: skip


def _usage(answers: Answers) -> dict[str, Any]:
    read, written = answers.prompt_tokens, answers.completion_tokens
    return {
        "input_tokens": read, "input_tokens_details": {"cached_tokens": answers.cached(), "cache_write_tokens": 0},
        "output_tokens": written, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": read + written,
    }  # fmt: skip


def _dumped(value: Any) -> Any:
    return value.model_dump(exclude_none=True, by_alias=True) if hasattr(value, "model_dump") else value


def _tool(tool: Any) -> dict[str, Any]:
    body: dict[str, Any] = _dumped(tool)
    if isinstance(tool, FunctionTool):
        return {"parameters": None, "strict": False, **body}
    return body


def _format(wanted: CreateResponse) -> dict[str, Any]:
    form = wanted.text.format if wanted.text else None
    return {"type": "text"} if form is None else dict(_dumped(form))
