"""The endpoint backend against a small server of our own: what it sends, what it makes of answers, refusals and faults."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from groundtune.backends.openai_compatible import DEFAULT_CONTEXT_TOKENS, OpenAICompatibleBackend, open_backend
from groundtune.endpoint import EndpointError
from groundtune.errors import ConfigError, GroundtuneError, InputError
from groundtune.records import Message, Usage

KEY = "sk-secret-123"
ASK = [Message("user", "Hello?")]


class Stub:
    """A server that answers each request with the next reply: (status, headers, body) or a function of the request."""

    def __init__(self) -> None:
        self.replies: list[Any] = []
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = (self.path, dict(self.headers), json.loads(body) if body else None)
                stub.requests.append(request)
                reply = stub.replies.pop(0) if stub.replies else (500, {}, b"nothing left")
                status, headers, answer = reply(request) if callable(reply) else reply
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                with contextlib.suppress(OSError):  # the client has given up
                    self._write(status, headers, data)

            def _write(self, status: int, headers: dict[str, str], data: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _serve

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OPENAI_BASE_URL", "OPENAI_CONTEXT_TOKENS"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served = Stub()
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def backend(stub: Stub, waits: list[float]) -> OpenAICompatibleBackend:
    return OpenAICompatibleBackend("gpt-x", stub.url, KEY, attempts=3, timeout_seconds=5, sleep=waits.append)


def says(text: str, *, logprobs: tuple[float, ...] = ()) -> tuple[int, dict[str, str], dict[str, Any]]:
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    choice["logprobs"] = {"content": [{"token": "x", "logprob": p} for p in logprobs]} if logprobs else None
    return 200, {}, {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


def refuses(status: int, message: str, code: str = "", **headers: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    return status, named, {"error": {"message": message, "code": code}}


def test_it_sends_what_openai_takes_and_reads_what_openai_says(stub: Stub, backend: OpenAICompatibleBackend) -> None:
    stub.replies = [says(" Good day. ", logprobs=(-0.5, -0.25))]
    made = backend.generate([Message("system", "Be short."), *ASK], max_tokens=12)
    assert (made.text, made.logprobs, made.usage) == ("Good day.", (-0.5, -0.25), Usage(7, 3))
    path, headers, body = stub.requests[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {KEY}"
    assert body == {
        "model": "gpt-x",
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello?"}],
        "max_tokens": 12,
        "temperature": 0,
        "logprobs": True,
    }


def test_a_batch_comes_in_the_order_of_the_questions(stub: Stub, backend: OpenAICompatibleBackend) -> None:
    stub.replies = [lambda request: says(request[2]["messages"][0]["content"].upper())] * 9
    made = backend.generate_batch([[Message("user", f"q{n}")] for n in range(9)])
    assert [g.text for g in made] == [f"Q{n}" for n in range(9)]
    assert backend.generate_batch([]) == []


def test_busy_endpoints_are_asked_again_after_the_time_they_name(
    stub: Stub, backend: OpenAICompatibleBackend, waits: list[float]
) -> None:
    stub.replies = [refuses(429, "slow down", Retry_After="3"), (503, {}, b"<html>down</html>"), says("yes")]
    assert backend.generate(ASK).text == "yes"
    assert waits[0] == 3 and 1 <= waits[1] <= 1.25


def test_it_gives_up_after_some_attempts(stub: Stub, backend: OpenAICompatibleBackend, waits: list[float]) -> None:
    stub.replies = [refuses(500, "oops")] * 3
    with pytest.raises(EndpointError) as caught:
        backend.generate(ASK)
    assert caught.value.transient and caught.value.status == 500 and len(stub.requests) == 3 and len(waits) == 2


def test_spent_credit_is_not_asked_for_again(stub: Stub, backend: OpenAICompatibleBackend) -> None:
    stub.replies = [refuses(429, "You exceeded your quota", "insufficient_quota")]
    with pytest.raises(EndpointError, match="quota") as caught:
        backend.generate(ASK)
    assert not caught.value.transient and len(stub.requests) == 1


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (refuses(401, f"Incorrect API key provided: {KEY}"), "OPENAI_API_KEY"),
        (refuses(404, "The model does not exist", "model_not_found"), "has no model 'gpt-x'"),
        ((302, {"Location": "https://elsewhere.example/v1"}, b""), "sends on to elsewhere.example"),
        ((200, {}, b"<html>hello</html>"), "ends in /v1"),
        ((200, {}, {"object": "list"}), "without choices"),
        (refuses(400, "bad request"), "bad request"),
        ((400, {}, b"\xff\xfe not json"), "400"),
    ],
)
def test_a_refusal_is_said_in_words(stub: Stub, backend: OpenAICompatibleBackend, reply: Any, words: str) -> None:
    stub.replies = [reply]
    with pytest.raises(GroundtuneError) as caught:
        backend.generate(ASK)
    assert words in str(caught.value)
    assert KEY not in str(caught.value) and KEY not in repr(caught.value) and KEY not in backend.name
    assert len(stub.requests) == 1


def test_the_key_is_not_sent_to_where_a_redirect_points(stub: Stub, backend: OpenAICompatibleBackend) -> None:
    other = Stub()
    stub.replies, other.replies = [(307, {"Location": other.url}, b"")], [says("caught you")]
    with pytest.raises(EndpointError):
        backend.generate(ASK)
    assert not other.requests
    other.server.shutdown()
    other.server.server_close()


def test_what_an_endpoint_does_not_know_is_left_out_from_then_on(stub: Stub, backend: OpenAICompatibleBackend) -> None:
    stub.replies = [
        refuses(400, "Unsupported parameter: 'max_tokens' is not supported; use 'max_completion_tokens' instead."),
        refuses(400, "Unsupported value: 'temperature' does not support 0"),
        refuses(400, "'logprobs' is not supported with this model"),
        says("one"),
        says("two"),
    ]
    assert [backend.generate(ASK, max_tokens=9).text for _ in "ab"] == ["one", "two"]
    assert stub.requests[-1][2].keys() == {"model", "messages", "max_completion_tokens"}
    assert stub.requests[-1][2]["max_completion_tokens"] == 9


def test_nobody_at_home(waits: list[float]) -> None:
    with pytest.raises(EndpointError, match="nothing answers there") as caught:
        OpenAICompatibleBackend("m", "http://127.0.0.1:9/v1", sleep=waits.append).generate(ASK)
    assert not caught.value.transient and not waits


def test_a_slow_endpoint_is_given_up(stub: Stub, waits: list[float]) -> None:
    free = threading.Event()

    def slow(request: Any) -> Any:
        free.wait(5)
        return says("late")

    stub.replies = [slow, says("in time")]
    made = OpenAICompatibleBackend("m", stub.url, attempts=2, timeout_seconds=0.2, sleep=waits.append).generate(ASK)
    free.set()
    assert made.text == "in time" and len(waits) == 1


def test_the_context_is_what_the_endpoint_says(stub: Stub, backend: OpenAICompatibleBackend) -> None:
    stub.replies = [(200, {}, {"data": [{"id": "other"}, {"id": "gpt-x", "max_model_len": 4096}]})]
    assert backend.context_tokens == 4096 and stub.requests[0][0] == "/v1/models"
    stub.replies = [(404, {}, b"")]
    assert OpenAICompatibleBackend("gpt-x", stub.url).context_tokens == DEFAULT_CONTEXT_TOKENS


def test_names_are_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1234/v1/")
    assert open_backend("openai:gpt-x").name == "openai:gpt-x@http://localhost:1234/v1"
    assert open_backend("openai:a/b:c@https://h.example/v1").name == "openai:a/b:c@https://h.example/v1"
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert open_backend("openai:gpt-x").name == "openai:gpt-x@https://api.openai.com/v1"
    assert open_backend("openai:gpt-x").count_tokens("eight by") == 2


@pytest.mark.parametrize(
    ("name", "key", "fault"),
    [
        ("openai:gpt-x", "", InputError),
        ("openai:gpt-x", "a b", InputError),
        ("openai:", KEY, ConfigError),
        ("openai:m@ftp://host/v1", KEY, ConfigError),
        ("openai:m@https://user:hunter2@host/v1", KEY, ConfigError),
    ],
)
def test_names_and_keys_that_cannot_work(
    name: str, key: str, fault: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(fault) as caught:
        open_backend(name)
    assert "hunter2" not in str(caught.value) and "sk-" not in str(caught.value)


def test_no_adapter_goes_on_a_model_elsewhere() -> None:
    with pytest.raises(ConfigError):
        open_backend("openai:m@http://localhost/v1", "runs/tuned/weights")


def test_a_proxy_of_the_environment_is_used(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("http_proxy", stub.url.removesuffix("/v1"))
    stub.replies = [says("through the proxy")]
    made: Callable[..., Any] = OpenAICompatibleBackend("m", "http://far.example/v1", KEY).generate
    assert made(ASK).text == "through the proxy"
    assert stub.requests[0][0] == "http://far.example/v1/chat/completions"


def test_samples_send_temperature_and_seed_and_a_server_need_not_know_seeds(
    stub: Stub, backend: OpenAICompatibleBackend
) -> None:
    stub.replies = [says("a"), refuses(400, "Unrecognized request argument: seed"), says("b")]
    for seed in (5, 6):
        backend.sample_batch([ASK], temperature=0.7, seeds=[seed], max_tokens=9)
    sent = [body for _, _, body in stub.requests]
    assert [(b["temperature"], b.get("seed"), b["max_tokens"]) for b in sent] == [
        (0.7, 5, 9),
        (0.7, 6, 9),
        (0.7, None, 9),
    ]
