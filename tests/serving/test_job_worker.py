"""A job from its files to its model: states, events, figures, failures; killed anywhere, it ends in the same weights."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from job_material import (
    WORKER,
    chat,
    completion,
    ended,
    events,
    job_on,
    kept,
    lines,
    messages,
    opened,
    preference,
    record,
    steps_done,
    stop_workers,
    wait_for,
)  # fmt: skip

from groundtune.serving.errors import ApiError
from groundtune.serving.storage.store import Body
from groundtune.serving.tuning import job_worker
from groundtune.serving.tuning.job_request import CreateJob
from groundtune.serving.tuning.jobs import ENDED, Jobs

CHATS, HELD_OUT = lines([chat(n) for n in range(11)]), lines([chat(n) for n in range(30, 35)])


def run(jobs: Jobs, id: str) -> Body:
    """Walk a job to its end in this process."""
    job_worker.walk(jobs, id)
    return jobs.get(id)


def worker(jobs: Jobs, id: str, **more: str) -> subprocess.Popen[bytes]:
    """Start a job's own process, as the keeper does."""
    folder = jobs.folder(id)
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.json"
    config.write_text(jobs.serving.setup.config.model_dump_json(), encoding="utf-8")
    command = [*WORKER, "--project", str(jobs.serving.setup.workspace.root), "--config", str(config), id]
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1", **more}
        )


PROVE = "GROUNDTUNE_PROVE" in os.environ


# ---------------------------------------------------------------- from files to a model


@pytest.fixture(scope="module")
def trained(tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Jobs, str]:
    """A job of the tiny model by LoRA, undisturbed: 11 examples in steps of 4, six epochs."""
    jobs = opened(tmp_path_factory.mktemp("trained"), tiny_model_path)
    numbers = {"n_epochs": 6, "batch_size": 4, "learning_rate_multiplier": 20}
    id = job_on(jobs, CHATS, HELD_OUT, suffix="tower", hyperparameters=numbers, metadata={"team": "a"})
    assert run(jobs, id)["status"] == "succeeded", jobs.get(id)
    return jobs, id


def test_events_tell_what_openais_do(trained: tuple[Jobs, str]) -> None:
    jobs, id = trained
    job, said = jobs.get(id), messages(jobs, id)
    assert said[:4] == [
        f"Created fine-tuning job: {id}",
        f"Validating training file: {job['training_file']} and validation file: {job['validation_file']}",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
    ]
    assert said[-2:] == [
        f"New fine-tuned model created: {job['fine_tuned_model']}",
        "The job has successfully completed",
    ]
    assert steps_done(jobs, id) == list(range(1, 19))  # six epochs of 4 + 4 + 3 examples
    steps = {body["data"]["step"]: body for body in events(jobs, id) if body["type"] == "metrics"}
    both = {"train_loss", "train_mean_token_accuracy", "step", "total_steps"}
    batch, whole = {"valid_loss", "valid_mean_token_accuracy"}, {"full_valid_loss", "full_valid_mean_token_accuracy"}
    assert steps[1]["data"].keys() == both and steps[10]["data"].keys() == both | batch
    assert steps[3]["data"].keys() == both | whole and steps[18]["data"].keys() == both | batch | whole
    last = steps[18]["data"]
    assert steps[18]["message"] == (
        f"Step 18/18: training loss={last['train_loss']:.2f}, validation loss={last['valid_loss']:.2f}, "
        f"full validation loss={last['full_valid_loss']:.2f}"
    )
    assert last["train_loss"] < steps[1]["data"]["train_loss"] - 0.2
    assert {body["level"] for body in events(jobs, id)} == {"info"}


def test_the_job_says_what_was_done(trained: tuple[Jobs, str]) -> None:
    jobs, id = trained
    job = jobs.get(id)
    numbers = {"n_epochs": 6, "batch_size": 4, "learning_rate_multiplier": 20}
    assert job["hyperparameters"] == numbers and job["method"]["supervised"]["hyperparameters"] == numbers
    assert job["error"] is None and job["estimated_finish"] is None and job["finished_at"] >= job["created_at"]
    from groundtune.dataset.render import render_example
    from groundtune.nn.checkpoints import open_tokenizer
    from groundtune.records import Message

    tokenizer, _ = open_tokenizer(jobs.serving.setup.config.model)
    rows = [
        render_example(tokenizer, [Message(**m) for m in chat(n)["messages"]], max_tokens=999, where="")
        for n in range(11)
    ]
    assert job["trained_tokens"] == 6 * sum(len(row.ids) for row in rows)
    assert job["fine_tuned_model"].startswith("ft:") and ":groundtune:tower:" in job["fine_tuned_model"]


