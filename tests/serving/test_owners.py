"""Whose objects are: every route with an id in its path, every field that names one, every list; and who shares with whom."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from job_material import chat, lines
from sqlalchemy import select

from groundtune.config import AliasConfig, Config, ServeConfig
from groundtune.methods._setup import Setup
from groundtune.serving import app as app_module
from groundtune.serving.app import create_app
from groundtune.serving.callers.access import Caller
from groundtune.serving.callers.keys import NewKey, make_keys, set_group
from groundtune.serving.state import Serving
from groundtune.serving.storage.store import Row
from groundtune.serving.tuning import job_worker
from groundtune.serving.tuning.job_request import CreateJob
from groundtune.serving.tuning.jobs import Jobs
from groundtune.serving.vectors import vector_stores_api
from groundtune.serving.vectors.vector_requests import CreateFile, CreateStore
from groundtune.workspace import Workspace

#: body of each request that needs one; ``{name}`` stands for an object's id
BODIES: dict[str, Any] = {
    "POST /v1/uploads/{upload_id}/complete": {"part_ids": ["{part_id}"]},
    "POST /v1/chat/completions/{completion_id}": {"metadata": {"a": "b"}},
    "POST /v1/vector_stores/{vector_store_id}": {"name": "mine now"},
    "POST /v1/vector_stores/{vector_store_id}/search": {"query": "towers"},
    "POST /v1/vector_stores/{vector_store_id}/files": {"file_id": "{file_id}"},
    "POST /v1/vector_stores/{vector_store_id}/files/{file_id}": {"attributes": {"a": "b"}},
    "POST /v1/vector_stores/{vector_store_id}/file_batches": {"file_ids": ["{file_id}"]},
    "POST /v1/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions": {"project_ids": ["p"]},
}
#: bodies that name an object, on routes without one in the path; each with the file, model ... of somebody else
NAMED: dict[str, tuple[str, Any]] = {
    "training file": ("/fine_tuning/jobs", {"model": "pebble", "training_file": "{file_id}"}),
    "validation file": ("/fine_tuning/jobs", {"model": "pebble", "training_file": "{own_file}", "validation_file": "{file_id}"}),
    "model to train": ("/fine_tuning/jobs", {"model": "{model}", "training_file": "{own_file}"}),
    "chat model": ("/chat/completions", {"model": "{model}", "messages": [{"role": "user", "content": "a"}], "max_tokens": 2}),
    "completion model": ("/completions", {"model": "{model}", "prompt": "a", "max_tokens": 2}),
    "response model": ("/responses", {"model": "{model}", "input": "a", "max_output_tokens": 2}),
    "previous response": ("/responses", {"model": "pebble", "input": "a", "previous_response_id": "{response_id}", "max_output_tokens": 2}),
    "searched store": ("/responses", {"model": "pebble", "input": "a", "max_output_tokens": 2,
                                      "tools": [{"type": "file_search", "vector_store_ids": ["{vector_store_id}"]}]}),
    "first files of a store": ("/vector_stores", {"file_ids": ["{file_id}"]}),
    "file of my store": ("/vector_stores/{own_store}/files", {"file_id": "{file_id}"}),
    "batch into my store": ("/vector_stores/{own_store}/file_batches", {"files": [{"file_id": "{file_id}"}]}),
    "file of a batch": ("/batches", {"input_file_id": "{file_id}", "endpoint": "/v1/embeddings", "completion_window": "24h"}),
}  # fmt: skip
#: what a name is that nobody has
NOBODYS = {"model": "ft:pebble:org::nobodyyy"}


class World:
    """A server with keys, the application without background work, and objects of whoever is asked for."""

    def __init__(self, app: FastAPI, serving: Serving) -> None:
        self.app, self.serving = app, serving
        set_group(serving.store, "class", budget_tokens=None, budget_usd=None)
        people = [NewKey("anna"), NewKey("ben"), NewKey("carl", group="class"), NewKey("cora", group="class"), NewKey("teacher", admin=True)]  # fmt: skip
        made = make_keys(serving.store, people)
        self.keys = {body["name"]: key for body, key in made}
        self.callers = {b["name"]: Caller(b["id"], b["name"], b["admin"], b["group"]) for b, _ in made}
        self.callers["server"] = Caller("anonymous", "anonymous", admin=True)
        self.client = TestClient(app, raise_server_exceptions=True)
        self.count = 0

    def ask(self, who: str, method: str, path: str, body: Any = None) -> Any:
        parts: dict[str, Any] = {"json": body} if body is not None else {}
        if path.endswith("/parts"):
            parts = {"files": {"data": b"xyz"}}
        return self.client.request(method, path, headers={"Authorization": f"Bearer {self.keys[who]}"}, **parts)

    def objects(self, who: str) -> dict[str, str]:
        """One of each kind, of somebody; name -> id."""
        self.count += 1
        view = self.serving.of(self.callers[who].scope)
        file = view.files.keep([lines([chat(n) for n in range(11)])], "a.jsonl", "fine-tune")["id"]
        upload = view.store.add("upload", {"status": "pending", "bytes": 3, "expires_at": 2**40, "file": None,
                                           "keep_seconds": None, "filename": "u", "purpose": "batch"})["id"]  # fmt: skip
        part = view.store.add("part", {"upload_id": upload}, parent=upload)["id"]
        folder = self.serving.folder / "uploads" / upload
        folder.mkdir(parents=True)
        (folder / part).write_bytes(b"abc")
        model = f"ft:pebble:org::model{self.count:03}"
        view.store.add(
            "model", {"base": "pebble", "folder": f"models/{self.count}", "adapter": False, "job": "j"}, id=model
        )
        permission = view.store.add("permission", {"project_id": "p"}, parent=model)["id"]
        completion = view.store.add(
            "chat_completion", {"model": "pebble", "metadata": {}}, id=f"chatcmpl-{who}{self.count}"
        )["id"]
        view.store.add("chat_message", {"content": "said", "role": "user"}, id=f"{completion}-0", parent=completion)
        stored = {"body": {"id": "r", "output": []}, "items": [{"type": "message", "role": "user", "content": "a"}]}
        response = view.store.add("response", stored, id=f"resp_{who}{self.count}")["id"]
        store = view.vectors.create(CreateStore(name=who))["id"]
        batch = view.vectors.attach(store, [CreateFile(file_id=file)], batch=True)
        job = Jobs(view).create(CreateJob(model="pebble", training_file=file))["id"]
        asked = view.store.add("batch", {"status": "in_progress", "caller": self.callers[who].id}, state="kept")["id"]
        return {
            "file_id": file, "upload_id": upload, "part_id": part, "model": model, "fine_tuned_model_checkpoint": model,
            "permission_id": permission, "completion_id": completion, "response_id": response, "vector_store_id": store,
            "batch_id": (batch or {})["id"], "fine_tuning_job_id": job, "request_batch_id": asked,
        }  # fmt: skip

    def rows(self) -> list[tuple[Any, ...]]:
        """All that is kept but for what requests used."""
        with self.serving.store.session(reads=True) as session:
            found = session.scalars(select(Row).order_by(Row.number)).all()
            return [(r.kind, r.id, r.owner, json.dumps(r.body)) for r in found if not r.kind.startswith("usage")]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(app_module.JobKeeper, "start", lambda self: None)
    monkeypatch.setattr(vector_stores_api.Ingest, "start", lambda self: None)
    serving = Serving.open(Setup(Workspace(tmp_path), Config()))
    found = World(create_app(serving), serving)
    with found.client:
        yield found


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """(method, path) of every route."""
    told = [(m.upper(), path) for path, methods in app.openapi()["paths"].items() for m in methods]
    every = [r for included in app.routes for r in getattr(getattr(included, "original_router", None), "routes", [])]
    assert len(told) == sum(len(r.methods) for r in every)  # none is left out of the description
    return told


def filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, str) and value.startswith("/v1/batches/"):
        ids = {**ids, "batch_id": ids["request_batch_id"]}
    return json.loads(re.sub(r"\{(\w+)\}", lambda m: ids[m[1]], json.dumps(value)))


def with_id(app: FastAPI) -> list[tuple[str, str]]:
    found = [(m, path) for m, path in routes(app) if "{" in path and not path.startswith("/sources/")]  # of the project
    assert len(found) >= 35
    return found


def reads(method: str, path: str) -> bool:
    return method == "GET" or path.endswith("/search")


def test_anothers_objects_are_not_there_on_any_route(world: World) -> None:
    """A route whose path holds an id answers another student as if there were no such object, and changes nothing."""
    ids, own = world.objects("anna"), world.objects("ben")
    before = world.rows()
    for method, path in with_id(world.app):
        body = BODIES.get(f"{method} {path}")
        told = world.ask("ben", method, filled(path, ids), filled(body, ids))
        assert told.status_code == 404, (method, path, told.text)
        missing = {name: NOBODYS.get(name, "nothing") for name in ids} | {
            "fine_tuned_model_checkpoint": NOBODYS["model"]
        }
        none = world.ask("ben", method, filled(path, missing), filled(body, {**own, **missing}))
        assert _plain(told.text, ids) == _plain(none.text, missing), (method, path)
        assert world.rows() == before, (method, path)


def _plain(text: str, ids: dict[str, str]) -> str:
    """An answer without the ids that were asked for."""
    for id in ids.values():
        text = text.replace(id, "ID")
    return text


def test_whose_they_are_and_who_shares_reaches_them(world: World) -> None:
    """The control of the test above: with the right key none of these requests is refused for whose the object is."""
    for maker, asks in (("anna", "anna"), ("carl", "cora"), ("anna", "teacher"), ("server", "teacher")):
        for method, path in with_id(world.app):
            ids = world.objects(maker)
            told = world.ask(asks, method, filled(path, ids), filled(BODIES.get(f"{method} {path}"), ids))
            assert told.status_code in (200, 400), (maker, asks, method, path, told.text)
            assert told.status_code == 200 or re.search("/(resume|pause|content|complete)$", path), (path, told.text)


def test_what_is_the_servers_is_seen_by_all_and_changed_by_admins(world: World) -> None:
    ids = world.objects("server")
    before = world.rows()
    for method, path in with_id(world.app):
        told = world.ask("ben", method, filled(path, ids), filled(BODIES.get(f"{method} {path}"), ids))
        if reads(method, path):
            assert told.status_code in (200, 400), (method, path, told.text)
            assert told.status_code == 200 or path.endswith("/content"), (path, told.text)
        else:
            assert told.status_code == 403 and told.json()["error"]["code"] == "not_the_owner", (
                method,
                path,
                told.text,
            )
        assert world.rows() == before, (method, path)


@pytest.mark.parametrize("what", NAMED)
def test_anothers_object_named_in_a_request_is_not_there(world: World, what: str) -> None:
    path, body = NAMED[what]
    ids, own = world.objects("anna"), world.objects("ben")
    given = {**ids, "own_file": own["file_id"], "own_store": own["vector_store_id"]}
    before = world.rows()
    told = world.ask("ben", "POST", f"/v1{filled(path, given)}", filled(body, given))
    assert told.status_code == 404 and world.rows() == before, told.text
    missing = {
        **{name: NOBODYS.get(name, "nothing") for name in ids},
        "own_file": given["own_file"],
        "own_store": given["own_store"],
    }
    none = world.ask("ben", "POST", f"/v1{filled(path, given)}", filled(body, missing))
    assert _plain(told.text, ids) == _plain(none.text, missing)
    if "model" not in what and what != "file of a batch":  # one has no weights here, the other another purpose
        mine = {**own, "own_file": own["file_id"], "own_store": own["vector_store_id"]}
        assert world.ask("ben", "POST", f"/v1{filled(path, mine)}", filled(body, mine)).status_code == 200


def test_lists_hold_ones_own(world: World) -> None:
    ids = {who: world.objects(who) for who in ("anna", "ben", "carl", "server")}
    named = ("file_id", "model", "completion_id", "vector_store_id", "fine_tuning_job_id", "request_batch_id")
    paths = [
        path for method, path in routes(world.app) if method == "GET" and "{" not in path and path.startswith("/v1/")
    ]
    assert len(paths) == len(named)
    seen = {"anna": {"anna", "server"}, "ben": {"ben", "server"}, "cora": {"carl", "server"}, "teacher": set(ids)}
    for who, makers in seen.items():
        told = "".join(world.ask(who, "GET", path).text for path in paths)
        for maker, own in ids.items():
            assert {own[name] in told for name in named} == {maker in makers}, (who, maker)
    behind = world.ask("ben", "GET", f"/v1/files?after={ids['anna']['file_id']}").json()
    assert behind == world.ask("ben", "GET", "/v1/files?after=nothing").json()
    newest = world.ask("ben", "GET", "/v1/files?limit=1").json()
    assert [f["id"] for f in newest["data"]] == [ids["server"]["file_id"]] and newest["has_more"]


def test_what_a_request_makes_is_its_callers(world: World) -> None:
    """Through the routes: uploads, stored chats and responses, streamed ones too, jobs, stores."""
    own = world.objects("anna")
    whose = {"anna": world.callers["anna"].id, "cora": "group:class"}
    asked = {"model": "pebble", "messages": [{"role": "user", "content": "a"}], "max_tokens": 2, "store": True}
    for who, owner in whose.items():
        before = len(world.rows())
        for stream in (False, True):
            assert world.ask(who, "POST", "/v1/chat/completions", {**asked, "stream": stream}).status_code == 200
            body = {"model": "pebble", "input": "a", "max_output_tokens": 2, "stream": stream}
            assert world.ask(who, "POST", "/v1/responses", body).status_code == 200
        key = {"Authorization": f"Bearer {world.keys[who]}"}
        sent = world.client.post("/v1/files", headers=key, files={"file": b"x"}, data={"purpose": "batch"})
        upload = world.ask(
            who, "POST", "/v1/uploads", {"filename": "u", "purpose": "batch", "bytes": 3, "mime_type": "a"}
        ).json()["id"]
        part = world.ask(who, "POST", f"/v1/uploads/{upload}/parts").json()["id"]
        assert world.ask(who, "POST", f"/v1/uploads/{upload}/complete", {"part_ids": [part]}).status_code == 200
        file = sent.json()["id"]
        store = world.ask(who, "POST", "/v1/vector_stores", {"file_ids": [file]}).json()["id"]
        assert (
            world.ask(who, "POST", f"/v1/vector_stores/{store}/file_batches", {"file_ids": [file]}).status_code == 200
        )
        job = {"model": "pebble", "training_file": file}
        assert world.ask(who, "POST", "/v1/fine_tuning/jobs", job).status_code == 200
        made = world.rows()[before:]
        kinds = {"chat_completion": 2, "chat_message": 2, "response": 2, "file": 2, "upload": 1, "vector_store": 1,
                 "vector_store_file": 1, "vector_store_batch": 1, "job": 1, "job_work": 1, "event": 2}  # fmt: skip
        assert {kind: sum(row[0] == kind for row in made) for kind, *_ in made} == kinds
        assert {row[2] for row in made} == {owner}
    put = world.ask("teacher", "POST", f"/v1/vector_stores/{own['vector_store_id']}/files", {"file_id": own["file_id"]})
    assert put.status_code == 200  # a teacher helps: what is in a student's store stays the student's
    files = [row for row in world.rows() if row[0] == "vector_store_file" and own["vector_store_id"] in row[3]]
    assert [row[2] for row in files] == [whose["anna"]]


def test_what_comes_of_a_job_is_its_owners(tmp_path: Path, tiny_model_path: Path) -> None:
    """The worker runs as the server; events, checkpoints, models and the result file are of whoever asked for the job."""
    serving = Serving.open(Setup(Workspace(tmp_path), Config(model=str(tiny_model_path))))
    view = serving.of(Caller("key_anna", "anna").scope)
    file = view.files.keep([lines([chat(n) for n in range(11)])], "a.jsonl", "fine-tune")["id"]
    numbers: Any = {"n_epochs": 2, "batch_size": 6}
    id = Jobs(view).create(CreateJob(model=str(tiny_model_path), training_file=file, hyperparameters=numbers))["id"]
    job_worker.walk(Jobs(serving), id)
    job = Jobs(view).get(id)
    assert job["status"] == "succeeded", job["error"]
    with serving.store.session(reads=True) as session:
        found = session.execute(select(Row.kind, Row.owner)).all()
    assert {owner for _, owner in found} == {"key_anna"}
    assert {kind for kind, _ in found} == {"file", "job", "job_work", "event", "checkpoint", "model"}
    model = job["fine_tuned_model"]
    assert view.catalog.resolve(model).adapter and view.files.path(job["result_files"][0]).exists()
    stranger = serving.of(Caller("key_ben", "ben").scope)
    assert stranger.store.get("model", model) is None and stranger.store.all("event", parent=id) == []
    assert model not in [body["id"] for body in stranger.catalog.all()]


def test_an_alias_of_the_config_is_for_everybody(tmp_path: Path) -> None:
    alias = AliasConfig(model="ft:pebble:org::shared00")
    serving = Serving.open(Setup(Workspace(tmp_path), Config(serve=ServeConfig(aliases={"ours": alias}))))
    anna, ben = (serving.of(Caller(f"key_{name}", name).scope) for name in ("anna", "ben"))
    body = {"base": "pebble", "folder": "models/1", "adapter": False, "job": "j"}
    anna.store.add("model", body, id=alias.model)
    assert ben.catalog.resolve("ours").target == anna.catalog.resolve(alias.model).target
    assert ben.store.get("model", alias.model) is None


def test_a_search_leaves_files_of_others_in_a_shared_store(world: World) -> None:
    """The server's store holds a teacher's file: a student who searches it does not see that file, and it stays there."""
    whole, teacher = world.serving, world.serving.of(world.callers["teacher"].scope)
    file = teacher.files.keep([b"The tower of Ostwick is 40 metres tall."], "towers.txt", "assistants")["id"]
    store = whole.vectors.create(CreateStore(file_ids=[file]))["id"]
    vector_stores_api.Ingest(whole.vectors)._one(store, file)
    assert world.ask("ben", "GET", f"/v1/files/{file}").status_code == 404
    told = world.ask("ben", "POST", f"/v1/vector_stores/{store}/search", {"query": "How tall is the tower?"}).json()
    assert [hit["filename"] for hit in told["data"]] == ["towers.txt"]
    assert whole.vectors.get(store)["file_counts"]["completed"] == 1


def test_no_prompt_cache_is_shared_between_owners(world: World) -> None:
    prompt = "Tell me of the towers of Ostwick, of their bells, and of who rings them at dawn and in the evening."
    body = {"model": "pebble", "messages": [{"role": "user", "content": prompt}], "max_tokens": 1}

    def cached(who: str) -> int:
        told = world.ask(who, "POST", "/v1/chat/completions", body).json()
        return int(told["usage"]["prompt_tokens_details"]["cached_tokens"])

    assert cached("anna") == 0 and cached("anna") > 0
    assert cached("ben") == 0
    assert cached("carl") == 0 and cached("cora") > 0


def test_routes_see_the_store_through_their_caller_alone() -> None:
    """Only these lines of the package reach the whole of the server; a route that did would see everybody's."""
    folder = Path(app_module.__file__).parent
    found = {
        f"{path.name}: {line.strip()}"
        for path in folder.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"state\.(serving|jobs)\b|server_of\(|\.store\.server\b|vectors\.whole\b", line)
        and "import" not in line
    }
    assert {name for name in found if not name.startswith(("app.py", "state.py", "vector_stores.py"))} == {
        "metrics.py: await asyncio.get_running_loop().run_in_executor(_HEALTH, server_of(request.app).store.count, \"file\")",
        "jobs_api.py: jobs: Jobs = request.app.state.jobs",
        "batches.py: self.serving: Serving = app.state.serving",
        "vector_stores_api.py: work = Ingest(app.state.serving.vectors)",
        "vector_search.py: whole = vectors.whole",
        "catalog.py: whole = self.of(self.store.server)  # the config's aliases are for everybody, whosever the model is",
        "job_models.py: for job in serving.store.server.all(\"job\", states=OPEN):  # whosever it is",
        "job_models.py: work = serving.store.server.get(\"job_work\", job[\"id\"])",
    }  # fmt: skip
