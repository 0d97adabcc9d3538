"""A server on a free port of this machine, and the official client on it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from postgres_cluster import Cluster, Unavailable, cluster

from groundtune.config import Config, ServeConfig
from groundtune.methods._setup import Setup
from groundtune.serving.app import create_app
from groundtune.serving.state import Serving
from groundtune.workspace import Workspace


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL for this run; tests that want it are skipped where there is none."""
    try:
        running = cluster()
        found = running.__enter__()
    except Unavailable as reason:
        pytest.skip(f"no PostgreSQL: {reason}")
    yield found
    running.__exit__(None, None, None)


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Gives addresses of empty databases, of each kind in turn."""
    if request.param == "sqlite":
        numbers = iter(range(1000))
        return lambda: f"sqlite:///{tmp_path}/database{next(numbers)}/serving.db"
    found: Cluster = request.getfixturevalue("postgres")
    return found.new


@pytest.fixture
def anywhere(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Serving]:
    """A server's state on each kind of database in turn."""
    config = Config(serve=ServeConfig(database=new_database()))
    opened = Serving.open(Setup(Workspace(tmp_path), config))
    yield opened
    opened.store.close()


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    return Serving.open(Setup(Workspace(tmp_path), Config()))


@pytest.fixture
def app(serving: Serving) -> Any:
    return create_app(serving)


@pytest.fixture
def base_url(app: Any) -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}/v1"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def client(base_url: str) -> Any:
    openai = pytest.importorskip("openai")
    return openai.OpenAI(base_url=base_url, api_key="nobody", max_retries=0)
