"""Small training files, and jobs on them, for tests of fine-tuning."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from groundtune.config import Config, ServeConfig
from groundtune.methods._setup import Setup
from groundtune.serving.state import Serving
from groundtune.serving.storage.store import Body
from groundtune.serving.tuning.job_request import CreateJob
from groundtune.serving.tuning.jobs import ENDED, Jobs
from groundtune.workspace import Workspace

#: ids that are made of a job's own: of events, checkpoints, files, and the eight letters in a model's name
_OWN_ID = re.compile(r"(?<=ftevent-)\w{24}|(?<=ftckpt_)\w{24}|(?<=file-)\w{24}|(?<=:)\w{8}(?=:ckpt-step-|$)")
WORKER = (sys.executable, "-m", "groundtune.serving.tuning.job_worker")


def chat(n: int) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": f"How tall is tower {n}?"},
            {"role": "assistant", "content": f"Tower {n} is {n * 7 + 3} metres tall."},
        ]
    }


def completion(n: int) -> dict[str, Any]:
    return {"prompt": f"tower {n} ->", "completion": f" {n * 7 + 3} metres\n"}


def preference(n: int, keys: Sequence[str] = ("preferred_output", "non_preferred_output")) -> dict[str, Any]:
    question, answer = chat(n)["messages"]
    refusal = {"role": "assistant", "content": "I do not want to say."}
    return {"input": {"messages": [question]}, keys[0]: [answer], keys[1]: [refusal]}


def lines(rows: Sequence[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def opened(root: Path, model: Path | str = "pebble", **serve: Any) -> Jobs:
    """The jobs of a project with a model."""
    config = Config(model=str(model), serve=ServeConfig(**{"job_checkpoint_seconds": 0, **serve}))
    return Jobs(Serving.open(Setup(Workspace(root), config)))


def kept(jobs: Jobs, content: bytes) -> str:
    return str(jobs.serving.files.keep([content], "data.jsonl", "fine-tune")["id"])


def job_on(jobs: Jobs, training: bytes, validation: bytes | None = None, **wanted: Any) -> str:
    """A new job on files of that content."""
    held_out = {"validation_file": kept(jobs, validation)} if validation is not None else {}
    numbers = {"n_epochs": 2, "batch_size": 4}
    given = {"model": jobs.serving.setup.config.model, "seed": 5, "hyperparameters": numbers, **held_out, **wanted}
    return str(jobs.create(CreateJob(training_file=kept(jobs, training), **given))["id"])


def events(jobs: Jobs, id: str) -> list[Body]:
    return jobs.store.all("event", parent=id)


def messages(jobs: Jobs, id: str) -> list[str]:
    return [body["message"] for body in events(jobs, id)]


def steps_done(jobs: Jobs, id: str) -> list[int]:
    return [body["data"]["step"] for body in events(jobs, id) if body["type"] == "metrics"]


def wait_for(what: Callable[[], Any], seconds: float = 90) -> Any:
    """The first true value of something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise TimeoutError("waited in vain")


def ended(jobs: Jobs, id: str, seconds: float = 90) -> Body:
    """A job once it has ended."""
    job: Body = wait_for(lambda: (body := jobs.get(id))["status"] in ENDED and body, seconds)
    return job


def stop_workers(jobs: Jobs) -> None:
    """Kill what still works for a project's jobs, so that no test leaves processes."""
    for file in (jobs.serving.folder / "jobs").glob("*/pid"):
        try:
            os.kill(int(file.read_text(encoding="utf-8")), signal.SIGKILL)
        except (ProcessLookupError, ValueError, FileNotFoundError):
            continue


def record(jobs: Jobs, id: str) -> dict[str, Any]:
    """All that came of a job, with no times and with what differs from job to job taken out: names, ids."""
    job = jobs.get(id)
    own = {id: "JOB", job["training_file"]: "TRAINING", str(job["validation_file"]): "VALIDATION"}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k not in ("created_at", "finished_at", "estimated_finish")}
        if isinstance(value, list):
            return [plain(v) for v in value]
        if isinstance(value, str):
            for name, stands in own.items():
                value = value.replace(name, stands)
            return _OWN_ID.sub("ID", value)
        return value

    folder = jobs.serving.folder
    weights = {
        path.relative_to(folder / "models" / id).as_posix(): path.read_bytes()
        for path in sorted((folder / "models" / id).rglob("*.safetensors"))
        if path.name != "probe.safetensors"
    }
    return {
        "job": plain(job),
        "events": plain(
            [e for e in events(jobs, id) if "paused" not in e["message"] and "resumed" not in e["message"]]
        ),
        "checkpoints": plain(jobs.store.all("checkpoint", parent=id)),
        "models": plain([body for body in jobs.store.all("model") if body["job"] == id]),
        "results": [jobs.serving.files.path(file).read_bytes() for file in job["result_files"]],
        "files": len(jobs.store.all("file")),
        "weights": weights,
        "left": sorted(p.name for p in (folder / "models" / id).iterdir()),
    }
