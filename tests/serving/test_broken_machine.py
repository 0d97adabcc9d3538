"""Full disks, locked and broken databases, kills, bodies without end, faults of a model: an error of OpenAI's form, and it goes on."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from groundtune.config import Config, ServeConfig
from groundtune.errors import WorkspaceError
from groundtune.methods._setup import Setup
from groundtune.serving import connections
from groundtune.serving.app import create_app
from groundtune.serving.state import Serving
from groundtune.serving.storage import database
from groundtune.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parent))
from live import live
from test_openai_suite import free_port, wait

ASK: dict[str, Any] = {"model": "pebble", "messages": [{"role": "user", "content": "Say something."}], "max_tokens": 20, "temperature": 0}  # fmt: skip


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serving:
    monkeypatch.setattr(database, "_PATIENCE", 1)
    return Serving.open(Setup(Workspace(tmp_path), Config(serve=ServeConfig(body_megabytes=1, upload_megabytes=2))))


@pytest.fixture
def app(serving: Serving) -> Any:
    return create_app(serving)


@pytest.fixture
def http(app: Any) -> Iterator[httpx.Client]:
    with live(app) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        yield client


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def upload(http: httpx.Client, content: bytes = b"{}\n") -> httpx.Response:
    return http.post("/v1/files", files={"file": ("a.jsonl", content)}, data={"purpose": "batch"})


# ---------------------------------------------------------------- the database


def test_a_database_that_another_process_holds(http: httpx.Client, serving: Serving) -> None:
    """Who writes is told to come again, who reads is answered, and nobody waits for those who wait."""
    kept = upload(http).json()["id"]
    holder = sqlite3.connect(serving.folder / "serving.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with ThreadPoolExecutor(50) as threads:
            writing = [threads.submit(http.post, "/v1/vector_stores", json={}) for _ in range(50)]
            time.sleep(0.3)
            began = time.monotonic()
            assert http.get("/healthz").status_code == 200
            assert time.monotonic() - began < 1
            assert refused(upload(http), 503)["type"] == "server_error"
            assert http.get(f"/v1/files/{kept}").status_code == 200
            assert {one.result().status_code for one in writing} == {503}
        assert http.post("/v1/chat/completions", json=ASK).status_code == 200  # its use is written down later
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert upload(http).status_code == 200 and http.post("/v1/chat/completions", json=ASK).status_code == 200
    found = http.get("/metrics").text
    assert "groundtune_in_flight 0.0" in found
    from groundtune.serving.callers.usage import totals

    assert totals(serving.store)["anonymous"].requests == 2


def test_batches_and_stores_go_on_when_it_is_free_again(http: httpx.Client, serving: Serving) -> None:
    row = {"custom_id": "a", "method": "POST", "url": "/v1/moderations", "body": {"input": "a"}}
    batch = upload(http, json.dumps(row).encode()).json()["id"]
    text = http.post("/v1/files", files={"file": ("a.txt", b"The library opens at nine.")}, data={"purpose": "assistants"}).json()["id"]  # fmt: skip
    wanted = {"input_file_id": batch, "endpoint": "/v1/moderations", "completion_window": "24h"}
    batch_id = http.post("/v1/batches", json=wanted).json()["id"]
    store = http.post("/v1/vector_stores", json={"file_ids": [text]}).json()["id"]
    holder = sqlite3.connect(serving.folder / "serving.db", isolation_level=None, timeout=20)
    holder.execute("BEGIN IMMEDIATE")
    time.sleep(4)
    holder.execute("ROLLBACK")
    holder.close()
    for _ in range(200):
        states = http.get(f"/v1/batches/{batch_id}").json()["status"], http.get(f"/v1/vector_stores/{store}").json()["file_counts"]["completed"]  # fmt: skip
        if states == ("completed", 1):
            break
        time.sleep(0.1)
    assert states == ("completed", 1)


@pytest.mark.parametrize(
    "content", [b"no database at all, but a text of some length" * 100, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_broken_database_is_told(tmp_path: Path, content: bytes) -> None:
    setup = Setup(Workspace(tmp_path), Config())
    folder = setup.workspace.path("serving")
    folder.mkdir(parents=True)
    (folder / "serving.db").write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"database cannot be opened.*serving\.db"):
        Serving.open(setup)
    assert (folder / "serving.db").read_bytes() == content


def test_a_project_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".groundtune").write_text("a file where the folder should be")
    with pytest.raises(WorkspaceError, match="cannot be made"):
        Serving.open(Setup(Workspace(tmp_path), Config()))


# ---------------------------------------------------------------- the disk


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("may not mount a small disk here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk(small: Path) -> None:
    serving = Serving.open(Setup(Workspace(small), Config()))
    with live(create_app(serving)) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        kept = upload(http, b"{}").json()["id"]
        refused(upload(http, b"a" * 1_200_000), 507)
        assert [p.name for p in serving.files.folder.iterdir()] == [kept]
        wanted = {"filename": "a", "purpose": "batch", "bytes": 1_200_000, "mime_type": "a/b"}
        id = http.post("/v1/uploads", json=wanted).json()["id"]
        refused(http.post(f"/v1/uploads/{id}/parts", files={"data": b"a" * 1_200_000}), 507)
        filler = small / "filler"
        with filler.open("wb", buffering=0) as out, pytest.raises(OSError, match="No space"):
            while True:
                out.write(b"0" * 4096)
        answers = [http.post("/v1/vector_stores", json={"name": "a" * 20_000}) for _ in range(6)]
        assert refused(answers[-1], 503)["type"] == "server_error"
        assert http.get("/healthz").status_code == 200 and http.get(f"/v1/files/{kept}/content").content == b"{}"
        assert http.post("/v1/chat/completions", json=ASK).status_code == 200
        filler.unlink()
        assert upload(http).status_code == 200 and http.post("/v1/vector_stores", json={}).status_code == 200


def test_a_read_only_disk(http: httpx.Client, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **more: Any) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", refuse)
    wanted = {"filename": "a", "purpose": "batch", "bytes": 2, "mime_type": "a/b"}
    assert "Read-only" in refused(http.post("/v1/uploads", json=wanted), 507)["message"]


# ---------------------------------------------------------------- bodies and kills


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=b", "text/plain"])
def test_a_body_without_end(app: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused at its limit; what comes behind is read and thrown away for a while, so that the client sees the answer."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.2)
    with live(app, http=connections.Patient) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        send_too_much(http, kind)


def send_too_much(http: httpx.Client, kind: str) -> None:
    path = "/v1/files" if "form" in kind else "/v1/chat/completions"
    head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n' if "form" in kind else b'"'
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield head
        while sent < 1 << 30:
            sent += 1 << 16
            yield b"a" * (1 << 16)
            time.sleep(0.001)

    with suppress(httpx.WriteError, httpx.ReadError):  # the server has closed the connection before everything was sent
        refused(http.post(path, content=endless(), headers={"content-type": kind}), 413)
    assert sent < 900 << 20
    line = socket.create_connection((http.base_url.host, http.base_url.port or 80), timeout=10)
    line.sendall(
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {2 << 30}\r\n\r\n".encode()
    )
    assert b" 413 " in line.recv(1000)
    assert http.get("/healthz").status_code == 200


def test_killed_in_the_middle_of_an_upload(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()

    def serve(port: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "groundtune", "serve", "--project", str(project), "--port", str(port)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    port = free_port()
    server = serve(port)
    try:
        wait(port)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            kept = upload(http).json()["id"]
        line = socket.create_connection(("127.0.0.1", port))
        line.sendall(
            b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 9999999\r\n\r\n"
        )
        line.sendall(b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"a" * 3_000_000)
        time.sleep(0.3)
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait(10)
    server = serve(port)
    try:
        wait(port)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            assert [file["id"] for file in http.get("/v1/files").json()["data"]] == [kept]
            assert upload(http).status_code == 200
    finally:
        server.terminate()
        server.wait(10)


# ---------------------------------------------------------------- the model


def test_a_fault_of_the_model(http: httpx.Client, app: Any) -> None:
    """Out of memory in one step: those under way get an error, whole or in their stream, and the next are answered."""
    good = http.post("/v1/chat/completions", json=ASK).json()["choices"][0]["message"]["content"]
    (loaded,) = app.state.generators.engines._loaded.values()
    runner, step = loaded.engine.runner, loaded.engine.runner.step
    left = [1, 1, 1]

    def broken(*args: Any) -> Any:
        if left:
            left.pop()
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return step(*args)

    runner.step = broken
    error = refused(http.post("/v1/chat/completions", json=ASK), 500)
    assert error["type"] == "server_error" and "Allocator" not in error["message"]
    streamed = http.post("/v1/chat/completions", json={**ASK, "stream": True})
    events = [line.removeprefix("data: ") for line in streamed.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]" and json.loads(events[-2])["error"]["type"] == "server_error"
    assert refused(http.post("/v1/chat/completions", json={**ASK, "model": "prompt"}), 500)["type"] == "server_error"
    assert http.post("/v1/chat/completions", json=ASK).json()["choices"][0]["message"]["content"] == good
    assert "groundtune_in_flight 0.0" in http.get("/metrics").text


def test_two_servers_on_one_project(tmp_path: Path) -> None:
    """Batches are worked off by one of them, once; what one takes in the other leaves alone."""
    setup = Setup(Workspace(tmp_path), Config())
    row = {"method": "POST", "url": "/v1/moderations", "body": {"input": "a"}}
    lines = b"\n".join(json.dumps({**row, "custom_id": str(n)}).encode() for n in range(60))
    with live(create_app(Serving.open(setup))) as one, live(create_app(Serving.open(setup))) as other:
        first, second = (httpx.Client(base_url=url, timeout=60, trust_env=False) for url in (one, other))
        half = Serving.open(setup).files.folder / "file-half.part"
        half.write_bytes(b"coming in")
        with live(create_app(Serving.open(setup))) as third:
            assert httpx.get(f"{third}/healthz", trust_env=False).status_code == 200
        assert half.exists()
        ids = []
        for http in (first, second, first):
            wanted = {
                "input_file_id": upload(http, lines).json()["id"],
                "endpoint": "/v1/moderations",
                "completion_window": "24h",
            }
            ids.append(http.post("/v1/batches", json=wanted).json()["id"])
        for id in ids:
            for _ in range(300):
                body = second.get(f"/v1/batches/{id}").json()
                if body["status"] == "completed":
                    break
                time.sleep(0.1)
            assert body["status"] == "completed" and body["request_counts"] == {
                "total": 60,
                "completed": 60,
                "failed": 0,
            }
            output = first.get(f"/v1/files/{body['output_file_id']}/content").text.splitlines()
            assert sorted(json.loads(line)["custom_id"] for line in output) == sorted(str(n) for n in range(60))
