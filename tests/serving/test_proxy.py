"""A request to a model elsewhere, through a stub of that elsewhere: what goes out, what comes back, what breaks off."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import openai
import pytest
from counting_route import chunk, opened
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from groundtune.serving.app import create_app
from groundtune.serving.callers import usage
from groundtune.serving.callers.access import Access, Caller
from groundtune.serving.callers.keys import Limits, NewKey, make_keys
from groundtune.serving.catalog import Model
from groundtune.serving.elsewhere import proxy, relay
from groundtune.serving.elsewhere.relay import Passage
from groundtune.serving.errors import ApiError
from groundtune.serving.state import Serving
from live_server import live

KEY = "sk-upstream-secret-0123456789"
#: tokens that are guessed of ``ask``'s prompt: a quarter of the letters of what is sent on but for model and stream
GUESSED = len('{"messages": [{"role": "user", "content": "héllo 😀"}]}') // 4
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


class Elsewhere:
    """The stub, and what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.closed = 0
        self.app = FastAPI()
        self.app.add_api_route("/v1/{path:path}", self.answer, methods=["POST"])

    async def answer(self, path: str, request: Request) -> Response:
        body = await request.json()
        self.seen.append((path, dict(request.headers), body))
        return getattr(self, body["model"])(body)

    def fine(self, body: dict[str, Any]) -> Response:
        if body.get("stream"):
            return StreamingResponse(self.words(body, 5), media_type="text/event-stream")
        message = {"role": "assistant", "content": "hello", "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return JSONResponse({"id": "c", "object": "chat.completion", "created": 1, "model": "fine-2026", "choices": [choice],
                             "usage": USAGE})  # fmt: skip

    async def words(self, body: dict[str, Any], count: int, pause: float = 0) -> AsyncIterator[str]:
        try:
            yield ": a comment\n\n"
            for n in range(count):
                yield f"data: {json.dumps({**chunk('fine-2026', f'w{n} '), 'usage': None})}\n\n"
                await anyio.sleep(pause)
            if (body.get("stream_options") or {}).get("include_usage"):
                yield f"data: {json.dumps({**chunk('fine-2026', ''), 'choices': [], 'usage': USAGE})}\r\n\r\n"
            yield "data: [DONE]\n\n"
        finally:
            self.closed += 1

    def drip(self, body: dict[str, Any]) -> Response:
        return StreamingResponse(self.words(body, 10_000, 0.02), media_type="text/event-stream")

    def breaks(self, body: dict[str, Any]) -> Response:
        async def parts() -> AsyncIterator[str]:
            yield f"data: {json.dumps(chunk('x', 'one '))}\n\n"
            raise RuntimeError("the stub breaks off")

        return StreamingResponse(parts(), media_type="text/event-stream")

    def reports(self, body: dict[str, Any]) -> Response:
        error = {"error": {"message": "out of memory", "type": "server_error", "param": None, "code": "oom"}}
        parts = [f"data: {json.dumps(chunk('x', 'one '))}\n\n", f"data: {json.dumps(error)}\n\n"]
        return StreamingResponse(iter(parts), media_type="text/event-stream")

    def slow(self, body: dict[str, Any]) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            try:
                yield b" "
                await anyio.sleep(60)
            finally:
                self.closed += 1

        return StreamingResponse(parts(), media_type="application/json")

    def limited(self, body: dict[str, Any]) -> Response:
        error = {"message": f"slow down, {KEY}", "type": "requests", "param": None, "code": "rate_limit_exceeded"}
        headers = {"retry-after": "7", "retry-after-ms": "7000", "x-should-retry": "false", "set-cookie": "a=b"}
        return JSONResponse({"error": error}, 429, headers)

    def refuses(self, body: dict[str, Any]) -> Response:
        return JSONResponse({"error": {"message": f"Incorrect API key: {KEY}"}}, 401)

    def odd(self, body: dict[str, Any]) -> Response:
        return Response("<html>Bad gateway</html>", 503, media_type="text/html")

    def garbage(self, body: dict[str, Any]) -> Response:
        return Response('{"choices": [', 200, media_type="application/json")

    def moved(self, body: dict[str, Any]) -> Response:
        return RedirectResponse("http://127.0.0.1:1/v1/elsewhere", 307)


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
def served(
    elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Serving, FastAPI]]:
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    monkeypatch.delenv("UNSET_KEY", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with live(elsewhere.app) as upstream:
        kinds = [name for name in vars(Elsewhere) if not name.startswith("_") and name not in ("answer", "words")]
        aliases = {
            f"our-{kind}": {"model": kind, "base_url": f"{upstream}/v1/", "api_key_env": "UPSTREAM_KEY"}
            for kind in kinds
        }
        aliases["our-keyless"] = {"model": "fine", "base_url": f"{upstream}/v1", "api_key_env": "UNSET_KEY"}
        aliases["our-nobody"] = {"model": "fine", "base_url": "http://127.0.0.1:9/v1"}
        aliases["our-typo"] = {"model": "fine", "base_url": "htp://user:secret@host/v1"}
        serving = opened(tmp_path, aliases=aliases)
        app = create_app(serving)
        with live(app) as url:
            yield url, serving, app


@pytest.fixture
def client(served: tuple[str, Serving, FastAPI]) -> Any:
    return openai.OpenAI(base_url=f"{served[0]}/v1", api_key="gt-of-the-client", max_retries=0)


def ask(client: Any, model: str, **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "héllo 😀"}], **more)


