"""Every parameter of chat completions and completions: it changes the answer, or it is refused with 400 by name.

The list of parameters is the request models' own: a new one without a line here fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from groundtune.serving.chats.chat_request import CreateChat
from groundtune.serving.chats.completions_api import CreateCompletion

CHAT: dict[str, Any] = {
    "model": "pebble",
    "messages": [{"role": "user", "content": "When does the library open?"}],
    "temperature": 0,
    "max_tokens": 16,
}
PROMPT: dict[str, Any] = {"model": "pebble", "prompt": "The library opens at", "temperature": 0, "max_tokens": 12}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"enum": ["x"]}}}
LATER = {"temperature": 1.5, "seed": 1}


@pytest.fixture
def post(base_url: str) -> Callable[..., httpx.Response]:
    def send(path: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(f"{base_url}/{path}", json=body, timeout=60)

    return send


def comparable(answer: httpx.Response) -> Any:
    """An answer without what differs each time."""
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        return "a stream" + str("usage" in answer.text)
    body = answer.json()
    return {k: v for k, v in body.items() if k not in ("id", "created", "usage")} | {"tokens": body["usage"]["completion_tokens"]}  # fmt: skip


#: parameter -> (what stands beside it, its value, another value): the two answers differ
CHAT_CHANGES: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "model": (LATER, "pebble", "prompt"),
    "messages": ({}, CHAT["messages"], [{"role": "user", "content": "What does a late book cost?"}]),
    "stream": ({}, False, True),
    "stream_options": ({"stream": True}, None, {"include_usage": True}),
    "max_tokens": ({}, 16, 1),
    "max_completion_tokens": ({"max_tokens": None}, 16, 1),
    "temperature": ({"seed": 3}, 0, 2),
    "top_p": ({"temperature": 2, "seed": 3}, 1, 0),
    "n": ({}, 1, 2),
    "stop": ({}, None, ["e", "a"]),
    "seed": ({"temperature": 2}, 1, 2),
    "logit_bias": ({}, None, {"300": 100}),
    "frequency_penalty": ({**LATER, "max_tokens": 60, "logit_bias": {"0": -100}}, -2, 2),
    "presence_penalty": ({**LATER, "max_tokens": 60, "logit_bias": {"0": -100}}, -2, 2),
    "logprobs": ({}, False, True),
    "top_logprobs": ({"logprobs": True}, 0, 3),
    "tools": ({"tool_choice": "required", "max_tokens": 60}, [TOOL], [{**TOOL, "function": {"name": "other"}}]),
    "tool_choice": ({"tools": [TOOL], "max_tokens": 60}, "none", "required"),
    "functions": ({"function_call": {"name": "look"}, "max_tokens": 60}, [TOOL["function"]], [{"name": "look", "parameters": {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}}]),
    "function_call": ({"functions": [TOOL["function"]], "max_tokens": 60}, "none", {"name": "look"}),
    "response_format": ({}, {"type": "text"}, SCHEMA),
    "metadata": ({"store": True}, {"a": "1"}, {"a": "2"}),
    "store": ({}, False, True),
}  # fmt: skip
#: parameter -> a value that is refused
CHAT_REFUSED: dict[str, Any] = {
    "service_tier": "flex",
    "reasoning_effort": "high",
    "verbosity": "low",
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "wav"},
    "prediction": {"type": "content", "content": "x"},
    "web_search_options": {},
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"mode": "implicit"},
    "moderation": {"model": "x"},
}
#: parameters whose effect is looked at in tests of their own
ELSEWHERE = {"user", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"}


def test_every_chat_parameter_is_here() -> None:
    assert set(CreateChat.model_fields) == {*CHAT_CHANGES, *CHAT_REFUSED, *ELSEWHERE}


@pytest.mark.parametrize("name", CHAT_CHANGES)
def test_a_chat_parameter_changes_the_answer(post: Callable[..., httpx.Response], name: str) -> None:
    beside, one, other = CHAT_CHANGES[name]
    bodies = [{k: v for k, v in {**CHAT, **beside, name: value}.items() if v is not None} for value in (one, other)]
    if name == "model":
        bodies[1]["messages"] = CHAT["messages"]
    answers = [comparable(post("chat/completions", body)) for body in bodies]
    assert answers[0] != answers[1]
    if name == "model":
        assert answers[0]["choices"] != answers[1]["choices"]


@pytest.mark.parametrize("name", CHAT_REFUSED)
def test_a_chat_parameter_is_refused(post: Callable[..., httpx.Response], name: str) -> None:
    answer = post("chat/completions", {**CHAT, name: CHAT_REFUSED[name]})
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["param"] == name and error["type"] == "invalid_request_error"


def test_unknown_parameters_and_values_out_of_bounds(post: Callable[..., httpx.Response]) -> None:
    for name, value in {
        "top_k": 3, "temperature": 2.1, "top_p": -0.1, "n": 0, "max_tokens": -1, "seed": 2**70, "presence_penalty": 3,
        "top_logprobs": 21, "stop": list("abcde"), "logit_bias": {"x": 1}, "messages": [], "logprobs": "perhaps",
        "response_format": {"type": "xml"}, "tools": [{"type": "other"}], "tool_choice": "required",
        "stream_options": {"include_usage": True}, "metadata": {"a": "b"}, "parallel_tool_calls": False,
        "function_call": "auto", "model": "nothing",
    }.items():  # fmt: skip
        answer = post("chat/completions", {**CHAT, name: value})
        assert answer.status_code == (404 if name == "model" else 400), (name, answer.text)
        assert (answer.json()["error"]["param"] or "").startswith(name), (name, answer.text)


def test_prompts_of_one_cache_key_share_their_beginning(post: Callable[..., httpx.Response]) -> None:
    long = [{"role": "user", "content": "Tell me everything about the opening hours of the library in town."}]

    def cached(key: str) -> int:
        body = post("chat/completions", {**CHAT, "messages": long, "prompt_cache_key": key}).json()
        return int(body["usage"]["prompt_tokens_details"]["cached_tokens"])

    assert [cached("a"), cached("b"), cached("a")] == [0, 0, cached("b")] and cached("a") > 8


def test_one_call_where_calls_may_not_be_parallel() -> None:
    from groundtune.serving.chats.chat import CallReader

    two = "".join(f'<tool_call>\n{{"name": "look", "arguments": {{"n": {n}}}}}\n</tool_call>\n' for n in (1, 2))
    many, single = CallReader(frozenset({"look"})), CallReader(frozenset({"look"}), most=1)
    for reader in (many, single):
        assert [reader.add(c)[0] for c in two] == [""] * len(two)
    assert [json.loads(c.arguments)["n"] for c in many.calls] == [1, 2] and len(single.calls) == 1


# ---------------------------------------------------------------- completions

COMPLETION_CHANGES: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "prompt": ({}, "The library opens at", [5, 300, 301]),
    "max_tokens": ({}, 12, 1),
    "temperature": ({"seed": 3}, 0, 2),
    "top_p": ({"temperature": 2, "seed": 3}, 1, 0),
    "n": ({}, 1, 2),
    "stream": ({}, False, True),
    "stream_options": ({"stream": True}, None, {"include_usage": True}),
    "logprobs": ({}, None, 2),
    "echo": ({}, False, True),
    "stop": ({}, None, "t"),
    "presence_penalty": ({**LATER, "max_tokens": 60, "logit_bias": {"0": -100}}, -2, 2),
    "frequency_penalty": ({**LATER, "max_tokens": 60, "logit_bias": {"0": -100}}, -2, 2),
    "best_of": ({"temperature": 2, "seed": 1}, 1, 10),
    "logit_bias": ({}, None, {"300": 100}),
    "seed": ({"temperature": 2}, 1, 2),
}


def test_every_completion_parameter_is_here() -> None:
    assert set(CreateCompletion.model_fields) == {*COMPLETION_CHANGES, "model", "suffix", "user"}


@pytest.mark.parametrize("name", COMPLETION_CHANGES)
def test_a_completion_parameter_changes_the_answer(post: Callable[..., httpx.Response], name: str) -> None:
    beside, one, other = COMPLETION_CHANGES[name]
    bodies = [{k: v for k, v in {**PROMPT, **beside, name: v}.items() if v is not None} for v in (one, other)]
    answers = [comparable(post("completions", body)) for body in bodies]
    assert answers[0] != answers[1]


def test_completion_parameters_that_are_refused(post: Callable[..., httpx.Response]) -> None:
    for name, value in {
        "suffix": "end.", "logprobs": 6, "best_of": 21, "echo": "so", "prompt": [10**9], "n": 200, "model": "rag-not-there",
        "logit_bias": {"99999": 1}, "top_k": 2, "max_tokens": -1,
    }.items():  # fmt: skip
        answer = post("completions", {**PROMPT, name: value})
        assert answer.status_code == (404 if name == "model" else 400), (name, answer.text)
        assert (answer.json()["error"]["param"] or "").startswith(name), answer.text


def test_echo_scores_the_prompt_as_the_model_does(post: Callable[..., httpx.Response]) -> None:
    import torch

    from groundtune.nn.checkpoints import load_model

    body = post("completions", {**PROMPT, "echo": True, "max_tokens": 0, "logprobs": 2}).json()
    found = body["choices"][0]
    model, tokenizer = load_model("pebble")
    ids = tokenizer(PROMPT["prompt"])["input_ids"]
    with torch.inference_mode():
        own = torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), -1)
    wanted = own[:-1].gather(1, torch.tensor(ids)[1:, None])[:, 0].tolist()
    assert found["text"] == PROMPT["prompt"] and found["finish_reason"] == "length"
    assert found["logprobs"]["token_logprobs"][0] is None and found["logprobs"]["top_logprobs"][0] is None
    assert max(abs(a - b) for a, b in zip(found["logprobs"]["token_logprobs"][1:], wanted, strict=True)) < 1e-4
    assert found["logprobs"]["text_offset"] == [0, *(len("".join(found["logprobs"]["tokens"][:n])) for n in range(1, len(ids)))]  # fmt: skip
    assert "".join(found["logprobs"]["tokens"]) == PROMPT["prompt"] and len(found["logprobs"]["top_logprobs"][1]) == 2


def test_several_prompts_and_the_best_of_many(post: Callable[..., httpx.Response]) -> None:
    body = post("completions", {**PROMPT, "prompt": ["One is", "Two is"], "n": 2}).json()
    assert [c["index"] for c in body["choices"]] == [0, 1, 2, 3]
    assert body["choices"][0]["text"] == body["choices"][1]["text"] != body["choices"][2]["text"]
    mean: Callable[[Any], float] = lambda b: sum(t := b["choices"][0]["logprobs"]["token_logprobs"]) / len(t)  # noqa: E731
    hot = {**PROMPT, "temperature": 1.5, "seed": 7, "logprobs": 0}
    assert mean(post("completions", {**hot, "best_of": 12}).json()) > mean(post("completions", hot).json())
