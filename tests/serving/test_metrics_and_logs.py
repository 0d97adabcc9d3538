"""Figures, health and the log: what is in them, and that prompts are not."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from counting_route import counting_app, opened
from fastapi import FastAPI, Request
from prometheus_client.parser import text_string_to_metric_families

from groundtune.serving import metrics as metrics_module
from groundtune.serving.callers.keys import NewKey, make_keys
from groundtune.serving.metrics import observe_first_token
from groundtune.serving.request_log import where
from groundtune.serving.state import Serving
from live_server import live

SECRET = "the-tulip-opens-at-dawn"


@pytest.fixture
def app(serving: Serving) -> FastAPI:
    return with_faults(counting_app(serving))


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with live(app) as found:
        yield found


def with_faults(app: FastAPI) -> FastAPI:
    @app.post("/v1/fault")
    async def fault(request: Request) -> None:
        text = (await request.json())["prompt"]
        request.state.log = {
            "user": "u1",
            "prompt": text,
            "answer": text,
            "made_up": text,
            "safety_identifier": "s" * 500,
        }
        try:
            {}[text]
        except KeyError as error:
            raise ValueError(f"cannot do {text}") from error

    @app.post("/v1/logged")
    async def logged(request: Request) -> dict[str, str]:
        text = (await request.json())["prompt"]
        request.state.log = {"user": "u1\n{}", "prompt": text, "answer": text, "made_up": text, "stream": False}
        return {"a": "b"}

    return app


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    for name in ("httpx", "httpcore"):  # of the client here
        caplog.set_level(logging.CRITICAL, name)
    with caplog.at_level(logging.DEBUG):
        yield caplog


def lines(written: pytest.LogCaptureFixture, count: int) -> list[dict[str, Any]]:
    """The access log, once it has so many lines."""
    deadline = time.monotonic() + 10
    while True:
        found = [json.loads(r.getMessage()) for r in written.records if r.name == "groundtune.serving.access"]
        if len(found) >= count or time.monotonic() > deadline:
            assert len(found) == count
            return found
        time.sleep(0.01)


def figures(url: str, **headers: str) -> dict[str, float]:
    """``name{label=value}`` -> value, of ``/metrics``."""
    answer = httpx.get(f"{url}/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("text/plain; version=")
    out = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            out[f"{sample.name}{{{labels}}}"] = sample.value
    return out


def ask(url: str, tokens: int = 3, **headers: str) -> str:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": f"{SECRET} two"}], "max_tokens": tokens}
    return httpx.post(f"{url}/v1/test/words", json=body, headers=headers).text


def chat(url: str, tokens: int, stream: bool, **headers: str) -> str:
    """The same of the real route, which must not end before."""
    body = {"model": "pebble", "messages": [{"role": "user", "content": f"{SECRET} two"}], "max_tokens": tokens,
            "logit_bias": {"0": -100}, "stream": stream, "user": "u7"}  # fmt: skip
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200
    return answer.text


def test_figures(app: FastAPI, serving: Serving, url: str) -> None:
    ask(url, 3), ask(url, 4)
    httpx.get(f"{url}/v1/files/file-1"), httpx.get(f"{url}/v1/files/file-2"), httpx.get(f"{url}/wp-login.php")
    httpx.request("BREW", f"{url}/v1/files")
    observe_first_token(app, 0.2)
    app.state.metrics.waiting.set_function(lambda: 5)
    app.state.metrics.loaded_models.set_function(lambda: 2)
    serving.store.add("job", {"status": "running"}, state="running")
    found = figures(url)
    assert found["groundtune_requests_total{method=POST,route=/v1/test/words,status=200}"] == 2
    assert found["groundtune_requests_total{method=GET,route=/v1/files/{file_id},status=404}"] == 2
    assert found["groundtune_requests_total{method=GET,route=(none),status=404}"] == 1
    assert sum(v for k, v in found.items() if k.startswith("groundtune_requests_total{method=(other)")) == 1
    assert found["groundtune_request_seconds_count{route=/v1/files/{file_id}}"] == 2
    assert found["groundtune_prompt_tokens_total{model=gpt-4o}"] == 4
    assert found["groundtune_completion_tokens_total{model=gpt-4o}"] == 7
    assert found["groundtune_first_token_seconds_count{}"] == 1
    assert (
        found["groundtune_first_token_seconds_bucket{le=0.1}"],
        found["groundtune_first_token_seconds_bucket{le=0.25}"],
    ) == (0, 1)
    assert (found["groundtune_waiting{}"], found["groundtune_loaded_models{}"], found["groundtune_in_flight{}"]) == (
        5,
        2,
        0,
    )
    assert (found["groundtune_jobs{status=running}"], found["groundtune_jobs{status=failed}"]) == (1, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_the_real_route_is_counted_and_logged_without_its_words(
    stream: bool, serving: Serving, url: str, written: pytest.LogCaptureFixture
) -> None:
    ((body, key),) = make_keys(serving.store, [NewKey("anna", admin=True)])
    said = chat(url, 6, stream, Authorization=f"Bearer {key}")
    (line,) = lines(written, 1)
    assert line.pop("seconds") >= line.pop("first_token_seconds") > 0
    assert {name: line[name] for name in ("key", "route", "status", "model", "completion_tokens", "finish_reason", "user")} == {
        "key": body["id"], "route": "/v1/chat/completions", "status": 200, "model": "pebble", "completion_tokens": 6,
        "finish_reason": "length", "user": "u7",
    }  # fmt: skip
    assert line["prompt_tokens"] > 4 and line["stream"] is stream and not {"prompt", "answer"} & set(line)
    everything = "\n".join(record.getMessage() for record in written.records)
    assert SECRET not in everything and "content" in said
    found = figures(url, Authorization=f"Bearer {key}")
    assert found["groundtune_completion_tokens_total{model=pebble}"] == 6
    assert found["groundtune_prompt_tokens_total{model=pebble}"] == line["prompt_tokens"]
    assert (found["groundtune_first_token_seconds_count{}"], found["groundtune_loaded_models{}"]) == (1, 1)


def test_two_applications_count_apart(tmp_path: Path, url: str) -> None:
    ask(url)
    with live(counting_app(opened(tmp_path / "other"))) as other:
        assert not [name for name in figures(other) if "test/words" in name]


def test_clients_cannot_make_figures_without_end(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "MODELS", 3)
    for n in range(6):
        body = {"model": f"gpt-{n}", "messages": [{"content": "a"}], "max_tokens": 1}
        assert "w0" in httpx.post(f"{url}/v1/test/words", json=body).text
        httpx.get(f"{url}/{n}")
    found = figures(url)
    assert len([name for name in found if name.startswith("groundtune_prompt_tokens_total")]) == 4
    assert found["groundtune_prompt_tokens_total{model=(other)}"] == 3
    assert len([name for name in found if name.startswith("groundtune_requests_total")]) == 2


def test_health_is_the_databases(serving: Serving, url: str) -> None:
    make_keys(serving.store, [NewKey("a")])
    answer = httpx.get(f"{url}/healthz", headers={"Host": "anything"})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    with serving.store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE objects RENAME TO gone")
    answer = httpx.get(f"{url}/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "database unavailable"})
    answer = httpx.get(f"{url}/v1/files", headers={"Authorization": "Bearer x"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")


def test_a_line_says_who_asked_what_and_never_the_prompt(
    serving: Serving, url: str, written: pytest.LogCaptureFixture
) -> None:
    ((body, key),) = make_keys(serving.store, [NewKey("anna")])
    ask(url, Authorization=f"Bearer {key}")
    httpx.get(f"{url}/v1/files/file-1?token={SECRET}", headers={"Authorization": f"Bearer {key}"})
    ask(url, Authorization=f"Bearer wrong-{SECRET}")
    httpx.post(f"{url}/v1/logged", json={"prompt": SECRET}, headers={"Authorization": f"Bearer {key}"})
    first, second, third, fourth = lines(written, 4)
    assert first.pop("seconds") > 0 and first.pop("time").endswith("+00:00")
    assert first.pop("request_id").startswith("req_")
    assert first == {
        "key": body["id"], "key_name": "anna", "method": "POST", "route": "/v1/test/words", "status": 200,
        "model": "gpt-4o", "prompt_tokens": 2, "completion_tokens": 3,
    }  # fmt: skip
    assert (second["route"], second["status"]) == ("/v1/files/{file_id}", 404)
    assert (third["status"], third["key"]) == (401, None)
    assert (fourth["user"], fourth["stream"]) == ("u1\n{}", False) and "prompt" not in fourth
    everything = "\n".join(record.getMessage() for record in written.records)
    assert SECRET not in everything and key not in everything
    assert len([r for r in written.records if "\n" in r.getMessage() and r.name == "groundtune.serving.access"]) == 0


def test_the_id_in_the_log_is_the_one_that_the_client_has(url: str, written: pytest.LogCaptureFixture) -> None:
    answer = httpx.post(f"{url}/v1/fault", json={"prompt": SECRET})
    assert lines(written, 1)[0]["request_id"] == answer.headers["x-request-id"]


def test_a_fault_is_a_500_without_what_was_in_the_request(
    url: str, written: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = httpx.post(f"{url}/v1/fault", json={"prompt": SECRET})
    assert answer.status_code == 500
    assert answer.json()["error"] == {
        "message": "The server had an error while processing your request.", "type": "server_error", "param": None, "code": None,
    }  # fmt: skip
    (line,) = lines(written, 1)
    assert (line["status"], line["user"], line["safety_identifier"]) == (500, "u1", "s" * 200)
    (fault,) = [r for r in written.records if r.name == "groundtune.serving" and r.levelno == logging.ERROR]
    text = fault.getMessage()
    assert "fault in POST /v1/fault: ValueError" in text and "followed from: KeyError" in text
    assert "test_metrics_and_logs.py:" in text  # where to look
    said = "\n".join(f"{r.getMessage()}{r.exc_info}" for r in written.records) + "".join(capfd.readouterr())
    assert SECRET not in said and "Traceback" not in said


def test_prompts_are_logged_where_the_config_wants_it(tmp_path: Path, written: pytest.LogCaptureFixture) -> None:
    with live(with_faults(counting_app(opened(tmp_path, log_prompts=True)))) as url:
        httpx.post(f"{url}/v1/logged", json={"prompt": SECRET})
        chat(url, 4, True)
        line, real = lines(written, 2)
    assert (line["prompt"], line["answer"]) == (SECRET, SECRET) and "made_up" not in line
    assert SECRET in real["prompt"] and real["answer"]


def test_a_client_that_went_away_is_499(url: str, written: pytest.LogCaptureFixture) -> None:
    import socket

    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        line.sendall(b"POST /v1/logged HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        time.sleep(0.2)
    assert lines(written, 1)[0]["status"] == 499


def test_faults_of_groups_and_circles_are_told_to_the_end() -> None:
    inner = ValueError("a")
    outer = ExceptionGroup("g", [inner, TypeError("b")])
    inner.__context__ = outer
    text = where(outer)
    assert "ExceptionGroup" in text and "TypeError" in text and text.count("ValueError") == 1
    assert "ValueError: a" in where(inner, message=True)
