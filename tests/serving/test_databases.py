"""The whole server on SQLite and on PostgreSQL: what clients keep in it, use of many at once, a job that is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from counting_route import written
from job_material import chat, job_on, lines, opened, record, steps_done, wait_for
from sqlalchemy import select
from test_job_worker import same, worker

from groundtune.serving.app import create_app
from groundtune.serving.callers import usage
from groundtune.serving.callers.keys import Limits, NewKey, make_keys, revoke_key
from groundtune.serving.state import Serving
from groundtune.serving.storage.store import Row
from groundtune.serving.tuning import job_worker
from live_server import live


@pytest.fixture
def url(anywhere: Serving) -> Iterator[str]:
    with live(create_app(anywhere)) as found:
        yield found


def client_of(url: str, key: str) -> Any:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def test_what_clients_keep(anywhere: Serving, url: str) -> None:
    """Files, stores, stored chats and responses of two keys: made, found, listed in pages, changed, deleted."""
    ((_, key), (_, other)) = make_keys(anywhere.store, [NewKey("anna"), NewKey("ben")])
    client, stranger = client_of(url, key), client_of(url, other)
    files = [
        client.files.create(file=(f"é{n}.txt", b"The tower is 40 metres tall."), purpose="assistants").id
        for n in range(5)
    ]
    assert [f.id for f in client.files.list(limit=2)] == files[::-1]  # the client turns the pages
    assert client.files.content(files[0]).read() == b"The tower is 40 metres tall."
    store = client.vector_stores.create(name="a\0b \U0001f600", file_ids=files[:1], metadata={"a": "b"})
    wait_for(lambda: client.vector_stores.retrieve(store.id).file_counts.completed == 1)
    assert client.vector_stores.search(store.id, query="How tall is the tower?").data[0].file_id == files[0]
    batch = client.vector_stores.file_batches.create(store.id, file_ids=files)
    wait_for(
        lambda: client.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store.id).status == "completed"
    )
    said = client.chat.completions.create(
        model="pebble", messages=[{"role": "user", "content": "a"}], max_tokens=2, store=True, metadata={"k": "v"}
    )
    assert [c.id for c in client.chat.completions.list(metadata={"k": "v"})] == [said.id]
    first = client.responses.create(model="pebble", input="a", max_output_tokens=2)
    second = client.responses.create(model="pebble", input="b", max_output_tokens=2, previous_response_id=first.id)
    assert len(list(client.responses.input_items.list(second.id))) == 3
    for calls in (stranger.files.list(), stranger.vector_stores.list(), stranger.chat.completions.list()):
        assert list(calls) == []
    with pytest.raises(openai.NotFoundError):
        stranger.vector_stores.search(store.id, query="tower")
    assert client.vector_stores.delete(store.id).deleted and client.files.delete(files[0]).deleted
    assert anywhere.store.count("vector_store_file") == 0 and anywhere.store.count("file") == 4
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_files_put_into_one_store_by_many_at_once(anywhere: Serving, url: str) -> None:
    ((_, key),) = make_keys(anywhere.store, [NewKey("anna")])
    client = client_of(url, key)
    files = [client.files.create(file=("a.txt", b"A tower."), purpose="assistants").id for _ in range(3)]
    store = client.vector_stores.create().id
    faults: list[Exception] = []

    def put() -> None:
        try:
            for file in files:
                client.vector_stores.files.create(store, file_id=file)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=put) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not faults
    wait_for(lambda: client.vector_stores.retrieve(store).file_counts.completed == 3)


def test_many_keys_at_once(anywhere: Serving) -> None:
    """Twelve keys with the same budget, all at work at once: each gets to its last token, all of it is written down."""
    made = make_keys(anywhere.store, [NewKey(f"s{n}", limits=Limits(budget_tokens=25)) for n in range(12)])
    got: dict[str, int] = {}
    with live(app := create_app(anywhere)) as url:

        def study(id: str, key: str) -> None:
            got[id] = 0
            with pytest.raises(openai.APIError):
                for _ in range(9):
                    for _ in written(client_of(url, key), 8):
                        got[id] += 1

        threads = [threading.Thread(target=study, args=(body["id"], key)) for body, key in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        while app.state.access.in_flight:
            time.sleep(0.01)
        totals = usage.totals(anywhere.store)
        assert {id: total.completion_tokens for id, total in totals.items()} == got
        assert {total.tokens for total in totals.values()} <= set(range(21, 26)) and len(totals) == 12
        assert sum(row["completion_tokens"] for row in usage.rows(anywhere.store)) == sum(got.values())
        revoke_key(anywhere.store, "s3")
        with pytest.raises(openai.AuthenticationError):
            client_of(url, made[3][1]).models.list()


def test_a_job_that_is_killed_goes_on_to_the_same_end(
    new_database: Callable[[], str], tiny_model_path: Path, tmp_path: Path
) -> None:
    """kill -9 in the middle of training: the records of the two jobs, weights included, are the same."""
    jobs = {
        name: opened(tmp_path / name, tiny_model_path, database=new_database(), job_checkpoint_seconds=0.2)
        for name in ("undisturbed", "killed")
    }
    numbers = {"n_epochs": 12, "batch_size": 2}
    ids = {
        name: job_on(own, lines([chat(n) for n in range(11)]), hyperparameters=numbers) for name, own in jobs.items()
    }
    job_worker.walk(jobs["undisturbed"], ids["undisturbed"])
    own, id = jobs["killed"], ids["killed"]
    running = worker(own, id)
    wait_for(lambda: len(steps_done(own, id)) >= 20)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert own.get(id)["status"] == "running"
    assert worker(own, id).wait(120) == 0
    assert own.get(id)["status"] == "succeeded", own.get(id)["error"]
    assert steps_done(own, id) == list(range(1, 73))
    assert same(record(own, id), record(jobs["undisturbed"], ids["undisturbed"])) == []
    with own.store.session(reads=True) as session:
        assert set(session.scalars(select(Row.owner))) == {""}
    for each in jobs.values():
        each.store.close()