def used(serving: Serving, app: FastAPI) -> usage.Total:
    deadline = time.monotonic() + 10
    while app.state.access.in_flight and time.monotonic() < deadline:
        time.sleep(0.01)
    assert app.state.access.in_flight == 0
    return usage.total_of(serving.store, "anonymous")


def test_the_answer_comes_under_our_name_and_with_their_key(
    client: Any, elsewhere: Elsewhere, served: tuple[str, Serving, FastAPI]
) -> None:
    answer = ask(client, "our-fine", temperature=0.5, extra_body={"made_up": [1]})
    assert (answer.model, answer.choices[0].message.content) == ("our-fine", "hello")
    ((path, headers, body),) = elsewhere.seen
    assert path == "chat/completions"
    assert (body["model"], body["temperature"], body["made_up"]) == ("fine", 0.5, [1])
    assert headers["authorization"] == f"Bearer {KEY}"
    assert "gt-of-the-client" not in json.dumps(headers)
    assert not [name for name in headers if name.startswith(("x-stainless", "openai-"))]
    total = used(*served[1:])
    assert (total.prompt_tokens, total.completion_tokens) == (11, 7)  # what they charge, not what we guessed


@pytest.mark.parametrize("asked", [False, True])
def test_a_stream_comes_through_and_its_usage_only_if_asked(
    asked: bool, client: Any, elsewhere: Elsewhere, served: tuple[str, Serving, FastAPI]
) -> None:
    more = {"stream_options": {"include_usage": True}} if asked else {}
    parts = list(ask(client, "our-fine", stream=True, **more))
    assert elsewhere.seen[0][2]["stream_options"] == {"include_usage": True}
    assert {part.model for part in parts} == {"our-fine"}
    assert "".join(c.delta.content for p in parts for c in p.choices) == "w0 w1 w2 w3 w4 "
    assert [p.usage.total_tokens for p in parts if p.usage] == ([18] if asked else [])
    assert any(not p.choices for p in parts) is asked
    total = used(*served[1:])
    assert (total.prompt_tokens, total.completion_tokens) == (11, 7)


