"""Requests that no client would send by mistake: each gets an answer of OpenAI's form that is no 5xx, and the server goes on."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from groundtune.config import Config
from groundtune.methods._setup import Setup
from groundtune.serving import app as app_module
from groundtune.serving.app import create_app
from groundtune.serving.state import Serving
from groundtune.serving.tuning.job_keeper import JobKeeper
from groundtune.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parent))
from live import live

JSON = {"content-type": "application/json"}
ASK: dict[str, Any] = {"model": "pebble", "messages": [{"role": "user", "content": "Say something."}], "max_tokens": 4}
ID = "/v1/files/{}"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    serving = Serving.open(Setup(Workspace(tmp_path_factory.mktemp("project")), Config()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app_module, "JobKeeper", lambda jobs: JobKeeper(jobs, command=("true",)))
        with live(create_app(serving)) as found:
            yield found


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        yield client


def refused(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """The error of an answer, which has OpenAI's form."""
    assert answer.status_code in (statuses or (400,)), (answer.status_code, answer.text[:500])
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return error


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


BODIES: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"hello",
    "half": b'{"model": "pebble", ',
    "bad UTF-8": b'{"model": "\xff\xfe"}',
    "UTF-8 with a mark": b"\xef\xbb\xbf[",
    "UTF-16": json.dumps(ASK).encode("utf-16")[:-1],
    "a list": b"[]",
    "null": b"null",
    "a number": b"1",
    "NaN": b'{"model": "pebble", "messages": [{"role": "user", "content": "a"}], "temperature": NaN}',
    "NaN deep inside": b'{"model": "pebble", "messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": NaN}}}]}',
    "Infinity": b'{"model": "pebble", "messages": [{"role": "user", "content": "a"}], "temperature": Infinity}',
    "1e999": b'{"model": "pebble", "messages": [{"role": "user", "content": "a"}], "temperature": 1e999}',
    "an int without end": b'{"model": "pebble", "max_tokens": ' + b"9" * 5000 + b"}",
    "a long int": b'{"model": "pebble", "messages": [{"role": "user", "content": "a"}], "max_tokens": ' + b"9" * 350 + b"}",
    "deep lists": deep(100_000).encode(),
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "deep inside": b'{"model": "pebble", "messages": ' + deep(900).encode() + b"}",
    "lone surrogate": b'{"model": "pebble", "messages": [{"role": "user", "content": "\\ud800"}]}',
    "surrogate in a name": b'{"model": "pebble", "messages": [{"role": "user", "content": "a"}], "store": true, "metadata": {"\\udfff": "a"}}',
    "surrogate as a key": b'{"model": "pebble", "\\ud83d": 1}',
}  # fmt: skip
POSTS = (
    "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/moderations", "/v1/vector_stores",
    "/v1/vector_stores/vs_1/search", "/v1/vector_stores/vs_1/files", "/v1/fine_tuning/jobs", "/v1/batches", "/v1/uploads",
    "/v1/fine_tuning/alpha/graders/run", "/v1/fine_tuning/checkpoints/ft:a/permissions",
)  # fmt: skip


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bodies(http: httpx.Client, body: bytes) -> None:
    for path in POSTS:
        error = refused(http.post(path, content=body, headers=JSON), 400, 404)
        assert error["type"] == "invalid_request_error", path
        refused(http.post(path, content=body, headers={"content-type": "application/vnd.a+json; charset=nonsense"}), 400, 404)  # fmt: skip
        refused(http.post(path, content=body, headers={"content-type": "text/plain"}), 400, 404)
        refused(http.post(path, content=body, headers={"content-type": "multipart/form-data; boundary=a"}), 400, 404)


IDS = {
    "NUL": "file-%00", "surrogate": "%ed%a0%80", "no UTF-8": "%ff", "up": "..%2f..%2f..%2fetc%2fpasswd", "dots": "%2e%2e",
    "long": "a" * 10_000, "quote": "'%20or%201=1--", "line break": "a%0d%0aset-cookie:%20b", "digits": "١٢٣", "percent": "%25s%25n",
    "spaces": "%20%20",
}  # fmt: skip