def test_checkpoints_are_models_of_their_own(trained: tuple[Jobs, str]) -> None:
    from groundtune.nn.checkpoints import load_model

    jobs, id = trained
    found = jobs.store.all("checkpoint", parent=id)
    assert [body["step_number"] for body in found] == [9, 12, 15]  # of 3, 6, 9, 12, 15 the last three
    names = [body["fine_tuned_model_checkpoint"] for body in found]
    assert [name.rpartition(":")[2] for name in names] == ["ckpt-step-9", "ckpt-step-12", "ckpt-step-15"]
    ids = {name.split(":")[4] for name in [*names, jobs.get(id)["fine_tuned_model"]]}
    assert len(ids) == 4 and all(len(own) == 8 for own in ids)
    created = [m for m in messages(jobs, id) if m.startswith("Checkpoint created")]
    assert [m.split()[4] for m in created] == ["3", "6", "9", "12", "15"] and created[-1].endswith(names[-1])
    assert found[0]["metrics"].keys() == {
        "step", "train_loss", "train_mean_token_accuracy", "full_valid_loss", "full_valid_mean_token_accuracy"
    }  # fmt: skip
    weights = []
    for name in [*names, jobs.get(id)["fine_tuned_model"]]:
        model = jobs.serving.catalog.resolve(name)
        assert model.kind == "weights" and model.adapter
        loaded, _ = load_model(model.target, adapter=model.adapter)
        weights.append(sum(float(p.abs().sum()) for p in loaded.parameters()))
    assert len(set(weights)) == 4
    assert sorted(p.name for p in (jobs.serving.folder / "models" / id).iterdir()) == [
        "final",
        "step-12",
        "step-15",
        "step-9",
    ]
    assert not [p for p in jobs.serving.folder.rglob("*") if p.suffix in (".bin", ".pt", ".pth", ".pkl")]


def test_the_result_file(trained: tuple[Jobs, str]) -> None:
    jobs, id = trained
    [file] = jobs.get(id)["result_files"]
    assert jobs.serving.files.get(file)["purpose"] == "fine-tune-results"
    table = [line.split(",") for line in jobs.serving.files.path(file).read_text(encoding="utf-8").splitlines()]
    assert table[0] == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    assert [row[0] for row in table[1:]] == [str(n) for n in range(1, 19)]
    assert [row[0] for row in table[1:] if row[3]] == ["10", "18"] and all(len(row) == 5 for row in table)
    assert all(len(cell.partition(".")[2]) == 5 for row in table[1:] for cell in row[1:] if cell)


def test_nothing_unfinished_stays(trained: tuple[Jobs, str]) -> None:
    jobs, id = trained
    job_worker.walk(jobs, id)  # again: nothing happens
    assert not [p.name for p in jobs.folder(id).iterdir() if p.name in ("run", "training", "validation")]
    assert len([m for m in messages(jobs, id) if "completed" in m]) == 1


def test_a_base64_result_file(tiny_model_path: Path, tmp_path: Path) -> None:
    jobs = opened(tmp_path, tiny_model_path, result_files="base64")
    job = run(
        jobs, job_on(jobs, lines([completion(n) for n in range(10)]), hyperparameters={"n_epochs": 1, "batch_size": 5})
    )
    content = base64.b64decode(jobs.serving.files.path(job["result_files"][0]).read_bytes(), validate=True)
    assert content.decode().splitlines()[0].startswith("step,train_loss") and content.count(b"\n") == 3


