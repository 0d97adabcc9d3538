"""Clients that are slow on purpose, forgotten or too many: they are let go, and others are answered meanwhile."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from groundtune.config import Config
from groundtune.methods._setup import Setup
from groundtune.serving import connections
from groundtune.serving.app import create_app
from groundtune.serving.connections import Patient, raise_file_limit
from groundtune.serving.state import Serving
from groundtune.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parent))
from live import live

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "READ_SECONDS"):
        monkeypatch.setattr(connections, name, 1.0)
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.1)
    with live(create_app(Serving.open(Setup(Workspace(tmp_path), Config()))), http=Patient) as url:
        yield int(url.rpartition(":")[2])


def opened(port: int, *, receive_bytes: int = 0) -> socket.socket:
    line = socket.socket()
    if receive_bytes:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    line.connect(("127.0.0.1", port))
    line.settimeout(10)
    return line


def closed_after(line: socket.socket) -> float:
    """Seconds until the server closes a connection that says nothing more."""
    began = time.monotonic()
    try:
        while line.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - began


def test_a_client_that_says_nothing(port: int) -> None:
    assert 0.5 < closed_after(opened(port)) < 4


@pytest.mark.parametrize("more", [b"", HEAD], ids=["from the start", "in the middle"])
def test_a_head_that_drips(port: int, more: bytes) -> None:
    """Byte for byte, so that there is always something new: the time is counted from the beginning."""
    line, began = opened(port), time.monotonic()
    line.sendall(more)
    with pytest.raises(ConnectionError):
        while time.monotonic() - began < 8:
            line.sendall(b"x-a: b\r\n" if more else HEAD[:1])
            time.sleep(0.2)
    assert time.monotonic() - began < 5


def test_a_second_head_that_drips(port: int) -> None:
    line = opened(port)
    line.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert b"200" in line.recv(1000)
    began = time.monotonic()
    with pytest.raises(ConnectionError):
        while time.monotonic() - began < 8:
            line.sendall(b"G")
            time.sleep(0.2)
    assert time.monotonic() - began < 5


def test_a_body_that_does_not_come(port: int) -> None:
    line = opened(port)
    line.sendall(HEAD + b"content-length: 1000\r\n\r\n{")
    assert 0.5 < closed_after(line) < 4


def test_a_slow_body_is_waited_for(port: int) -> None:
    body = json.dumps(
        {"model": "pebble", "messages": [{"role": "user", "content": "a" * 20}], "max_tokens": 2}
    ).encode()
    line = opened(port)
    line.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body))
    for start in range(0, len(body), 20):
        line.sendall(body[start : start + 20])
        time.sleep(0.4)
    assert b"200 OK" in line.recv(1000)


def test_a_stream_that_nobody_reads(port: int) -> None:
    """The answer is longer than what the system holds for a client: the server gives up, and its place is free."""
    ask: dict[str, Any] = {"model": "pebble", "messages": [{"role": "user", "content": "a"}], "stream": True, "n": 40, "max_tokens": 400,
           "logprobs": True, "top_logprobs": 20, "temperature": 1}  # fmt: skip
    body = json.dumps(ask).encode()
    line = opened(port, receive_bytes=4096)
    line.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
    deadline = time.monotonic() + 60
    seen = 0.0
    while time.monotonic() < deadline:
        found = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        now = float(found.split("\ngroundtune_in_flight ")[1].split()[0])
        if seen and not now:
            break
        seen = max(seen, now)
        time.sleep(0.1)
    assert seen == 1 and now == 0
    line.settimeout(5)
    rest = 0
    try:
        while part := line.recv(1 << 20):
            rest += len(part)
    except ConnectionError:
        pass
    assert rest < 16 << 20  # cut off: the whole is tens of megabytes


def test_a_long_answer_is_no_slow_client(port: int) -> None:
    """While the server works, nobody counts."""
    ask = {
        "model": "pebble",
        "messages": [{"role": "user", "content": "a"}],
        "n": 20,
        "max_tokens": 150,
        "temperature": 1,
    }
    began = time.monotonic()
    answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=ask, timeout=60, trust_env=False)
    assert answer.status_code == 200 and time.monotonic() - began > 1.2


def test_too_many_connections(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patient, "most", 5)
    held = [opened(port) for _ in range(5)]
    time.sleep(0.2)
    assert closed_after(opened(port)) < 0.5
    for line in held:
        line.close()
    time.sleep(0.3)
    assert httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200


def test_the_file_limit() -> None:
    import resource

    found = raise_file_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 0 < found < soft and (soft == hard or soft >= 65_536 or hard == resource.RLIM_INFINITY)