def test_half_a_character_goes_nowhere(elsewhere: Elsewhere, served: tuple[str, Serving, FastAPI]) -> None:
    body = rb'{"model": "our-fine", "messages": [{"role": "user", "content": "\ud83d"}]}'
    answer = httpx.post(f"{served[0]}/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
    assert not elsewhere.seen


def test_what_is_no_data_passes_untouched(served: tuple[str, Serving, FastAPI]) -> None:
    body = {"model": "our-fine", "messages": [], "stream": True}
    text = httpx.post(f"{served[0]}/v1/chat/completions", json=body).text
    assert text.startswith(": a comment\n\ndata: {") and text.endswith("data: [DONE]\n\n")
    assert '"usage"' not in text


def test_other_routes_go_to_the_same_path_there(
    client: Any, elsewhere: Elsewhere, served: tuple[str, Serving, FastAPI]
) -> None:
    """Before anything here looks at what they ask: other endpoints may take what these models do not."""
    asked: dict[str, dict[str, Any]] = {
        "embeddings": {"input": [1.5], "colour": "red"},
        "moderations": {"input": {"a": 1}},
        "completions": {"prompt": "x", "suffix": "y"},
        "responses": {"input": "x", "tools": [{"type": "web_search"}]},
    }
    for path, body in asked.items():
        answer = client.post(f"/{path}", body={"model": "our-fine", **body}, cast_to=object)
        assert (answer["model"], answer["usage"]) == ("our-fine", USAGE)
        assert (elsewhere.seen[-1][0], elsewhere.seen[-1][2]) == (path, {"model": "fine", **body})
    assert used(*served[1:]).requests == len(asked)
    assert used(*served[1:]).tokens == 18 * len(asked)


def test_a_name_that_is_nobodys_goes_nowhere(client: Any, elsewhere: Elsewhere) -> None:
    for model in ("our-nothing", "\ud83d", "a\0b", "x" * 10_000):
        content = json.dumps({"model": model, "messages": [{"role": "user", "content": "a"}]})
        url, headers = f"{client.base_url}chat/completions", {"content-type": "application/json"}
        answer = httpx.post(url, content=content, headers=headers)
        expected = (400, "invalid_json") if model == "\ud83d" else (404, "model_not_found")
        assert (answer.status_code, answer.json()["error"]["code"]) == expected
    assert not elsewhere.seen


def test_a_stream_that_breaks_off_ends_in_an_error(client: Any, served: tuple[str, Serving, FastAPI]) -> None:
    got: list[str] = []
    with pytest.raises(openai.APIError) as caught:
        got.extend(part.choices[0].delta.content for part in ask(client, "our-breaks", stream=True))
    assert got == ["one "] and caught.value.code == "upstream_unreachable"
    assert used(*served[1:]).completion_tokens == 1


def test_an_error_in_mid_stream_is_passed_on(client: Any) -> None:
    got: list[str] = []
    with pytest.raises(openai.APIError, match="out of memory") as caught:
        got.extend(part.choices[0].delta.content for part in ask(client, "our-reports", stream=True))
    assert got == ["one "] and caught.value.code == "oom"


def test_a_client_that_leaves_a_stream_closes_the_connection_behind(
    client: Any, elsewhere: Elsewhere, served: tuple[str, Serving, FastAPI]
) -> None:
    stream = ask(client, "our-drip", stream=True)
    next(iter(stream))
    assert elsewhere.closed == 0
    stream.close()
    total = used(*served[1:])
    assert total.prompt_tokens == GUESSED and 1 <= total.completion_tokens < 500
    _until(lambda: elsewhere.closed == 1)


def test_a_client_that_leaves_while_it_waits_closes_the_connection_behind(
    client: Any, elsewhere: Elsewhere, served: tuple[str, Serving, FastAPI]
) -> None:
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=0.5), "our-slow")
    _until(lambda: elsewhere.closed == 1)
    assert used(*served[1:]).prompt_tokens == GUESSED  # they were at work on it


def _until(true: Any) -> None:
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert true()


