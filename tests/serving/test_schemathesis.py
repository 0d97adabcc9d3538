"""Schemathesis on our own OpenAPI description: no 5xx, no status, content type or body that the description does not have.

Requests are generated from the description, right and wrong ones. Ids and names of models in them are replaced by some that there
are, half of the time, and asks for many tokens by asks for few. ``make test`` runs a seeded minute, ``make prove`` 20 minutes.
"""

from __future__ import annotations

import json
import os
import random
import re
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
from groundtune.serving.chats.chat_request import _NOT_OFFERED as NO_CHATS
from groundtune.serving.chats.response_request import _NOT_OFFERED as NO_RESPONSES
from groundtune.serving.state import Serving
from groundtune.serving.storage.store import New
from groundtune.serving.tuning.job_keeper import JobKeeper
from groundtune.serving.tuning.jobs import event
from groundtune.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parent))
from live import live

schemathesis = pytest.importorskip("schemathesis")

PROVE = "GROUNDTUNE_PROVE" in os.environ
#: seconds of the long run; requests of each operation in a round
SECONDS, ROUND = 1200, {"get": 9, "delete": 9, "post": 40}
LINE = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
#: fields whose values are few: field -> most
FEW = {
    "max_tokens": 4, "max_completion_tokens": 4, "max_output_tokens": 4, "n": 2, "best_of": 3, "max_num_results": 50,
}  # fmt: skip
#: operations after which what they were about is gone, or over
USES_UP = re.compile("^DELETE|/(cancel|complete|pause|resume)$")
#: field or parameter -> what it is an id of
OF = {
    "file_id": "file", "file_ids": "file", "training_file": "tuning file", "validation_file": "tuning file", "input_file_id": "batch file",
    "upload_id": "upload", "part_ids": "part", "vector_store_id": "vector_store", "vector_store_ids": "vector_store",
    "fine_tuning_job_id": "job", "fine_tuned_model_checkpoint": "tuned", "permission_id": "permission", "completion_id": "chat",
    "response_id": "response", "previous_response_id": "response", "model": "model", "after": "file",
}  # fmt: skip
#: models, and which routes ask for them
MODELS = {
    "embedder": ("text-embedding-3-small", "minilm"), "moderator": ("word-lists", "omni-moderation-latest"),
    "model": ("pebble", "gpt-4o-mini", "prompt", "pebble", "minilm"),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Serving]]:
    serving = Serving.open(Setup(Workspace(tmp_path_factory.mktemp("project")), Config()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app_module, "JobKeeper", lambda jobs: JobKeeper(jobs, command=("true",)))  # nothing is trained
        with live(create_app(serving)) as url:
            yield url, serving


class Known:
    """Objects that there are: made by the API itself, again where a request has deleted them."""

    def __init__(self, url: str, serving: Serving) -> None:
        self.http, self.serving = httpx.Client(base_url=url, timeout=120, trust_env=False), serving
        self.ids: dict[str, list[str]] = {}
        self.turn = 0

    def refresh(self) -> None:
        """See that there is one of each kind."""
        self.ids = {kind: [*names] for kind, names in MODELS.items()}
        self._file("file", "assistants", b"The library opens at nine.", "a.txt")
        self._file("tuning file", "fine-tune", (json.dumps(LINE) + "\n").encode() * 10, "a.jsonl")
        request = {
            "custom_id": "a",
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {"model": "minilm", "input": "a"},
        }
        self._file("batch file", "batch", json.dumps(request).encode(), "b.jsonl")
        self._made("upload", "/uploads", filename="a", purpose="batch", bytes=2, mime_type="a/b")
        answer = self.http.post(f"/v1/uploads/{self.ids['upload'][0]}/parts", files={"data": b"{}"})
        self.ids["part"] = [answer.json()["id"]]
        self._made("vector_store", "/vector_stores", file_ids=self.ids["file"], name="a")
        self._made(
            "store batch", f"/vector_stores/{self.ids['vector_store'][0]}/file_batches", file_ids=self.ids["file"]
        )
        self._made("job", "/fine_tuning/jobs", model="gpt-4o-mini", training_file=self.ids["tuning file"][0])
        self._move_job()
        self._made(
            "batch",
            "/batches",
            input_file_id=self.ids["batch file"][0],
            endpoint="/v1/embeddings",
            completion_window="24h",
        )
        ask = {"model": "pebble", "messages": LINE["messages"][:1], "max_tokens": 2}
        self._made("chat", "/chat/completions", **ask, store=True, metadata={"a": "b"})
        self._made("response", "/responses", model="pebble", input="a", max_output_tokens=2)
        name = f"ft:pebble:us::{len(self.serving.store.all('model'))}"
        folder = self.serving.folder / "models" / "made"
        folder.mkdir(parents=True, exist_ok=True)
        body = {"object": "model", "base": "pebble", "folder": "models/made", "adapter": False, "job": "none"}
        self.serving.store.add("model", body, id=name)
        self.ids["tuned"] = [name]
        path = f"/v1/fine_tuning/checkpoints/{name}/permissions"
        self.ids["permission"] = [self.http.post(path, json={"project_ids": ["a"]}).json()["data"][0]["id"]]

    def _move_job(self) -> None:
        """A job that got somewhere, in another state each time."""
        id, store = self.ids["job"][0], self.serving.store
        self.turn += 1
        failed = {"code": "server_error", "message": "a", "param": None}
        ways: list[dict[str, Any]] = [
            {"status": "running", "trained_tokens": 3}, {"status": "paused"}, {"status": "queued"}, {"status": "failed", "error": failed},
            {"status": "succeeded", "finished_at": 1, "fine_tuned_model": "ft:a", "result_files": ["file-a"]}, {"status": "validating_files"},
        ]  # fmt: skip
        store.change("job", id, lambda _: ways[self.turn % len(ways)])
        metrics = {"step": 1, "total_steps": 2, "train_loss": 1.5}
        body = {"object": "fine_tuning.job.checkpoint", "fine_tuning_job_id": id, "fine_tuned_model_checkpoint": "ft:a", "step_number": 1, "metrics": metrics}  # fmt: skip
        store.add_all(
            [event(id, "step 1", "Step 1/2", data=metrics), New("checkpoint", f"ftckpt_{id}", body, parent=id)]
        )

    def _file(self, kind: str, purpose: str, content: bytes, name: str) -> None:
        answer = self.http.post("/v1/files", files={"file": (name, content)}, data={"purpose": purpose})
        self.ids[kind] = [answer.json()["id"]]

    def _made(self, kind: str, path: str, **body: Any) -> None:
        self.ids[kind] = [self.http.post(f"/v1{path}", json=body).raise_for_status().json()["id"]]

    def instead(self, field: str, path: str, value: Any, pick: int) -> Any:
        """An id or a name in place of one that was generated."""
        kind = OF.get(field)
        if field == "model" and path.endswith(("/embeddings", "/moderations")):
            kind = "embedder" if path.endswith("/embeddings") else "moderator"
        if field == "batch_id":
            kind = "store batch" if "vector_stores" in path else "batch"
        if field == "model" and path.endswith("/models/{model}") and ("DELETE" in path or pick % 3):
            kind = "tuned"
        if field == "file_id" and path.endswith("/content") and "vector_stores" not in path:
            kind = "batch file"
        if kind is None or pick % 2:
            return value
        found = self.ids[kind][pick // 2 % len(self.ids[kind])]
        return [found] if isinstance(value, list) else found


def made_real(value: Any, known: Known, path: str, pick: int) -> Any:
    """A body with ids that there are, and asks for few tokens."""
    if isinstance(value, list):
        return [made_real(one, known, path, pick) for one in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for field, own in value.items():
        if field in OF or field == "batch_id":
            own = known.instead(field, path, own, pick)
        elif field in FEW and type(own) is int and own > FEW[field]:
            own = FEW[field] if pick % 40 else own
        out[field] = made_real(own, known, path, pick)
    return out


def made_possible(body: Any, path: str, pick: int) -> None:
    """What asks for too much at once asks for a part of it; where nothing is said of tokens, a few are written."""
    if isinstance(body, dict) and path.endswith(("completions", "/responses")) and pick % 8:
        offered = set(body) - {*NO_CHATS, *NO_RESPONSES}
        kept = {field for n, field in enumerate(sorted(offered)) if (pick >> n % 9) & 1}
        for field in set(body) - kept - {"model", "messages", "input", "prompt"}:
            del body[field]
        if "messages" in body and pick % 5:
            body["messages"] = [{"role": "user", "content": "Say json."}]
    if isinstance(body, dict) and path.endswith("/chat/completions"):
        body.setdefault("max_completion_tokens", 4)
    if isinstance(body, dict) and path.endswith("/responses"):
        body.setdefault("max_output_tokens", 4)


def run(operation: Any, known: Known, url: str, *, seed: int, examples: int) -> int:
    """Requests of one operation; how many there were."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    count, path = 0, operation.path
    how: dict[str, Any] = {
        "deadline": None, "database": None, "suppress_health_check": list(HealthCheck), "phases": [Phase.generate],
    }  # fmt: skip

    def one(case: Any) -> None:
        nonlocal count
        count += 1
        pick = random.Random(f"{seed} {count}").randrange(1000)
        place = f"{operation.method.upper()} {path}"
        if isinstance(case.body, dict):
            case.body = made_real(case.body, known, place, pick)
            made_possible(case.body, path, pick)
        for name, value in dict(case.path_parameters or {}).items():
            case.path_parameters[name] = known.instead(name, place, value, pick)
        answer = case.call(base_url=url, timeout=120)
        if answer.status_code != 404 and USES_UP.search(place):
            known.refresh()
        case.validate_response(answer, checks=checks)

    takes = operation.body or operation.query
    for mode, share in ((GenerationMode.POSITIVE, 0.75), (GenerationMode.NEGATIVE, 0.25)):
        if takes or mode == GenerationMode.POSITIVE:
            made = given(case=operation.as_strategy(generation_mode=mode))(one)
            seeded(seed)(settings(max_examples=max(2, round(examples * share)), **how)(made))()
    return count


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600 if PROVE else 300)
def test_the_server_does_as_it_says(server: tuple[str, Serving]) -> None:
    url, serving = server
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    known, began = Known(url, serving), time.monotonic()
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 55
    counts = dict.fromkeys((f"{o.method} {o.path}" for o in operations), 0)
    turns = ((seed, operation) for seed in range(10_000 if PROVE else 1) for operation in operations)
    for seed, operation in turns:
        if seed and time.monotonic() - began > SECONDS:
            break
        known.refresh()
        counts[f"{operation.method} {operation.path}"] += run(
            operation,
            known,
            url,
            seed=seed,
            examples=9 if USES_UP.search(operation.path) else ROUND[operation.method],
        )
    assert min(counts.values()) > 0
    print(f"{sum(counts.values())} requests in {time.monotonic() - began:.0f} s")