@pytest.mark.parametrize("id", IDS.values(), ids=IDS)
def test_ids(http: httpx.Client, id: str) -> None:
    for path in (
        ID, "/v1/files/{}/content", "/v1/models/{}", "/v1/batches/{}", "/v1/vector_stores/{}", "/v1/vector_stores/{}/files",
        "/v1/chat/completions/{}", "/v1/chat/completions/{}/messages", "/v1/responses/{}", "/v1/fine_tuning/jobs/{}",
        "/v1/fine_tuning/jobs/{}/events", "/v1/fine_tuning/checkpoints/{}/permissions",
    ):  # fmt: skip
        refused(http.get(path.format(id)), 404, 405)
    for path in (ID, "/v1/models/{}", "/v1/vector_stores/{}", "/v1/vector_stores/{}/files/a", "/v1/responses/{}"):
        refused(http.delete(path.format(id)), 404, 405)
    for path in ("/v1/batches/{}/cancel", "/v1/uploads/{}/cancel", "/v1/fine_tuning/jobs/{}/cancel"):
        refused(http.post(path.format(id)), 404, 405)
    for path in ("/v1/files", "/v1/batches", "/v1/vector_stores", "/v1/fine_tuning/jobs", "/v1/chat/completions"):
        assert http.get(f"{path}?after={id}").status_code == 200


@pytest.mark.parametrize("id", ["a\x00", "a" * 10_000, "../../etc/passwd", "", "\x7f", "\u2028"])
def test_ids_in_bodies(http: httpx.Client, id: str) -> None:
    refused(http.post("/v1/chat/completions", json={**ASK, "model": id}), 404)
    refused(http.post("/v1/embeddings", json={"model": f"text-embedding-{id}\x00", "input": "a"}), 404)
    refused(http.post("/v1/chat/completions", json={**ASK, "model": f"gpt-{id}\x00"}), 404)
    refused(http.post("/v1/fine_tuning/jobs", json={"model": "pebble", "training_file": id}), 404)
    refused(http.post("/v1/fine_tuning/jobs", json={"model": id, "training_file": id}), 404)
    refused(http.post("/v1/vector_stores", json={"file_ids": [id]}), 400, 404)
    refused(http.post("/v1/responses", json={"model": "pebble", "input": "a", "previous_response_id": id}), 404)
    batch = {"input_file_id": id, "endpoint": "/v1/embeddings", "completion_window": "24h"}
    refused(http.post("/v1/batches", json=batch), 404)


@pytest.mark.parametrize(
    "limit", ["-1", "0", "99999999999999999999999", "1e3", "NaN", "", "²", "٣", "-0", "9" * 5000, "%00"]
)
def test_limits(http: httpx.Client, limit: str) -> None:
    for path in ("/v1/files", "/v1/batches", "/v1/vector_stores", "/v1/fine_tuning/jobs", "/v1/chat/completions"):
        answer = http.get(f"{path}?limit={limit}")
        assert answer.status_code == 200 or refused(answer, 400), (path, limit)


def test_queries_with_brackets(http: httpx.Client) -> None:
    for query in ("metadata=a&metadata[b]=c", "metadata[a]=b&metadata[a][b]=c", "metadata[[[]]]=1", "[=1", "metadata[]=1",
                  "metadata[a]=1&" * 500, "metadata" + "[a]" * 2000 + "=1", "metadata[%00]=%ff", "order=sideways"):  # fmt: skip
        for path in ("/v1/fine_tuning/jobs", "/v1/chat/completions"):
            answer = http.get(f"{path}?{query}")
            assert answer.status_code == 200 or refused(answer, 400)


# ---------------------------------------------------------------- forms


def part(name: str, value: str = "a", more: str = "") -> str:
    return f'--b\r\ncontent-disposition: form-data; name="{name}"{more}\r\n\r\n{value}\r\n'