def test_their_limits_come_through_with_what_they_say_about_trying_again(
    client: Any, served: tuple[str, Serving, FastAPI]
) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, "our-limited")
    assert caught.value.body == {
        "message": "slow down, ***",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    headers = caught.value.response.headers
    assert (headers["retry-after"], headers["retry-after-ms"], headers["x-should-retry"]) == ("7", "7000", "false")
    assert "set-cookie" not in headers
    assert used(*served[1:]).tokens == 0


@pytest.mark.parametrize(
    ("model", "status", "code", "says"),
    [
        ("our-refuses", 502, "upstream_auth", "environment variable UPSTREAM_KEY"),
        ("our-odd", 503, None, "Bad gateway|answers 503"),
        ("our-garbage", 502, "upstream_invalid", "not OpenAI's JSON"),
        ("our-moved", 502, "upstream_redirect", "not followed"),
        ("our-keyless", 500, None, "set the environment variable UNSET_KEY"),
        ("our-nobody", 502, "upstream_unreachable", "cannot be reached"),
        ("our-typo", 500, None, "is not valid: htp://host/v1"),
    ],
)
def test_what_goes_wrong_there_is_told(
    model: str, status: int, code: str | None, says: str, client: Any, served: tuple[str, Serving, FastAPI]
) -> None:
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError, match=says) as caught:
            ask(client, model, stream=stream)
        assert (caught.value.status_code, caught.value.code) == (status, code)
        assert KEY not in caught.value.response.text and "secret" not in caught.value.response.text
    assert used(*served[1:]).tokens == 0


def test_no_answer_in_time(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "SILENT_SECONDS", 0.3)
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, "our-slow")
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")


def test_a_budget_stops_a_stream_from_elsewhere(elsewhere: Elsewhere, served: tuple[str, Serving, FastAPI]) -> None:
    url, serving, app = served
    ((body, key),) = make_keys(serving.store, [NewKey("a", limits=Limits(budget_tokens=GUESSED + 10))])
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    got: list[str] = []
    with pytest.raises(openai.APIError) as caught:
        got.extend(part.choices[0].delta.content for part in ask(client, "our-drip", stream=True))
    assert caught.value.code == "insufficient_quota" and len(got) == 10
    used(serving, app)
    assert usage.total_of(serving.store, body["id"]).tokens == GUESSED + 10
    _until(lambda: elsewhere.closed == 1)  # they do not go on writing what nobody may read


def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    client = proxy._client(FastAPI())
    transport: Any = client._transport_for_url(httpx.URL("https://api.example/v1"))
    assert b"proxy.invalid" in transport._pool._proxy_url.host
    assert client.follow_redirects is False


def test_a_certificate_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent/ca.pem")
    with pytest.raises(ApiError, match=r"REQUESTS_CA_BUNDLE '/nonexistent/ca\.pem'") as caught:
        proxy._client(FastAPI())
    assert caught.value.status == 500


# ---------------------------------------------------------------- events


async def _cut(parts: list[bytes]) -> list[list[bytes]]:
    async def given() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    return [lines async for lines in relay.events(given())]


def test_events_are_cut_the_same_wherever_the_network_cuts() -> None:
    text = b"event: a\ndata: {}\n\n: c\r\n\r\ndata: 1\r\ndata: 2\r\n\r\n\n\ndata: [DONE]"
    expected = [[b"event: a", b"data: {}"], [b": c"], [b"data: 1", b"data: 2"], [b"data: [DONE]"]]
    for size in range(1, len(text) + 1):
        assert anyio.run(_cut, [text[n : n + size] for n in range(0, len(text), size)]) == expected, size


def test_an_event_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "LARGEST_EVENT", 1000)
    with pytest.raises(relay.EventTooLargeError):
        anyio.run(_cut, [b"data: x"] * 1000)


def test_a_responses_stream_is_counted_and_renamed(serving: Serving) -> None:
    access = Access(serving)
    ticket = access.admit(Caller("key_1", "a"), Model("our", "remote", "theirs"), 3)
    passage = Passage("our", ticket, wants_usage=False)
    sent = passage.event(
        [b"event: response.output_text.delta", b'data: {"type":"response.output_text.delta","delta":"hi"}']
    )
    assert sent.startswith(b"event: response.output_text.delta\ndata: {") and ticket.completion_tokens == 1
    end = {"type": "response.completed", "response": {"object": "response", "model": "theirs",
           "usage": {"input_tokens": 20, "output_tokens": 30}}}  # fmt: skip
    out = passage.event([b"data: " + json.dumps(end).encode()])
    assert b'"model":"our"' in out and b'"input_tokens":20' in out
    passage.settle()
    assert (ticket.prompt_tokens, ticket.completion_tokens) == (20, 30)
    ticket.close()
