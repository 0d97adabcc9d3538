"""Chat completions through the official client, on the bundled model."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import openai
import pytest

from groundtune.nn.checkpoints import load_model

QUESTION = [{"role": "user", "content": "When does the library open?"}]


def ask(client: Any, **more: Any) -> Any:
    return client.chat.completions.create(
        **{"model": "pebble", "messages": QUESTION, "temperature": 0, "max_tokens": 12, **more}
    )


def text(client: Any, **more: Any) -> str:
    return str(ask(client, **more).choices[0].message.content)


def test_an_answer(client: Any) -> None:
    found = ask(client)
    choice = found.choices[0]
    assert found.object == "chat.completion" and found.model == "pebble" and found.id.startswith("chatcmpl-")
    assert choice.message.role == "assistant" and choice.message.content and choice.finish_reason in ("stop", "length")
    assert choice.message.refusal is None and choice.logprobs is None
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens
    assert ask(client, model="gpt-4o-mini").choices[0].message.content == choice.message.content


def test_logprobs_are_the_models_own(client: Any) -> None:
    import torch

    found = ask(client, logprobs=True, top_logprobs=5, max_tokens=20)
    tokens = found.choices[0].logprobs.content
    assert b"".join(bytes(t.bytes) for t in tokens).decode() == found.choices[0].message.content
    model, tokenizer = load_model("pebble")
    from groundtune.dataset.render import render_prompt
    from groundtune.records import Message

    ids = render_prompt(tokenizer, [Message("user", QUESTION[0]["content"])])
    for token in tokens:
        with torch.inference_mode():
            own = torch.log_softmax(model(torch.tensor([ids])).logits[0, -1].float(), -1)
        best = int(own.argmax())
        assert abs(token.logprob - float(own[best])) < 1e-4
        assert token.top_logprobs[0].logprob == token.logprob
        values = [t.logprob for t in token.top_logprobs]
        assert values == sorted(values, reverse=True)
        assert max(abs(a - b) for a, b in zip(values, own.topk(5).values.tolist(), strict=True)) < 1e-4
        ids.append(best)


def test_a_stream_says_what_the_whole_says(client: Any) -> None:
    whole = ask(client, logprobs=True, max_tokens=20)
    chunks = list(ask(client, stream=True, logprobs=True, max_tokens=20, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[0].choices[0].delta.content == ""
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(c.usage is None for c in chunks[:-1]) and len({c.id for c in chunks}) == 1
    streamed = [t for c in chunks if c.choices and c.choices[0].logprobs for t in c.choices[0].logprobs.content]
    assert [t.token for t in streamed] == [t.token for t in whole.choices[0].logprobs.content]


def test_many_at_once_get_what_each_gets_alone(client: Any) -> None:
    questions = [f"What is the number {n} for, and who says so?" for n in range(24)]
    alone = [text(client, messages=[{"role": "user", "content": q}], max_tokens=30) for q in questions]
    found: dict[int, str] = {}

    def one(n: int) -> None:
        found[n] = text(client, messages=[{"role": "user", "content": questions[n]}], max_tokens=30)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(len(questions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[n] for n in range(len(questions))] == alone


def test_a_dropped_stream_stops_computing(client: Any, app: Any) -> None:
    stream = ask(client, stream=True, max_tokens=400, logit_bias={"0": -100})
    next(iter(stream))
    stream.close()
    deadline = time.monotonic() + 20
    while app.state.generators.engines.load[1:] != (0, 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert app.state.generators.engines.load == (1, 0, 0)


@pytest.mark.parametrize("model", ["pebble", "prompt"])
def test_a_whole_answer_nobody_waits_for_stops_computing(client: Any, app: Any, model: str) -> None:
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=0.3), model=model, max_tokens=400, n=20, logit_bias={"0": -100})
    deadline = time.monotonic() + 20
    while app.state.generators.engines.load[1:] != (0, 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert app.state.generators.engines.load[1:] == (0, 0)


def test_json_of_a_schema(client: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Bern", "Oslo"]}, "count": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["city", "count"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema, "strict": True}}
    for seed in range(4):
        found = json.loads(text(client, response_format=form, temperature=2, seed=seed, max_tokens=60))
        assert found["city"] in ("Bern", "Oslo") and 0 <= found["count"] <= 9
    asked = [{"role": "user", "content": "Say something as JSON"}]
    free = ask(client, messages=asked, response_format={"type": "json_object"}, max_tokens=200)
    assert free.choices[0].finish_reason == "length" or isinstance(json.loads(free.choices[0].message.content), dict)
    with pytest.raises(openai.BadRequestError, match="word 'json'"):
        ask(client, response_format={"type": "json_object"})


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"place": {"enum": ["Bern", "Oslo"]}},
            "required": ["place"],
            "additionalProperties": False,
        },
    },
}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_tool_that_must_be_called(client: Any, choice: Any) -> None:
    found = ask(client, tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False, max_tokens=60)
    call = found.choices[0].message.tool_calls[0]
    assert call.function.name == "weather" and json.loads(call.function.arguments)["place"] in ("Bern", "Oslo")
    assert found.choices[0].finish_reason == "tool_calls" and found.choices[0].message.content is None
    again = [*QUESTION, found.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "Sunny"}]
    assert ask(client, messages=again, tools=[WEATHER], tool_choice="none").choices[0].message.content is not None
    streamed = list(ask(client, tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False, max_tokens=60, stream=True))  # fmt: skip
    deltas = [c for chunk in streamed for c in chunk.choices[0].delta.tool_calls or ()]
    assert deltas[0].function.name == "weather" and deltas[0].id and deltas[0].index == 0
    assert "".join(d.function.arguments for d in deltas) == call.function.arguments
    assert streamed[-1].choices[0].finish_reason == "tool_calls"


def test_a_limit_beyond_the_context_ends_at_the_context(client: Any) -> None:
    """Notebooks ask for at most 500 tokens; the bundled model has 512 with the prompt."""
    assert text(client, max_tokens=100_000) == text(client, max_tokens=40)
    cut = ask(client, max_tokens=600, logit_bias={"0": -100})
    assert cut.choices[0].finish_reason == "length" and cut.usage.total_tokens == 512
    with pytest.raises(openai.BadRequestError, match="maximum context length is 512 tokens") as caught:
        ask(client, messages=[{"role": "user", "content": "number " * 600}])
    assert caught.value.code == "context_length_exceeded"


def test_a_call_fills_no_pages_with_spaces(client: Any) -> None:
    """A model that would write nothing but white space wherever it may: the call ends all the same, and can be read."""
    _, tokenizer = load_model("pebble")
    blank = {str(n): 100 for n in range(len(tokenizer)) if tokenizer.decode([n]) and not tokenizer.decode([n]).strip()}
    assert len(blank) > 2
    found = ask(
        client, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, max_tokens=60, logit_bias=blank
    )
    call = found.choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments)["place"] in ("Bern", "Oslo")
    assert found.choices[0].finish_reason == "tool_calls" and found.usage.completion_tokens < 60


def test_a_call_has_the_arguments_that_its_schema_names(client: Any) -> None:
    """Without ``additionalProperties`` a schema allows any others; nobody who lists arguments wants them invented."""
    for parameters, names in (({"type": "object", "properties": {"on": {"type": "boolean"}}}, {"on"}), (None, set())):
        tool = {"type": "function", "function": {"name": "switch", "parameters": parameters}}
        for seed in range(3):
            found = ask(client, tools=[tool], tool_choice="required", parallel_tool_calls=False, temperature=2, seed=seed, max_tokens=60)  # fmt: skip
            assert found.choices[0].finish_reason == "tool_calls"
            assert json.loads(found.choices[0].message.tool_calls[0].function.arguments).keys() <= names


def test_a_call_that_was_cut_has_what_was_written(client: Any) -> None:
    """As OpenAI sends it: a call whose arguments are no JSON yet, and ``length``."""
    note = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    asked = {
        "tools": [{"type": "function", "function": {"name": "note", "parameters": note}}], "tool_choice": "required",
        "max_tokens": 25, "logit_bias": {"300": 100},
    }  # fmt: skip
    whole = ask(client, **asked).choices[0]
    call = whole.message.tool_calls[0].function
    assert whole.finish_reason == "length" and call.name == "note" and call.arguments.startswith('{"text"')
    with pytest.raises(ValueError):
        json.loads(call.arguments)
    chunks = [chunk.choices[0] for chunk in ask(client, **asked, stream=True)]
    written = [d.function.arguments for c in chunks for d in c.delta.tool_calls or ()]
    assert "".join(written) == call.arguments and chunks[-1].finish_reason == "length"


def test_stored_completions(client: Any) -> None:
    kept = ask(client, store=True, metadata={"topic": "hours"})
    ask(client, store=True, metadata={"topic": "other"})
    assert client.chat.completions.retrieve(kept.id).choices[0].message.content == kept.choices[0].message.content
    assert [c.id for c in client.chat.completions.list(metadata={"topic": "hours"})] == [kept.id]
    assert [m.content for m in client.chat.completions.messages.list(kept.id)] == [QUESTION[0]["content"]]
    assert client.chat.completions.update(kept.id, metadata={"topic": "new"}).metadata == {"topic": "new"}
    assert client.chat.completions.delete(kept.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(kept.id)


def test_more_tokens_than_there_is_room_for(client: Any) -> None:
    """A program for a large model asks a small one: it writes to the end of its context. A prompt over it is refused."""
    found = ask(client, max_tokens=4096, logit_bias={"0": -100})
    assert found.choices[0].finish_reason == "length" and found.usage.total_tokens == 512
    assert ask(client, model="prompt", max_tokens=4096).choices[0].message.content
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, messages=[{"role": "user", "content": "word " * 600}])
    assert caught.value.code == "context_length_exceeded" and "maximum context length is 512" in caught.value.message