def test_preferences_by_dpo(tiny_model_path: Path, tmp_path: Path) -> None:
    jobs = opened(tmp_path, tiny_model_path)
    rows = [preference(n) for n in range(6)] + [
        preference(n, ("preferred_completion", "non_preferred_completion")) for n in range(6, 12)
    ]
    method = {
        "type": "dpo",
        "dpo": {"hyperparameters": {"n_epochs": 4, "batch_size": 4, "learning_rate_multiplier": 50}},
    }
    id = job_on(jobs, lines(rows), lines(rows[:4]), method=method, hyperparameters=None)
    job = run(jobs, id)
    assert job["status"] == "succeeded", job["error"]
    assert job["method"]["dpo"]["hyperparameters"]["beta"] == 0.1
    data = [body["data"] for body in events(jobs, id) if body["type"] == "metrics"]
    assert data[0]["train_loss"] == pytest.approx(0.69315, abs=1e-3) and data[-1]["train_loss"] < 0.6
    assert data[-1]["full_valid_reward_accuracy"] == 1.0 and data[-1]["full_valid_loss"] < 0.6


def test_the_bundled_model_is_trained_whole_and_trained_on(tmp_path: Path) -> None:
    jobs = opened(tmp_path)
    first = run(jobs, job_on(jobs, CHATS, hyperparameters={"n_epochs": 1, "batch_size": 4}))
    assert first["status"] == "succeeded", first["error"]
    assert not jobs.serving.catalog.resolve(first["fine_tuned_model"]).adapter
    again = run(
        jobs, job_on(jobs, CHATS, model=first["fine_tuned_model"], hyperparameters={"n_epochs": 1, "batch_size": 4})
    )
    assert again["status"] == "succeeded" and again["model"] == "pebble"
    losses = [
        [b["data"]["train_loss"] for b in events(jobs, job["id"]) if b["type"] == "metrics"] for job in (first, again)
    ]
    assert losses[1][0] < losses[0][0] - 1


def test_long_examples_are_cut_and_told(tiny_model_path: Path, tmp_path: Path) -> None:
    jobs = opened(tmp_path, tiny_model_path)
    long = {"messages": [chat(1)["messages"][0], {"role": "assistant", "content": "seven metres and " * 200}]}
    lost = {"messages": [{"role": "user", "content": "how tall " * 400}, {"role": "assistant", "content": "Nine."}]}
    job = run(jobs, job_on(jobs, lines([*(chat(n) for n in range(10)), long, lost])))
    assert job["status"] == "succeeded", job["error"]
    told = [e for e in events(jobs, job["id"]) if e["level"] == "warn" and "truncated" in e["message"]]
    assert [e["message"] for e in told] == [
        "2 example(s) of the training file are longer than 256 tokens and were truncated at the end; of 1 nothing to train on was left"
    ]
    nothing = run(jobs, job_on(jobs, lines([lost] * 10)))
    assert nothing["error"]["code"] == "invalid_training_file" and "No example" in nothing["error"]["message"]


def test_weights_of_messages_count(tiny_model_path: Path, tmp_path: Path) -> None:
    """A turn of weight 0 is context: the accuracy and loss are over the others."""
    jobs = opened(tmp_path, tiny_model_path)

    def row(weight: int, first: str) -> dict[str, Any]:
        question, answer = chat(1)["messages"]
        said = {"role": "assistant", "content": first, "weight": weight}
        return {"messages": [question, said, question, {**answer, "weight": 1}]}

    losses = []
    for weight in (0, 1):
        id = job_on(
            jobs, lines([row(weight, "It is hard to say.")] * 10), hyperparameters={"n_epochs": 1, "batch_size": 10}
        )
        assert run(jobs, id)["status"] == "succeeded"
        losses.append(events(jobs, id))
    first = [next(e["data"]["train_loss"] for e in told if e["type"] == "metrics") for told in losses]
    assert first[0] != first[1]


# ---------------------------------------------------------------- files that cannot be trained on