FILE = part("file", "{}", '; filename="a.jsonl"')
FORMS = {
    "nothing": "", "no parts": "--b--\r\n", "no end": FILE, "no purpose": FILE + "--b--\r\n", "no file": part("purpose", "batch") + "--b--\r\n",
    "file is a text": part("file") + part("purpose", "batch") + "--b--\r\n", "two files": FILE + FILE + part("purpose", "batch") + "--b--\r\n",
    "unknown purpose": FILE + part("purpose", "nonsense") + "--b--\r\n",
    "purpose twice": FILE + part("purpose", "batch") * 2 + "--b--\r\n",
    "purpose is a tree": FILE + part("purpose[a]", "batch") + "--b--\r\n",
    "purpose is a file": FILE.replace('"file"', '"purpose"') + "--b--\r\n",
    "thousands of fields": part("x") * 5000 + "--b--\r\n", "no name": "--b\r\n\r\na\r\n--b--\r\n", "a header without end": "--b\r\n" + "a" * 100_000,
    "expiry": FILE + part("purpose", "batch") + part("expires_after[anchor]", "created_at") + part("expires_after[seconds]", "²") + "--b--\r\n",
    "expiry without end": FILE + part("purpose", "batch") + part("expires_after[anchor]", "created_at") + part("expires_after[seconds]", "9" * 5000) + "--b--\r\n",
    "expiry is a text": FILE + part("purpose", "batch") + part("expires_after", "a") + "--b--\r\n",
    "expiry is a file": FILE.replace('"file"', '"expires_after[seconds]"') + part("purpose", "batch") + "--b--\r\n",
    "unknown field": FILE + part("purpose", "batch") + part("more") + "--b--\r\n",
    "transfer encoding": FILE.replace("\r\n\r\n", "\r\ncontent-transfer-encoding: base64\r\n\r\n") + "--b--\r\n",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_forms(http: httpx.Client, form: str) -> None:
    for kind in ("multipart/form-data; boundary=b", "multipart/form-data; boundary=other", "multipart/form-data", "multipart/form-data; boundary=",
                 "multipart/form-data; boundary=b; charset=unicode_escape", "multipart/form-data; boundary=b; charset=idna"):  # fmt: skip
        refused(http.post("/v1/files", content=form.encode(), headers={"content-type": kind}))
    refused(http.post("/v1/uploads/upload_1/parts", content=form.encode(), headers={"content-type": "multipart/form-data; boundary=b"}), 404)  # fmt: skip


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\\ud800b", "a" * 20_000, "a%0d%0ab", "‮gpj.exe", " ", "a/b\\\\c"]
)
def test_file_names_are_texts(http: httpx.Client, name: str) -> None:
    form = part("file", "{}", f'; filename="{name}"') + part("purpose", "batch") + "--b--\r\n"
    for charset in ("", "; charset=unicode_escape", "; charset=utf-16", "; charset=nonsense"):
        answer = http.post("/v1/files", content=form.encode(), headers={"content-type": f"multipart/form-data; boundary=b{charset}"})  # fmt: skip
        if answer.status_code == 200:
            body = answer.json()
            assert http.get(f"/v1/files/{body['id']}/content").content == b"{}"
            assert http.get("/v1/files").status_code == 200
        else:
            refused(answer, 400)


def test_parts_of_uploads(http: httpx.Client) -> None:
    wanted = {"filename": "a.txt", "purpose": "batch", "bytes": 4, "mime_type": "text/plain"}
    id = http.post("/v1/uploads", json=wanted).json()["id"]
    for form in FORMS.values():
        refused(http.post(f"/v1/uploads/{id}/parts", content=form.encode(), headers={"content-type": "multipart/form-data; boundary=b"}))  # fmt: skip
    refused(http.post(f"/v1/uploads/{id}/complete", json={"part_ids": ["../../../etc/passwd"]}), 404)
    refused(http.post(f"/v1/uploads/{id}/complete", json={"part_ids": ["a\x00"]}), 404)
    refused(http.post(f"/v1/uploads/{id}/complete", json={"part_ids": []}))
    for wrong in ({"bytes": -1}, {"bytes": 10**300}, {"filename": "\x00"}, {"expires_after": {"anchor": "created_at", "seconds": "²"}},
                  {"expires_after": {"anchor": "created_at", "seconds": True}}):  # fmt: skip
        answer = http.post("/v1/uploads", json={**wanted, **wrong})
        assert answer.status_code == 200 or refused(answer)


