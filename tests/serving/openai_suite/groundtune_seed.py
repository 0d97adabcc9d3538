"""pytest plugin for openai-python's own tests: before each of them the objects that they name by fixed ids are there anew.

Their tests delete, cancel and complete the same ids over and over, on a server that answers from examples. Nothing of the tests
is changed: this writes into the database of the server that they talk to. ``GROUNDTUNE_SEED_PROJECT`` is its project.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from groundtune.config import Config
from groundtune.methods._setup import Setup
from groundtune.serving.state import Serving
from groundtune.workspace import Workspace

_OPENED: list[Serving] = []
FT = "ft:gpt-4o-mini-2024-07-18:org:weather:B7R9VjQd"
JOB = "ft-AF1WoRqd3aJAHsqc9NY7iL8F"


def _serving() -> Serving:
    if not _OPENED:
        _OPENED.append(Serving.open(Setup(Workspace(Path(os.environ["GROUNDTUNE_SEED_PROJECT"])), Config())))
    return _OPENED[0]


def _put(kind: str, id: str, body: dict[str, Any], parent: str = "", state: str = "") -> None:
    store = _serving().store
    store.remove(kind, id, parent=parent)
    store.add(kind, body, id=id, parent=parent, state=state)


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest) -> None:
    """The objects that the test at hand names."""
    where, name = str(request.node.nodeid), str(request.node.name)
    now = int(time.time())
    _files(now)
    if "fine_tuning" in where:
        _jobs(now, "paused" if "resume" in name else "running")
    if "test_models" in where:
        _model("ft:gpt-4o-mini:acemeco:suffix:abc123")
    if "upload" in where:
        _upload(now)
    if "vector_store" in where:
        _vector_stores(now)
    if "test_batches" in where:
        _batch(now)
    if "chat" in where:
        _chat(now)


def _files(now: int) -> None:
    serving = _serving()
    for id, purpose in (("file-abc123", "fine-tune"), ("file_id", "assistants"), ("input_file_id", "batch"), ("string", "assistants")):  # fmt: skip
        (serving.files.folder / id).write_bytes(b'{"messages": []}\n')
        body = {
            "object": "file",
            "bytes": 17,
            "created_at": now,
            "filename": "a.jsonl",
            "purpose": purpose,
            "status": "processed",
        }
        _put("file", id, body)


def _model(name: str) -> None:
    folder = _serving().folder / "models" / "seeded"
    folder.mkdir(parents=True, exist_ok=True)
    _put(
        "model", name, {"object": "model", "base": "pebble", "folder": "models/seeded", "adapter": False, "job": "none"}
    )


def _jobs(now: int, status: str) -> None:
    """A job that nobody works on: a lock of ours holds off the workers."""
    numbers = {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.0}
    _put("job", JOB, {
        "object": "fine_tuning.job", "model": "gpt-4o-mini-2024-07-18", "organization_id": "groundtune", "error": None,
        "fine_tuned_model": None, "finished_at": None, "estimated_finish": None, "trained_tokens": None, "result_files": [],
        "status": status, "training_file": "file-abc123", "validation_file": None, "hyperparameters": numbers,
        "method": {"type": "supervised", "supervised": {"hyperparameters": numbers}}, "seed": 0, "integrations": [],
        "metadata": None, "user_provided_suffix": None, "created_at": now,
    }, state="seeded")  # fmt: skip
    for model in (FT, JOB):
        _model(model)
    _put("permission", "cp_zc4Q7MP6XxulcVzj4MZdwsAB", {"object": "checkpoint.permission", "project_id": "p"}, parent=FT)


def _upload(now: int) -> None:
    folder = _serving().folder / "uploads" / "upload_abc123"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "string").write_bytes(b"12345")
    _put("upload", "upload_abc123", {
        "object": "upload", "filename": "a.txt", "bytes": 5, "purpose": "assistants", "status": "pending", "file": None,
        "created_at": now, "expires_at": now + 3600, "keep_seconds": None,
    }, state="pending")  # fmt: skip
    _put("part", "string", {"object": "upload.part", "upload_id": "upload_abc123"}, parent="upload_abc123")


def _vector_stores(now: int) -> None:
    import numpy as np

    from groundtune.serving.vectors.vector_index import write_shard

    for store in ("vector_store_id", "vs_abc123"):
        data = _serving().folder / "vector_stores" / store / "seeded.parquet"
        data.parent.mkdir(parents=True, exist_ok=True)
        write_shard(data, [("A text.", np.eye(1, 384, dtype=np.float32))])
        _put("vector_store", store, {
            "object": "vector_store", "name": "a", "description": None, "metadata": {}, "last_active_at": now, "expires_after": None,
        })  # fmt: skip
        for file in ("file_id", "file-abc123"):
            _put("vector_store_file", file, {
                "object": "vector_store.file", "vector_store_id": store, "status": "completed", "usage_bytes": 0, "attributes": {},
                "last_error": None, "batch": None, "embedder": "", "data": "seeded.parquet",
                "chunking_strategy": {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}},
            }, parent=store, state="completed")  # fmt: skip
        for batch in ("batch_id", "vsfb_abc123"):
            body = {
                "object": "vector_store.files_batch",
                "created_at": now,
                "cancelled": False,
                "vector_store_id": store,
            }
            _put("vector_store_batch", batch, body, parent=store)


def _batch(now: int) -> None:
    for _ in range(200):  # what the test before cancelled is still being ended, which would end this one
        earlier = _serving().store.get("batch", "batch_id")
        if earlier is None or earlier["status"] != "cancelling":
            break
        time.sleep(0.05)
    times = {
        f"{s}_at": None
        for s in ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
    }
    _put("batch", "batch_id", {
        "object": "batch", "endpoint": "/v1/responses", "errors": None, "input_file_id": "input_file_id", "completion_window": "24h",
        "status": "in_progress", "output_file_id": None, "error_file_id": None, "created_at": now, "expires_at": now + 86_400, **times,
        "request_counts": {"total": 1, "completed": 0, "failed": 0}, "metadata": None, "caller": "anonymous", "output_expires_after": None,
    }, state="seeded")  # fmt: skip


def _chat(now: int) -> None:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "a", "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    body = {"object": "chat.completion", "created": now, "model": "pebble", "choices": [choice], "metadata": {}}
    _put("chat_completion", "completion_id", body)
    _put(
        "chat_message",
        "completion_id-0",
        {"role": "assistant", "content": "q", "refusal": None},
        parent="completion_id",
    )
