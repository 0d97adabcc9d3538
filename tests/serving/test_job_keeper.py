"""The keeper: jobs in order, at most so many at once, each once; taken over, started again, given up."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from job_material import (
    chat,
    ended,
    job_on,
    lines,
    messages,
    opened,
    preference,
    record,
    steps_done,
    stop_workers,
    wait_for,
)  # fmt: skip
from test_job_worker import same

from groundtune.serving.tuning import job_keeper, job_models
from groundtune.serving.tuning.job_keeper import JobKeeper
from groundtune.serving.tuning.jobs import Jobs

CHATS = lines([chat(n) for n in range(11)])
MANY = {"n_epochs": 50, "batch_size": 1}
PROVE = "GROUNDTUNE_PROVE" in os.environ

#: a worker that does what a test wants of it: holds its lock, writes its process id, and then obeys
ACTOR = """
import os, sys, time
from pathlib import Path
sys.argv = sys.argv[1:]
mode, *rest = sys.argv
from groundtune.serving.tuning import job_worker
from groundtune.serving.tuning.jobs import Jobs, event
starts = Path(rest[rest.index("--project") + 1]) / "starts.txt"
def act(jobs, id, *, until="ended"):
    with starts.open("a") as out:
        out.write(f"{id} {until} {time.time()} {os.getpid()}\\n")
    if until == "queued":
        jobs.progress(id, among=("validating_files",), status="queued")
        return
    jobs.progress(id, among=("queued", "running"), status="running")
    if mode == "die":
        os.kill(os.getpid(), 9)
    if mode == "full":
        sys.exit(job_worker.FULL)
    if mode == "fault":
        raise RuntimeError("a fault of ours")
    if mode == "forward":  # a step further each time, then death; the fifth start ends it
        done = len([e for e in jobs.store.all("event", parent=id) if e["type"] == "metrics"])
        if done < 5:
            jobs.store.add_all([event(id, f"step {done + 1}", "Step", data={"step": done + 1})])
            os.kill(os.getpid(), 9)
    while mode == "hang" and jobs.get(id)["status"] == "running":
        time.sleep(0.05)
    time.sleep(1.5 if mode == "wait" else 0.4)  # two of them overlap on a busy machine, too
    jobs.progress(id, among=("running",), status="succeeded")