# ---------------------------------------------------------------- headers


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer"}, {"authorization": "Bearer \x7f"}, {"authorization": "Basic !!!!"},
        {"content-type": ""}, {"content-type": ";;;"}, {"content-type": "application/json; charset=utf-16"}, {"x-stainless-lang": "a" * 60_000},
        {"accept": "image/png"}, {"accept-encoding": "nonsense"}, {"openai-organization": "é".encode("latin-1").decode("latin-1")},
        {"range": "bytes=9-1"}, {"expect": "200-nothing"}, {"content-encoding": "gzip"}, {"cookie": ";=;=" * 1000},
    ],
)  # fmt: skip
def test_headers(http: httpx.Client, headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = http.post("/v1/moderations", content=b"{", headers=raw)
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    "host", ["[::1", "a b", "localhost:99999999", "localhost:x", "", "\xff", "127.0.0.1/../x", "a@localhost"]
)
def test_host_names(url: str, http: httpx.Client, host: str) -> None:
    for body in (ASK, {"model": "prompt", "messages": ASK["messages"], "max_tokens": 4}):
        answer = http.post("/v1/chat/completions", json=body, headers=[(b"host", host.encode("latin-1"))])
        assert answer.status_code in (200, 400, 403), (host, answer.text)


# ---------------------------------------------------------------- what costs


def schema(given: Any) -> dict[str, Any]:
    return {
        **ASK,
        "max_tokens": 30,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": given}},
    }


def nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        found = {"type": "array", "items": found}
    return found


SCHEMAS: dict[str, Any] = {
    "endless pattern": {"type": "string", "pattern": "^(([a-z]{1,1000}){1,1000}){1,1000}$"},
    "nested stars": {"type": "string", "pattern": "^((a+)+)+$"},
    "look back": {"type": "string", "pattern": "(a)\\1"},
    "no pattern": {"type": "string", "pattern": "((("},
    "huge enum": {"enum": [f"value number {n}" for n in range(50_000)]},
    "no enum": {"enum": []},
    "itself": {"$ref": "#"},
    "each other": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "elsewhere": {"$ref": "http://127.0.0.1:1/x"},
    "a file": {"$ref": "file:///etc/passwd"},
    "nowhere": {"$ref": "#/$defs/none"},
    "long": {"type": "string", "minLength": 10**9},
    "many items": {"type": "array", "minItems": 10**9},
    "many optional": {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(500)}},
    "many choices": {"anyOf": [{"properties": {f"p{n}": {"type": "string"}}} for n in range(500)]},
    "all of them": {"allOf": [{"properties": {f"p{n}": {"type": "string"}}} for n in range(500)]},
    "nested": nested(40),
    "not": {"not": {"type": "string"}},
    "impossible": {"type": "object", "properties": {"a": False}, "required": ["a"]},
    "no type": {"type": "nonsense"},
    "a list": {"properties": []},
    "numbers": {"type": "integer", "minimum": 10**300},
    "small steps": {"type": "number", "multipleOf": 1e-300},
    "format": {"type": "string", "format": "nonsense"},
}


@pytest.mark.parametrize("given", SCHEMAS.values(), ids=SCHEMAS)
def test_schemas(http: httpx.Client, given: Any) -> None:
    began = time.perf_counter()
    answer = http.post("/v1/chat/completions", json=schema(given))
    if answer.status_code == 200:
        choice = answer.json()["choices"][0]
        assert choice["finish_reason"] == "length" or json.loads(choice["message"]["content"]) is not None
    else:
        refused(answer)
    tools = [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": given}}}}
    ]
    answer = http.post("/v1/chat/completions", json={**ASK, "tools": tools, "tool_choice": "required"})
    assert answer.status_code == 200 or refused(answer)
    assert time.perf_counter() - began < 60


def test_a_schema_that_breaks_off_harms_nobody_else(http: httpx.Client) -> None:
    """llguidance gives a schema up in the middle: that answer is an error, the others beside it end well."""
    from concurrent.futures import ThreadPoolExecutor

    alone = http.post("/v1/chat/completions", json={**ASK, "temperature": 0, "max_tokens": 40}).json()["choices"][0]
    with ThreadPoolExecutor(8) as threads:
        good = [threads.submit(http.post, "/v1/chat/completions", json={**ASK, "temperature": 0, "max_tokens": 40}) for _ in range(4)]  # fmt: skip
        bad = [threads.submit(http.post, "/v1/chat/completions", json=schema(SCHEMAS["itself"])) for _ in range(4)]  # fmt: skip
        for one in good:
            assert one.result().json()["choices"][0]["message"]["content"] == alone["message"]["content"]
        for one in bad:
            refused(one.result())


