"""Weights of jobs on disk: written whole or not at all, known by an object in the store, removed with it.

A model's folder is ``models/JOB/final`` or ``models/JOB/step-N`` below the server's folder; what no object knows there is what
a kill left, and goes at the next start.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from groundtune.serving.errors import ApiError, bad_request, no_such_model
from groundtune.serving.state import Serving
from groundtune.serving.storage.store import New
from groundtune.serving.tuning.jobs import OPEN

FOLDER = "models"
#: checkpoints of a job that are kept (OpenAI's number)
KEPT = 3


def weights_folder(serving: Serving, job: str, step: int | None = None) -> Path:
    """Where the weights of a job's end, or of one of its steps, are or will be."""
    return serving.folder / FOLDER / job / ("final" if step is None else f"step-{step}")


def write_weights(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model, or an adapter, with its tokenizer as safetensors; nothing where it is there already."""
    if folder.exists():
        return
    half = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    model.save_pretrained(half)
    tokenizer.save_pretrained(half)
    (half / "README.md").unlink(missing_ok=True)  # PEFT's card, which says nothing
    half.rename(folder)


def model_object(serving: Serving, name: str, folder: Path, *, job: str, base: str) -> New:
    """What makes weights known to the catalog."""
    adapter = (folder / "adapter_config.json").exists()
    body = {"object": "model", "base": base, "folder": folder.relative_to(serving.folder).as_posix(), "adapter": adapter, "job": job}  # fmt: skip
    return New("model", name, body)


def prune(serving: Serving, job: str) -> None:
    """Remove a job's checkpoints but for the last three, objects first."""
    found = sorted(serving.store.all("checkpoint", parent=job), key=lambda body: int(body["step_number"]))
    for body in found[:-KEPT]:
        serving.store.remove("model", body["fine_tuned_model_checkpoint"])
        serving.store.remove("checkpoint", body["id"], parent=job)
        shutil.rmtree(weights_folder(serving, job, int(body["step_number"])), ignore_errors=True)


def delete_model(serving: Serving, name: str) -> None:
    """Remove a tuned model, its object and then its weights.

    Raises:
        ApiError: no such model, one that is not of a job, or one that an unfinished job trains on.
    """
    body = serving.store.get("model", name)
    if body is None:
        serving.catalog.resolve(name)
        message = f"The model `{name}` was not made by a fine-tuning job and cannot be deleted."
        raise ApiError(403, message, param="model", code="model_not_deletable")
    for job in serving.store.server.all("job", states=OPEN):  # whosever it is
        work = serving.store.server.get("job_work", job["id"])
        if work is not None and work["base"] == name:
            raise bad_request(
                f"The model `{name}` is being trained on by {job['id']}.", param="model", code="model_in_use"
            )
    if not serving.store.remove("model", name):
        raise no_such_model(name)
    shutil.rmtree(serving.folder / body["folder"], ignore_errors=True)


def tidy(serving: Serving) -> None:
    """Remove weights that no model's object knows, of jobs that write no more."""
    still = {body["id"] for body in serving.store.all("job", states=OPEN)}
    known = {body["folder"] for body in serving.store.all("model")}
    for job in (serving.folder / FOLDER).glob("*"):
        if job.name in still:
            continue
        for folder in job.iterdir():
            if folder.relative_to(serving.folder).as_posix() not in known:
                shutil.rmtree(folder, ignore_errors=True)
        if not any(job.iterdir()):
            job.rmdir()