NO_ROLE = [chat(n) for n in range(12)]
NO_ROLE[9] = {"messages": [NO_ROLE[9]["messages"][0], {"content": "x"}]}
INVALID = "The job failed due to an invalid training file. "
WRONG: dict[str, tuple[bytes, str, str]] = {
    "seven": (lines([chat(n) for n in range(7)]), "invalid_n_examples", "Training file has 7 example(s), but must have at least 10 examples"),
    "no role": (lines(NO_ROLE), "invalid_training_file", f"{INVALID}Invalid file format. Example 10, message 2 Discriminator 'role' is missing in value"),
    "other keys": (lines([{"text": "x"}] * 12), "invalid_training_file", f"{INVALID}Unexpected file format, expected either prompt/completion pairs or chat messages."),
    "another role": (lines([{"messages": [{"role": "bot", "content": "x"}]}] * 12), "invalid_training_file", f"{INVALID}Invalid file format. Example 1, message 1 The role 'bot'"),
    "no answer": (lines([{"messages": [{"role": "user", "content": "x"}]}] * 12), "invalid_training_file", f"{INVALID}Invalid file format. Example 1 A conversation without any assistant turn"),
    "all weights 0": (lines([{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "weight": 0}]}] * 12), "invalid_training_file", f"{INVALID}Invalid file format. Example 1 Every assistant turn has weight 0"),
    "one line is no JSON": (CHATS + b'{"messages": [\n', "invalid_training_file", f"{INVALID}Invalid file format. Line 12 is not valid JSON"),
    "mixed": (CHATS + lines([completion(1)]), "invalid_training_file", f"{INVALID}Invalid file format. Example 12 "),
    "empty": (b"", "invalid_training_file", f"{INVALID}Invalid file format. Input file"),
    "blank lines": (b"\n\n\n", "invalid_training_file", f"{INVALID}Invalid file format. Input file"),
    "a PNG": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, "invalid_training_file", f"{INVALID}Unexpected file format, expected either prompt/completion pairs or chat messages. Line 1 is not valid UTF-8"),
    "Latin-1": (CHATS + '{"messages": "é"}\n'.encode("latin-1"), "invalid_training_file", f"{INVALID}Invalid file format. Line 12 is not valid UTF-8"),
    "UTF-16": (CHATS.decode().encode("utf-16"), "invalid_training_file", f"{INVALID}Unexpected file format"),
    "an array": (json.dumps([chat(n) for n in range(12)]).encode(), "invalid_training_file", f"{INVALID}Unexpected file format"),
    "a CSV": (b"question,answer\n" + b"a,b\n" * 20, "invalid_training_file", f"{INVALID}Unexpected file format"),
    "preferences": (lines([preference(n) for n in range(12)]), "invalid_training_file", "is in the fine-tune-preference format, but the specified fine-tuning job is not using 'dpo' as the training method (provided method=supervised)."),
    "deep": (b'{"messages": ' + b"[" * 100_000 + b"\n", "invalid_training_file", f"{INVALID}Unexpected file format"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_training_file_fails_the_job(name: str, tmp_path: Path) -> None:
    content, code, message = WRONG[name]
    jobs = opened(tmp_path)
    job = run(jobs, job_on(jobs, content))
    assert job["status"] == "failed" and job["error"]["code"] == code and job["error"]["param"] == "training_file"
    assert message in job["error"]["message"], job["error"]["message"]
    last = events(jobs, job["id"])[-1]
    assert (last["level"], last["message"]) == ("error", job["error"]["message"])
    assert job["finished_at"] and job["fine_tuned_model"] is None and job["result_files"] == []


def test_chats_for_dpo_fail_the_job(tmp_path: Path) -> None:
    jobs = opened(tmp_path)
    job = run(jobs, job_on(jobs, CHATS, method={"type": "dpo"}, hyperparameters=None))
    assert job["error"]["message"] == (
        f"{INVALID}Input file {job['training_file']} is in the fine-tune-chat format, but the specified fine-tuning job is "
        "not using 'supervised' as the training method (provided method=dpo)."
    )
    same = {**preference(1), "non_preferred_output": preference(1)["preferred_output"]}
    job = run(jobs, job_on(jobs, lines([same] * 10), method={"type": "dpo"}, hyperparameters=None))
    assert "Example 1 A preference whose two answers are the same" in job["error"]["message"]


def test_a_wrong_validation_file_fails_the_job(tmp_path: Path) -> None:
    jobs = opened(tmp_path)
    job = run(jobs, job_on(jobs, CHATS, b"{"))
    assert job["error"]["code"] == "invalid_validation_file" and job["error"]["param"] == "validation_file"
    assert job["error"]["message"].startswith("The job failed due to an invalid validation file. ")


def test_a_line_without_end_takes_little_memory(tmp_path: Path) -> None:
    """Gigabytes of one line, sparse on disk: refused, in a process that takes little of it."""
    jobs = opened(tmp_path)
    id = job_on(jobs, CHATS)
    with jobs.serving.files.path(jobs.get(id)["training_file"]).open("wb") as file:
        file.write(b'{"messages": "')
        file.truncate(2**31 + 2**20 if PROVE else 2**29)
    process = worker(jobs, id)
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        except OSError:
            break
        peak = max([peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
        time.sleep(0.02)
    assert process.wait(60) == 0
    assert "too long" in jobs.get(id)["error"]["message"] and 0 < peak < 450_000, peak


def test_odd_files_train_and_say_so(tmp_path: Path) -> None:
    jobs = opened(tmp_path)
    id = job_on(jobs, lines([chat(1)] * 10))
    job_worker.walk(jobs, id, until="queued")
    assert jobs.get(id)["status"] == "queued"
    told = [e["message"] for e in events(jobs, id) if e["level"] == "warn"]
    assert any(m.startswith("Training file: 9 x rows that repeat an earlier one") for m in told), told


def test_deleting_a_file_ends_no_job_that_has_it(tiny_model_path: Path, tmp_path: Path) -> None:
    jobs = opened(tmp_path, tiny_model_path)
    id = job_on(jobs, CHATS)
    job_worker.walk(jobs, id, until="queued")
    jobs.serving.files.delete(jobs.get(id)["training_file"])
    assert run(jobs, id)["status"] == "succeeded"
    other = job_on(jobs, CHATS)
    jobs.serving.files.delete(jobs.get(other)["training_file"])
    assert run(jobs, other)["status"] == "failed" and "No such File" in jobs.get(other)["error"]["message"]


# ---------------------------------------------------------------- stopped


def at_step(jobs: Jobs, id: str, step: int, act: Callable[[str], Any]) -> threading.Thread:
    """Do something to a job when it has done a step."""
    thread = threading.Thread(target=lambda: (wait_for(lambda: step in steps_done(jobs, id)), act(id)))
    thread.start()
    return thread


@pytest.fixture
def slow_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that take long enough to be stopped between."""
    from groundtune.serving.tuning.job_watch import JobWatch

    told = JobWatch._told

    def slowly(self: Any, *args: Any) -> Any:
        time.sleep(0.15)
        return told(self, *args)

    monkeypatch.setattr(JobWatch, "_told", slowly)


@pytest.mark.usefixtures("slow_steps")
def test_a_paused_job_goes_on_where_it_was(trained: tuple[Jobs, str], tiny_model_path: Path, tmp_path: Path) -> None:
    jobs = opened(tmp_path, tiny_model_path, job_checkpoint_seconds=1e9)
    id = job_on(jobs, CHATS, HELD_OUT, suffix="tower", hyperparameters={"n_epochs": 6, "batch_size": 4, "learning_rate_multiplier": 20}, metadata={"team": "a"})  # fmt: skip
    for step in (4, 9):
        thread = at_step(jobs, id, step, jobs.pause)
        assert run(jobs, id)["status"] == "paused"
        thread.join()
        done = steps_done(jobs, id)
        assert step <= done[-1] <= step + 2 and done == list(range(1, done[-1] + 1))
        job_worker.walk(jobs, id)  # a paused job is left alone
        assert steps_done(jobs, id) == done and jobs.resume(id)["status"] == "queued"
    assert run(jobs, id)["status"] == "succeeded"
    assert same(record(jobs, id), record(*trained)) == []


@pytest.mark.usefixtures("slow_steps")
def test_a_cancelled_job_stops_and_leaves_nothing_unfinished(tiny_model_path: Path, tmp_path: Path) -> None:
    jobs = opened(tmp_path, tiny_model_path)
    id = job_on(jobs, CHATS, hyperparameters={"n_epochs": 10, "batch_size": 4})
    thread = at_step(jobs, id, 4, jobs.cancel)
    job = run(jobs, id)
    thread.join()
    assert job["status"] == "cancelled" and job["fine_tuned_model"] is None and job["finished_at"]
    assert messages(jobs, id)[-1] == "Fine-tuning job successfully cancelled" and steps_done(jobs, id)[-1] <= 6
    assert not (jobs.folder(id) / "run").exists()
    assert [body["step_number"] for body in jobs.store.all("checkpoint", parent=id)] == [3]
    with pytest.raises(ApiError, match="already completed"):
        jobs.cancel(id)
    with pytest.raises(ApiError, match="cannot be paused"):
        jobs.pause(id)


def same(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two records differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            d for key in sorted(one.keys() | other.keys()) for d in same(one.get(key), other.get(key), f"{place}.{key}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [d for n, (a, b) in enumerate(zip(one, other, strict=True)) for d in same(a, b, f"{place}[{n}]")]
    return [] if one == other else [f"{place}: {str(one)[:80]} / {str(other)[:80]}"]


# ---------------------------------------------------------------- killed


def kill_until_done(jobs: Jobs, id: str, moments: Iterator[float]) -> int:
    """Kill a job's process so many seconds after each start until it ends all the same; how often it was killed alive."""
    killed = 0
    while jobs.get(id)["status"] not in ENDED:
        process = worker(jobs, id)
        try:
            assert process.wait(next(moments, 120)) == 0, (jobs.folder(id) / "log.txt").read_text(encoding="utf-8")[
                -2000:
            ]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
    return killed


@pytest.mark.parametrize("kind", ["supervised", "dpo"])
def test_killed_anywhere_a_job_ends_in_the_same(kind: str, tiny_model_path: Path, tmp_path: Path) -> None:
    """Every file and object of a job whose process was killed with SIGKILL, again and again, against an undisturbed one's."""
    training, held_out = (CHATS, HELD_OUT) if kind == "supervised" else (lines([preference(n) for n in range(11)]), lines([preference(n) for n in range(30, 35)]))  # fmt: skip
    numbers = {"n_epochs": 50 if PROVE else 12, "batch_size": 2}
    method = {"type": kind, kind: {"hyperparameters": numbers}}
    undisturbed = opened(tmp_path / "undisturbed", tiny_model_path)
    first = job_on(undisturbed, training, held_out, method=method, hyperparameters=None)
    started = time.monotonic()
    assert worker(undisturbed, first).wait(300) == 0 and undisturbed.get(first)["status"] == "succeeded"
    seconds = time.monotonic() - started
    rng, killed, wanted, numbered = random.Random(kind), 0, 20 if PROVE else 2, count()
    while killed < wanted:
        jobs = opened(tmp_path / f"killed-{next(numbered)}", tiny_model_path)
        id = job_on(jobs, training, held_out, method=method, hyperparameters=None)
        moments = (rng.uniform(0.2, 1.0) * seconds for _ in range(wanted - killed))
        killed += kill_until_done(jobs, id, moments)
        assert jobs.get(id)["status"] == "succeeded"
        assert same(record(jobs, id), record(undisturbed, first)) == []


KILLED_AT = {
    "before its files are taken": "groundtune.serving.tuning.job_worker.take",
    "files checked, not queued": "groundtune.serving.tuning.job_worker.oddities",
    "before weights of a checkpoint are renamed": "groundtune.serving.tuning.job_watch.model_object",
    "checkpoint known, none pruned": "groundtune.serving.tuning.job_watch.prune",
    "weights written, result file not": "groundtune.serving.tuning.job_run.result_table",
    "result file written, nothing known": "groundtune.serving.tuning.job_run.model_object",
    "ended, not tidied": "groundtune.serving.tuning.job_worker.tidy",
}


@pytest.mark.parametrize("moment", KILLED_AT if PROVE else ["checkpoint known, none pruned", "result file written, nothing known", "ended, not tidied"])  # fmt: skip
def test_killed_at_the_worst_moments(
    moment: str, trained: tuple[Jobs, str], tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that nothing catches stands for the kill: what is in memory is gone, what is on disk stays."""
    jobs = opened(tmp_path, tiny_model_path)
    id = job_on(jobs, CHATS, HELD_OUT, suffix="tower", hyperparameters={"n_epochs": 6, "batch_size": 4, "learning_rate_multiplier": 20}, metadata={"team": "a"})  # fmt: skip

    class Killed(BaseException):
        pass

    def kill(*args: Any, **kwargs: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(KILLED_AT[moment], kill)
        with pytest.raises(Killed):
            job_worker.walk(jobs, id)
    assert run(jobs, id)["status"] == "succeeded"
    assert same(record(jobs, id), record(*trained)) == []
    assert not (jobs.folder(id) / "run").exists()


def test_a_job_is_run_once(tiny_model_path: Path, tmp_path: Path) -> None:
    jobs = opened(tmp_path, tiny_model_path)
    id = job_on(jobs, CHATS, hyperparameters={"n_epochs": 30, "batch_size": 1})
    first = worker(jobs, id)
    try:
        wait_for(lambda: steps_done(jobs, id))
        second = worker(jobs, id)
        assert second.wait(60) == job_worker.TAKEN
        assert first.wait(120) == 0
        assert steps_done(jobs, id) == list(range(1, 331)) and ended(jobs, id)["status"] == "succeeded"
    finally:
        stop_workers(jobs)


# ---------------------------------------------------------------- faults of the machine


def test_a_full_disk_pauses_the_job(tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = opened(tmp_path, tiny_model_path)
    id = job_on(jobs, CHATS)
    from groundtune.training import trainer

    written = trainer.trained_tensors

    def full(model: Any) -> Any:
        if len(steps_done(jobs, id)) >= 3:
            raise OSError(28, "No space left on device")
        return written(model)

    project = ["--project", str(tmp_path), "--config", str(tmp_path / "config.json"), id]
    (tmp_path / "config.json").write_text(jobs.serving.setup.config.model_dump_json(), encoding="utf-8")
    monkeypatch.setattr(job_worker, "be_modest", lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "trained_tensors", full)
        assert job_worker.main(project) == 0
    job = jobs.get(id)
    assert job["status"] == "paused" and "disk is full" in messages(jobs, id)[-1]
    assert all((half / "groundtune-whole").exists() for half in (jobs.folder(id) / "run").glob("checkpoint-*"))
    jobs.resume(id)
    assert job_worker.main(project) == 0 and jobs.get(id)["status"] == "succeeded"


def test_what_a_full_disk_looks_like(tmp_path: Path) -> None:
    from safetensors import SafetensorError

    assert job_worker.disk_full(OSError(28, "No space left on device"), tmp_path)
    assert job_worker.disk_full(SafetensorError("I/O error: No space left on device (os error 28)"), tmp_path)
    try:
        try:
            raise OSError(28, "full")
        except OSError as error:
            raise ValueError("while saving") from error
    except ValueError as error:
        assert job_worker.disk_full(error, tmp_path)
    assert not job_worker.disk_full(OSError(13, "Permission denied"), tmp_path)
    assert (
        not job_worker.disk_full(RuntimeError("a write outside the tensor"), tmp_path)
        or shutil.disk_usage(tmp_path).free < 2**26
    )


def test_a_loss_that_is_no_number_fails_the_job(tmp_path: Path) -> None:
    jobs = opened(tmp_path)
    numbers = {"n_epochs": 5, "batch_size": 2, "learning_rate_multiplier": 1e9}
    job = run(jobs, job_on(jobs, CHATS, hyperparameters=numbers))
    assert job["status"] == "failed" and job["error"]["code"] == "training_failed"
    assert not (jobs.folder(job["id"]) / "run").exists()


def test_wandb_is_told(tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    jobs = opened(tmp_path, tiny_model_path)
    given = {"project": "towers", "name": "first", "tags": ["a", "b"], "entity": None}
    id = job_on(jobs, CHATS, integrations=[{"type": "wandb", "wandb": given}])
    assert worker(jobs, id, WANDB_MODE="offline").wait(120) == 0
    assert jobs.get(id)["status"] == "succeeded", (jobs.folder(id) / "log.txt").read_text(encoding="utf-8")[-2000:]
    [kept_run] = (jobs.serving.folder / "tracking" / "wandb").glob("offline-run-*")
    content = next(kept_run.glob("*.wandb")).read_bytes()
    assert b"towers" in content and b"first" in content and id.encode() in content
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ApiError, match="not installed"):
        jobs.create(
            CreateJob(
                model=str(tiny_model_path),
                training_file=kept(jobs, CHATS),
                integrations=[{"type": "wandb", "wandb": given}],
            )
        )  # type: ignore[list-item]
