"""A server on a temporary project for each file of notebooks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from notebook_server import NotebookServer


@pytest.fixture(scope="module")
def notebook_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookServer]:
    pytest.importorskip("openai")
    server = NotebookServer(tmp_path_factory.mktemp("notebook"))
    try:
        server.start()
        yield server
    finally:
        server.close()