job_worker.walk = act
sys.exit(job_worker.main(rest))
"""


def actor(tmp_path: Path, mode: str) -> tuple[str, ...]:
    file = tmp_path / "actor.py"
    file.write_text(ACTOR, encoding="utf-8")
    return (sys.executable, str(file), mode)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_keeper, "POLL", 0.1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def keepers() -> Iterator[list[JobKeeper]]:
    made: list[JobKeeper] = []
    yield made
    for keeper in made:
        keeper.stop()
        stop_workers(keeper.jobs)


def started(keepers: list[JobKeeper], jobs: Jobs, command: tuple[str, ...] = ()) -> JobKeeper:
    keeper = JobKeeper(jobs, command=command)
    keepers.append(keeper)
    keeper.start()
    return keeper


def starts(root: Path, until: str = "ended") -> list[tuple[str, float, int]]:
    """(job, time, process) of every start of a worker to the end."""
    found = [line.split() for line in (root / "starts.txt").read_text(encoding="utf-8").splitlines()]
    return [(id, float(at), int(pid)) for id, wanted, at, pid in found if wanted == until]


def pid_of(jobs: Jobs, id: str) -> int:
    return int((jobs.folder(id) / "pid").read_text(encoding="utf-8"))


def test_a_job_is_run_from_its_creation_to_its_model(
    keepers: list[JobKeeper], tiny_model_path: Path, tmp_path: Path
) -> None:
    jobs = opened(tmp_path, tiny_model_path)
    started(keepers, jobs)
    id = job_on(jobs, CHATS, hyperparameters={"n_epochs": 1, "batch_size": 4})
    job = ended(jobs, id)
    assert job["status"] == "succeeded" and jobs.serving.catalog.resolve(job["fine_tuned_model"]).adapter
    assert (jobs.folder(id) / "config.json").stat().st_mode & 0o077 == 0
    assert "training" in (jobs.folder(id) / "log.txt").read_text(encoding="utf-8")


def test_jobs_run_in_order_and_not_more_at_once_than_wanted(keepers: list[JobKeeper], tmp_path: Path) -> None:
    jobs = opened(tmp_path, jobs=2)
    ids = [job_on(jobs, CHATS) for _ in range(5)]
    started(keepers, jobs, actor(tmp_path, "wait"))
    most, end = 0, time.monotonic() + 60
    while any(jobs.get(id)["status"] != "succeeded" for id in ids) and time.monotonic() < end:
        most = max(most, sum(jobs.get(id)["status"] == "running" for id in ids))
        time.sleep(0.02)
    assert most == 2
    order = [id for id, _, _ in starts(tmp_path)]
    assert sorted(order, key=ids.index)[0] in order[:2] and set(order) == set(ids) and len(order) == 5
    assert [ids.index(id) // 2 for id in order] == sorted(ids.index(id) // 2 for id in order)


def test_two_keepers_run_a_job_once(keepers: list[JobKeeper], tmp_path: Path) -> None:
    jobs = opened(tmp_path)
    command = actor(tmp_path, "wait")
    others = [opened(tmp_path) for _ in range(3)]
    for other in others:
        started(keepers, other, command)
    ids = [job_on(jobs, CHATS) for _ in range(3)]
    for id in ids:
        assert ended(jobs, id)["status"] == "succeeded"
    assert sorted(id for id, _, _ in starts(tmp_path)) == sorted(ids)
    keepers[0].stop()  # whichever kept them, another takes over
    keepers[1].stop()
    last = job_on(jobs, CHATS)
    assert ended(jobs, last)["status"] == "succeeded"


def test_a_worker_goes_on_without_its_server_and_is_taken_over(keepers: list[JobKeeper], tmp_path: Path) -> None:
    jobs = opened(tmp_path)
    id = job_on(jobs, CHATS)
    command = actor(tmp_path, "hang")
    started(keepers, jobs, command).stop()
    first = started(keepers, jobs, command)
    pid = wait_for(
        lambda: (jobs.folder(id) / "pid").exists() and jobs.get(id)["status"] == "running" and pid_of(jobs, id)
    )
    first.stop()
    os.kill(pid, 0)  # it lives
    started(keepers, opened(tmp_path), command)
    time.sleep(0.6)
    assert [p for _, _, p in starts(tmp_path)] == [pid]
    os.kill(pid, signal.SIGKILL)
    again = wait_for(lambda: len(starts(tmp_path)) == 2 and starts(tmp_path)[1][2])
    assert again != pid
    jobs.cancel(id)
    wait_for(lambda: not (jobs.folder(id) / "pid").exists())
    assert len(starts(tmp_path)) == 2


@pytest.mark.parametrize(("mode", "how"), [("die", "killed by signal 9"), ("fault", "RuntimeError: a fault of ours")])
def test_a_worker_that_dies_at_the_same_place_is_given_up(
    mode: str, how: str, keepers: list[JobKeeper], tmp_path: Path
) -> None:
    jobs = opened(tmp_path)
    id = job_on(jobs, CHATS)
    (jobs.folder(id) / "run").mkdir(parents=True)
    started(keepers, jobs, actor(tmp_path, mode))
    job = ended(jobs, id)
    assert job["status"] == "failed" and job["error"]["code"] == "server_error" and how in job["error"]["message"]
    assert len(starts(tmp_path)) == 3 and messages(jobs, id)[-1] == job["error"]["message"]
    wait_for(lambda: not (jobs.folder(id) / "run").exists())


def test_a_full_disk_is_waited_out(keepers: list[JobKeeper], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_keeper, "_FULL_WAIT", 0.3)
    jobs = opened(tmp_path)
    id = job_on(jobs, CHATS)
    keeper = started(keepers, jobs, actor(tmp_path, "full"))
    wait_for(lambda: (tmp_path / "starts.txt").exists() and len(starts(tmp_path)) >= 4)
    assert jobs.get(id)["status"] == "running"
    keeper._command = actor(tmp_path, "wait")
    assert ended(jobs, id)["status"] == "succeeded"


def test_a_worker_that_gets_further_is_started_again(keepers: list[JobKeeper], tmp_path: Path) -> None:
    jobs = opened(tmp_path)
    id = job_on(jobs, CHATS)
    started(keepers, jobs, actor(tmp_path, "forward"))
    assert ended(jobs, id)["status"] == "succeeded" and len(starts(tmp_path)) == 6


def test_what_ended_jobs_left_is_removed_at_a_start(keepers: list[JobKeeper], tmp_path: Path) -> None:
    jobs = opened(tmp_path)
    done, waiting = job_on(jobs, CHATS), job_on(jobs, CHATS)
    jobs.cancel(done)
    jobs.progress(waiting, among=("validating_files",), status="paused")
    for id in (done, waiting):
        (jobs.folder(id) / "run" / "checkpoint-3").mkdir(parents=True)
        (jobs.serving.folder / "models" / id / "step-3").mkdir(parents=True)
    started(keepers, jobs, actor(tmp_path, "wait"))
    wait_for(lambda: not (jobs.folder(done) / "run").exists())
    assert not (jobs.serving.folder / "models" / done).exists()
    assert (jobs.folder(waiting) / "run" / "checkpoint-3").exists()
    assert (jobs.serving.folder / "models" / waiting / "step-3").exists()
    jobs.cancel(waiting)
    wait_for(lambda: not (jobs.folder(waiting) / "run").exists())


def test_a_store_that_fails_for_a_while_ends_nothing(
    keepers: list[JobKeeper], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = opened(tmp_path)
    id = job_on(jobs, CHATS)
    asked, all_of = [], jobs.store.all

    def failing(*args: Any, **kwargs: Any) -> Any:
        asked.append(args)
        if len(asked) < 4:
            raise OSError(28, "No space left on device")
        return all_of(*args, **kwargs)

    monkeypatch.setattr(jobs.store, "all", failing)
    started(keepers, jobs, actor(tmp_path, "wait"))
    assert ended(jobs, id)["status"] == "succeeded" and len(asked) > 4


def test_deleting_models(tiny_model_path: Path, tmp_path: Path) -> None:
    from groundtune.serving.errors import ApiError
    from groundtune.serving.tuning import job_worker

    jobs = opened(tmp_path)
    id = job_on(jobs, CHATS, hyperparameters={"n_epochs": 1, "batch_size": 6})
    job_worker.walk(jobs, id)
    name = jobs.get(id)["fine_tuned_model"]
    on_it = job_on(jobs, CHATS, model=name)
    with pytest.raises(ApiError, match="is being trained on") as caught:
        job_models.delete_model(jobs.serving, name)
    assert caught.value.status == 400
    jobs.cancel(on_it)
    job_models.delete_model(jobs.serving, name)
    assert not (jobs.serving.folder / "models" / id / "final").exists()
    with pytest.raises(ApiError) as caught:
        jobs.serving.catalog.resolve(name)
    assert caught.value.status == 404
    for other, status in (("pebble", 403), ("ft:no:such:model:1", 404)):
        with pytest.raises(ApiError) as caught:
            job_models.delete_model(jobs.serving, other)
        assert caught.value.status == status


# ---------------------------------------------------------------- server and worker killed

SERVER = """
import sys
from pathlib import Path
import uvicorn
from groundtune.config import load_config
from groundtune.methods._setup import Setup
from groundtune.serving.app import create_app
from groundtune.serving.state import Serving
from groundtune.workspace import Workspace
root = Path(sys.argv[1])
app = create_app(Serving.open(Setup(Workspace(root), load_config(root, root / "config.json"))))
uvicorn.run(app, host="127.0.0.1", port=0, log_level="warning")
"""


def server(root: Path) -> subprocess.Popen[bytes]:
    with (root / "server.txt").open("ab") as log:
        return subprocess.Popen([sys.executable, "-c", SERVER, str(root)], stdout=log, stderr=log)


def test_server_and_worker_killed_at_random_the_job_ends_in_the_same(tiny_model_path: Path, tmp_path: Path) -> None:
    """SIGKILL to the server, the worker, or both, at random moments; the other goes on or a new server starts it again."""
    numbers = {"n_epochs": 50 if PROVE else 25, "batch_size": 1 if PROVE else 2}
    given: dict[str, Any] = {"hyperparameters": numbers}
    if PROVE:
        given = {"hyperparameters": None, "method": {"type": "dpo", "dpo": {"hyperparameters": numbers}}}
    training = lines([preference(n) for n in range(11)]) if PROVE else CHATS
    jobs: dict[str, Jobs] = {}
    for name in ("undisturbed", "killed"):
        jobs[name] = opened(tmp_path / name, tiny_model_path, job_checkpoint_seconds=0.3)
        (tmp_path / name / "config.json").write_text(
            jobs[name].serving.setup.config.model_dump_json(), encoding="utf-8"
        )
    ids = {name: job_on(own, training, training[:600].rpartition(b"\n")[0], **given) for name, own in jobs.items()}
    from groundtune.serving.tuning import job_worker

    job_worker.walk(jobs["undisturbed"], ids["undisturbed"])
    rng, own, id = random.Random(3), jobs["killed"], ids["killed"]
    running = server(tmp_path / "killed")
    try:
        kills = 0
        while kills < (20 if PROVE else 3) and own.get(id)["status"] not in ("succeeded", "failed"):
            before = len(steps_done(own, id))
            # each time a little further, so that no place is given up as one where workers die by themselves
            wait_for(lambda: len(steps_done(own, id)) > before or own.get(id)["status"] == "succeeded")  # noqa: B023
            time.sleep(rng.uniform(0, 0.2 if PROVE else 0.6))
            what = rng.choice(["server", "worker", "both"])
            if what in ("worker", "both"):
                stop_workers(own)
            if what in ("server", "both"):
                running.kill()
                running.wait()
                running = server(tmp_path / "killed")
            kills += 1
        assert kills >= (15 if PROVE else 2)
        job = ended(own, id, 240)
        assert job["status"] == "succeeded", job["error"]
    finally:
        running.kill()
        running.wait()
        stop_workers(own)
    assert same(record(own, id), record(jobs["undisturbed"], ids["undisturbed"])) == []


def test_stopping_a_server_does_not_wait_for_jobs(keepers: list[JobKeeper], tmp_path: Path) -> None:
    jobs = opened(tmp_path)
    id = job_on(jobs, CHATS)
    keeper = started(keepers, jobs, actor(tmp_path, "hang"))
    wait_for(lambda: jobs.get(id)["status"] == "running")
    began = time.monotonic()
    keeper.stop()
    assert time.monotonic() - began < 2 and "job-keeper" not in [t.name for t in threading.enumerate()]
    os.kill(pid_of(jobs, id), 0)
