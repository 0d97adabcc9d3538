"""Responses through the official client: text, streams, tools, file search over a vector store, stored ones."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

TOOL = {
    "type": "function",
    "name": "look",
    "parameters": {
        "type": "object",
        "properties": {"at": {"enum": ["sky", "sea"]}},
        "required": ["at"],
        "additionalProperties": False,
    },
}


def ask(client: Any, **more: Any) -> Any:
    return client.responses.create(**{"model": "pebble", "input": "When does the library open?", "temperature": 0, "max_output_tokens": 12, **more})  # fmt: skip


def test_text_whole_and_streamed(client: Any) -> None:
    whole = ask(client, instructions="Answer in a few words.", max_output_tokens=40)
    assert whole.object == "response" and whole.status == "completed" and whole.output_text
    assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens
    events = list(ask(client, instructions="Answer in a few words.", max_output_tokens=40, stream=True))
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    assert events[-1].response.output_text == whole.output_text
    with client.responses.stream(model="pebble", input="Who?", temperature=0, max_output_tokens=40) as stream:
        assert stream.get_final_response().output_text


def test_an_answer_that_was_cut(client: Any) -> None:
    found = ask(client, max_output_tokens=1)
    assert found.status == "incomplete" and found.incomplete_details.reason == "max_output_tokens"
    assert list(ask(client, max_output_tokens=1, stream=True))[-1].type == "response.incomplete"


def test_a_form_and_log_probabilities(client: Any) -> None:
    form = {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}}}  # fmt: skip
    found = ask(client, text=form, include=["message.output_text.logprobs"], top_logprobs=2, max_output_tokens=30)
    assert isinstance(json.loads(found.output_text)["ok"], bool)
    tokens = found.output[0].content[0].logprobs
    assert "".join(t.token for t in tokens) == found.output_text and len(tokens[0].top_logprobs) == 2


def test_a_tool_and_its_answer(client: Any) -> None:
    found = ask(client, tools=[TOOL], tool_choice="required", parallel_tool_calls=False, max_output_tokens=60)
    (call,) = found.output
    assert call.type == "function_call" and json.loads(call.arguments)["at"] in ("sky", "sea")
    more = [{"role": "user", "content": "Look"}, call, {"type": "function_call_output", "call_id": call.call_id, "output": "blue"}]  # fmt: skip
    assert ask(client, input=more).output_text
    events = list(ask(client, tools=[TOOL], tool_choice="required", parallel_tool_calls=False, max_output_tokens=60, stream=True))  # fmt: skip
    assert next(e for e in events if e.type == "response.function_call_arguments.done").arguments == call.arguments


def test_going_on_from_a_response(client: Any) -> None:
    first = ask(client)
    second = ask(client, input="And on Sundays?", previous_response_id=first.id)
    items = client.responses.input_items.list(second.id, order="asc").data
    assert [getattr(i, "role", None) for i in items] == ["user", "assistant", "user"]
    assert second.usage.input_tokens > ask(client, input="And on Sundays?").usage.input_tokens
    assert client.responses.retrieve(first.id).output_text == first.output_text
    client.responses.delete(first.id)
    for call in (lambda: client.responses.retrieve(first.id), lambda: ask(client, previous_response_id=first.id)):
        with pytest.raises(openai.NotFoundError):
            call()
    unstored = ask(client, store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(unstored.id)


def test_file_search_names_the_file(client: Any) -> None:
    files = [
        client.files.create(file=(name, text.encode()), purpose="assistants")
        for name, text in {
            "library.txt": "The library opens at nine in the morning on weekdays. It closes at six.",
            "pool.txt": "The swimming pool was built of green stone. Children swim for free.",
        }.items()
    ]
    store = client.vector_stores.create(name="town", file_ids=[f.id for f in files])
    while client.vector_stores.retrieve(store.id).status != "completed":
        pass
    tool = {"type": "file_search", "vector_store_ids": [store.id], "max_num_results": 3}
    wanted = {"tools": [tool], "input": "At what time does the library open?", "max_output_tokens": 30}
    found = ask(client, **wanted, include=["file_search_call.results"])
    search, message = found.output
    assert search.type == "file_search_call" and search.results[0].filename == "library.txt"
    assert "nine" in message.content[0].text
    assert [a.filename for a in message.content[0].annotations] == ["library.txt"]
    assert ask(client, **wanted).output[0].results is None
    events = list(ask(client, **wanted, stream=True))
    assert [e.type for e in events if "file_search" in e.type] == [f"response.file_search_call.{s}" for s in ("in_progress", "searching", "completed")]  # fmt: skip
    assert next(e for e in events if e.type == "response.output_text.annotation.added").annotation.filename == "library.txt"  # fmt: skip
    assert events[-1].response.output_text == message.content[0].text
    limited = {**tool, "filters": {"type": "eq", "key": "kind", "value": "none"}}
    assert ask(client, **{**wanted, "tools": [limited]}, include=["file_search_call.results"]).output[0].results == []


def test_every_parameter_that_is_not_offered_is_refused_by_name(client: Any) -> None:
    for name, value in {
        "background": True, "conversation": "conv_1", "prompt": {"id": "p"}, "service_tier": "flex",
        "reasoning": {"effort": "high"}, "text": {"verbosity": "low"}, "include": ["reasoning.encrypted_content"],
        "tools": [{"type": "web_search"}], "top_logprobs": 2, "max_tool_calls": 0, "truncation": "some",
        "stream_options": {"include_obfuscation": False}, "moderation": {"model": "x"}, "metadata": {"a": 1},
        "prompt_cache_retention": "24h", "input": [{"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "x"}]}],
        "temperature": 3, "max_output_tokens": 0, "tool_choice": {"type": "function", "name": "none"},
    }.items():  # fmt: skip
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, extra_body={name: value})
        assert str(caught.value.param).startswith(name), (
            name,
            caught.value,
        )


def test_a_conversation_over_the_context(client: Any) -> None:
    long = [
        {"role": "user", "content": f"Number {n} is a nice number, do you not think so as well?"} for n in range(60)
    ]
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, input=long)
    assert caught.value.code == "context_length_exceeded"
    assert ask(client, input=long, truncation="auto").usage.input_tokens <= 500