ASKS: dict[str, dict[str, Any]] = {
    "n": {"n": 128, "max_tokens": 1}, "n too many": {"n": 129}, "max_tokens": {"max_tokens": 10**18}, "no tokens": {"max_tokens": 0},
    "biases": {"logit_bias": {str(n): 1 for n in range(5000)}}, "bias on none": {"logit_bias": {"99999999": 1}},
    "bias below": {"logit_bias": {"-1": 1}}, "bias digits": {"logit_bias": {"²": 1}}, "bias without end": {"logit_bias": {"9" * 5000: 1}},
    "all banned": {"logit_bias": {str(n): -100 for n in range(8192)}},
    "long stop": {"stop": "a" * 1_000_000}, "stops": {"stop": ["a" * 100_000] * 4}, "empty stop": {"stop": ""}, "NUL stop": {"stop": ["\x00"]},
    "long name": {"messages": [{"role": "user", "content": "a", "name": "n" * 100_000}]},
    "long": {"messages": [{"role": "user", "content": "word " * 200_000}]}, "many": {"messages": [{"role": "user", "content": "a"}] * 20_000},
    "NUL": {"messages": [{"role": "user", "content": "\x00\x01\x02"}]}, "marks": {"messages": [{"role": "user", "content": "<|end|><|assistant|>"}]},
    "emoji": {"messages": [{"role": "user", "content": "👩‍👩‍👧‍👦" * 20}]}, "seed": {"seed": 2**63}, "seed low": {"seed": -(2**63)},
    "metadata": {"store": True, "metadata": {"\x00": "\x00"}}, "temperature": {"temperature": 2, "top_p": 0}, "cold": {"temperature": 1e-300},
    "user": {"user": "u" * 1_000_000}, "unknown": {"x" * 100_000: 1}, "parts": {"messages": [{"role": "user", "content": [{"type": ["a"]}]}]},
    "part without type": {"messages": [{"role": "user", "content": [{}]}]}, "no content": {"messages": [{"role": "user", "content": []}]},
    "tool twice": {"tools": [{"type": "function", "function": {"name": "f"}}] * 2, "tool_choice": "required"},
    "allowed none": {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}}},
    "arguments": {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]}]},
    "arguments deep": {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "[" * 100_000}}]}]},
    "arguments NaN": {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{\"a\": NaN}"}}]}]},
}  # fmt: skip


@pytest.mark.parametrize("more", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize("model", ["pebble", "prompt"])
def test_asks(http: httpx.Client, model: str, more: dict[str, Any]) -> None:
    for stream in (False, True):
        answer = http.post("/v1/chat/completions", json={**ASK, "model": model, **more, "stream": stream})
        if answer.status_code != 200:
            refused(answer)
        elif stream:
            assert answer.text.endswith("data: [DONE]\n\n")


def test_too_many_choices(http: httpx.Client) -> None:
    wanted = {"model": "pebble", "prompt": ["a"] * 2048, "n": 128, "max_tokens": 1}
    error = refused(http.post("/v1/completions", json=wanted))
    assert error["param"] == "n"
    refused(http.post("/v1/completions", json={**wanted, "n": 1, "best_of": 20}))


def test_the_figures_and_the_log_stay_sound(http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "groundtune.serving.access")
    for name in ("gpt-" + "é" * 200, 'gpt-"\\\n', "gpt-{}", "gpt-\u2028"):
        http.post("/v1/chat/completions", json={**ASK, "model": name, "max_tokens": 1})
    assert http.get("/metrics").status_code == 200 and http.get("/usage").status_code == 200
    assert http.get("/healthz").json() == {"status": "ok"}
    for record in caplog.records:
        if record.name == "groundtune.serving.access":
            assert "\n" not in record.getMessage() and json.loads(record.getMessage())
