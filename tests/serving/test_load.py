"""64 streaming clients at once on ``groundtune serve``: no error, the answers that each request gets alone, and nothing left behind.

``make test`` runs eight seconds, ``make prove`` two minutes. Requests are mixed: greedy and drawn, held to a schema, calls of a
tool, two models, and clients that go away in the middle.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_openai_suite import free_port, wait

CLIENTS = 64
SECONDS = 120 if "GROUNDTUNE_PROVE" in os.environ else 8
WARM_SECONDS = 4
#: what the server's memory may grow by after the first seconds, bytes; seconds until /healthz must answer
GROWTH, HEALTH_SECONDS = 64 << 20, 1.0
QUESTIONS = (
    "When does the library open?",
    "Who may borrow a book?",
    "How long is a loan?",
    "What does a late book cost?",
)
SCHEMA = {
    "type": "object", "properties": {"day": {"enum": ["Monday", "Sunday"]}, "open": {"type": "boolean"}},
    "required": ["day", "open"], "additionalProperties": False,
}  # fmt: skip
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": SCHEMA}}
#: files that the database's pool may come to hold: fifteen connections, each a database, its log and its index
POOLED = 45


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, psutil.Process]]:
    port, project = free_port(), tmp_path / "project"
    project.mkdir()
    command = [sys.executable, "-m", "groundtune", "serve", "--project", str(project), "--port", str(port)]
    with (tmp_path / "server.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait(port)
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(30)
    assert b"fault" not in (tmp_path / "server.log").read_bytes()


def body(kind: str, question: str) -> dict[str, Any]:
    """A request of one kind."""
    more: dict[str, Any] = {
        "greedy": {"temperature": 0}, "system": {"temperature": 0, "model": "prompt"}, "drawn": {"temperature": 1, "seed": 7, "n": 2},
        "schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}, "max_tokens": 60},
        "tool": {"tools": [TOOL], "tool_choice": "required", "max_tokens": 60}, "dropped": {"max_tokens": 200, "temperature": 1},
    }[kind]  # fmt: skip
    return {
        "model": "pebble",
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 16,
        "stream": True,
        **more,
    }


KINDS = ("greedy", "system", "drawn", "schema", "tool", "dropped")


@dataclass
class Seen:
    """What the clients saw."""

    errors: list[str] = field(default_factory=list)
    answers: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    health_seconds: list[float] = field(default_factory=list)


async def ask(http: httpx.AsyncClient, kind: str, question: str) -> str:
    """The whole answer of one request, or the first of it."""
    texts: dict[int, str] = {}
    finished: set[int] = set()
    async with http.stream("POST", "/v1/chat/completions", json=body(kind, question)) as answer:
        if answer.status_code != 200:
            raise AssertionError(f"{kind}: {answer.status_code} {(await answer.aread())[:300]!r}")
        done = False
        async for line in answer.aiter_lines():
            if line == "data: [DONE]":
                done = True
            elif line.startswith("data: "):
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    raise AssertionError(f"{kind}: {chunk['error']}")
                for choice in chunk["choices"]:
                    calls = choice["delta"].get("tool_calls") or []
                    said = choice["delta"].get("content") or "".join(c["function"]["arguments"] for c in calls)
                    texts[choice["index"]] = texts.get(choice["index"], "") + said
                    finished |= {choice["index"]} if choice["finish_reason"] else set()
                if kind == "dropped" and any(texts.values()):
                    return ""
        if not done or finished != set(texts):
            raise AssertionError(f"{kind}: the stream ended early")
    return "\n".join(text for _, text in sorted(texts.items()))


async def load(url: str, seconds: float, seen: Seen) -> None:
    """All clients at once, each its next request as soon as it has its answer."""
    until = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=CLIENTS + 1, max_keepalive_connections=CLIENTS)

    async def client(http: httpx.AsyncClient, number: int) -> None:
        turn = number
        while time.monotonic() < until:
            kind, question = KINDS[turn % len(KINDS)], QUESTIONS[turn // len(KINDS) % len(QUESTIONS)]
            try:
                text = await ask(http, kind, question)
                seen.answers.setdefault((kind, question), Counter())[text] += 1
                seen.counts[kind] += 1
            except (AssertionError, httpx.HTTPError, ValueError) as error:
                seen.errors.append(f"{kind}: {type(error).__name__}: {error}")
            turn += 1

    async def watch() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:
            while time.monotonic() < until:
                began = time.monotonic()
                assert (await http.get("/healthz")).status_code == 200
                seen.health_seconds.append(time.monotonic() - began)
                await asyncio.sleep(0.2)

    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=300, trust_env=False) as http:
        await asyncio.gather(watch(), *(client(http, n) for n in range(CLIENTS)))


def alone(url: str, kind: str, question: str) -> str:
    """The answer to one request that nobody else disturbs."""

    async def one() -> str:
        async with httpx.AsyncClient(base_url=url, timeout=300, trust_env=False) as http:
            return await ask(http, kind, question)

    return asyncio.run(one())


def figures(url: str) -> dict[str, float]:
    """Of /metrics."""
    lines = httpx.get(f"{url}/metrics", trust_env=False).text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def quiet(process: psutil.Process, url: str, files: int) -> None:
    """Wait until every connection is closed; see that nothing is under way and nothing is computed."""
    for _ in range(150):
        now = figures(url)
        if process.num_fds() <= files and not now["groundtune_in_flight"] and not now["groundtune_waiting"]:
            break
        time.sleep(0.1)
    else:
        raise AssertionError(f"{process.num_fds()} files, {files} before; {now['groundtune_in_flight']} in flight")
    before = process.cpu_times()
    time.sleep(2)
    after = process.cpu_times()
    assert after.user + after.system - before.user - before.system < 0.5, "the engine goes on"


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 240)
def test_many_clients(server: tuple[str, psutil.Process]) -> None:
    url, process = server
    same = {(kind, q): alone(url, kind, q) for kind in ("greedy", "system", "drawn") for q in QUESTIONS}
    assert all(same.values()) and len(set(same.values())) > 4
    asyncio.run(load(url, WARM_SECONDS, Seen()))
    time.sleep(1)
    memory, threads, files = process.memory_info().rss, process.num_threads(), process.num_fds() + POOLED
    seen = Seen()
    asyncio.run(load(url, SECONDS, seen))
    assert not seen.errors, seen.errors[:5]
    assert min(seen.counts[kind] for kind in KINDS) > 0, seen.counts
    for (kind, question), answers in seen.answers.items():
        if (kind, question) in same:
            assert set(answers) == {same[kind, question]}, (kind, question, answers)
        if kind == "schema":
            assert all(set(json.loads(text)) == {"day", "open"} for text in answers), answers
        if kind == "tool":
            assert all(set(json.loads(text)) == {"day", "open"} for text in answers), answers
    quiet(process, url, files)
    grown = process.memory_info().rss - memory
    print(
        f"{seen.counts.total()} requests, /healthz {max(seen.health_seconds):.2f} s at most, {grown >> 20} MiB more, ",
        end="",
    )
    print(f"{process.num_threads()} threads ({threads} before)")
    assert grown < GROWTH
    assert process.num_threads() <= threads + 4
    assert max(seen.health_seconds) < HEALTH_SECONDS, sorted(seen.health_seconds)[-5:]
    assert {(kind, q): alone(url, kind, q) for kind, q in same} == same
