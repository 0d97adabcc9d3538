"""Fine-tuning jobs as objects: made, read, stopped, and what happens to them as events and checkpoints.

Who trains is ``job_worker``, in a process of its own; who starts it is ``job_keeper``. All that a job writes has an id made
of the job's and of what it is about (a step, a name), so that a job that was killed and goes on writes nothing twice.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import time
from collections.abc import Mapping
from typing import Any, Literal

from groundtune.serving.errors import bad_request, no_such
from groundtune.serving.job_request import CreateJob
from groundtune.serving.state import Serving
from groundtune.serving.store import Body

#: states in which something is still to come
OPEN = ("validating_files", "queued", "running", "paused")
ENDED = ("succeeded", "failed", "cancelled")
Level = Literal["info", "warn", "error"]
_LETTERS = string.ascii_letters + string.digits


class Jobs:
    """The jobs of a server.

    Args:
        serving: where they are kept.
    """

    def __init__(self, serving: Serving) -> None:
        self.serving, self.store = serving, serving.store

    # ---------------------------------------------------------------- life

    def create(self, wanted: CreateJob) -> Body:
        """A new job, not begun.

        Raises:
            ApiError: no such model or file, or a way to train that is not offered.
        """
        if wanted.kind == "reinforcement":
            message = "Fine-tuning by 'reinforcement' is not offered here: expected 'supervised' or 'dpo'."
            raise bad_request(message, param="method.type", code="unsupported_method")
        model, _ = self.serving.catalog.trainable(wanted.model)
        self.serving.files.get(wanted.training_file, param="training_file")
        if wanted.validation_file:
            self.serving.files.get(wanted.validation_file, param="validation_file")
        numbers = wanted.wanted
        body: dict[str, Any] = {
            "object": "fine_tuning.job", "model": model, "organization_id": self.serving.config.organization, "error": None,
            "fine_tuned_model": None, "finished_at": None, "estimated_finish": None, "trained_tokens": None,
            "result_files": [], "status": "validating_files", "training_file": wanted.training_file,
            "validation_file": wanted.validation_file, "hyperparameters": numbers,
            "method": {"type": wanted.kind, wanted.kind: {"hyperparameters": numbers}},
            "seed": secrets.randbelow(2**31) if wanted.seed is None else wanted.seed,
            "integrations": [i.model_dump() for i in wanted.integrations or []],
            "metadata": wanted.metadata, "user_provided_suffix": wanted.suffix,
        }  # fmt: skip
        job = self.store.add("job", body, state="validating_files")
        self.event(job["id"], "created", f"Created fine-tuning job: {job['id']}")
        files = f"Validating training file: {wanted.training_file}"
        if wanted.validation_file:
            files += f" and validation file: {wanted.validation_file}"
        self.event(job["id"], "validating", files)
        return self.get(job["id"])

    def get(self, id: str) -> Body:
        """A job.

        Raises:
            ApiError: there is none.
        """
        body = self.store.get("job", id)
        if body is None:
            raise no_such("FineTuningJob", id, param="fine_tuning_job_id")
        return body

    def move(self, id: str, to: str, *, among: tuple[str, ...], what: str) -> Body:
        """Bring a job into another state, at a client's word.

        Raises:
            ApiError: there is none, or it is in a state from which that cannot be.
        """

        def change(body: Body) -> Mapping[str, Any]:
            if body["status"] not in among:
                message = (
                    f"Job has already completed: {id}" if body["status"] in ENDED else f"Job {id} is {body['status']}."
                )
                raise bad_request(f"{message} It cannot be {what}.", param="fine_tuning_job_id", code="invalid_state")
            return {"status": to, **({"finished_at": int(time.time())} if to in ENDED else {})}

        body = self.store.change("job", id, change)
        if body is None:
            raise no_such("FineTuningJob", id, param="fine_tuning_job_id")
        return body

    def cancel(self, id: str) -> Body:
        """Stop a job for good."""
        body = self.move(id, "cancelled", among=OPEN, what="cancelled")
        self.event(id, "cancelled", "Fine-tuning job successfully cancelled")
        return body

    def pause(self, id: str) -> Body:
        """Stop a job until it is resumed; its checkpoint stays."""
        body = self.move(id, "paused", among=("queued", "running"), what="paused")
        self.event(id, f"paused {time.time_ns()}", "Fine-tuning job paused")
        return body

    def resume(self, id: str) -> Body:
        """Let a paused job go on where it was."""
        body = self.move(id, "queued", among=("paused",), what="resumed")
        self.event(id, f"resumed {time.time_ns()}", "Fine-tuning job resumed, moving job to queued state")
        return body

    # ---------------------------------------------------------------- what a worker writes

    def progress(self, id: str, *, among: tuple[str, ...], **changes: Any) -> Body | None:
        """Change a job that is still in one of these states; None where it is not any more: somebody stopped it."""
        taken = False

        def change(body: Body) -> Mapping[str, Any] | None:
            nonlocal taken
            taken = body["status"] in among
            return changes if taken else None

        body = self.store.change("job", id, change)
        return body if taken else None

    def event(
        self, id: str, key: str, message: str, *, level: Level = "info", data: Mapping[str, Any] | None = None
    ) -> None:
        """Write an event, once for each key."""
        body = {
            "object": "fine_tuning.job.event", "level": level, "message": message,
            "type": "metrics" if data else "message", "data": dict(data or {}),
        }  # fmt: skip
        try:
            self.store.add("event", body, id=f"ftevent-{derived(id, key)}", parent=id)
        except KeyError:  # written before a kill
            return

    def checkpoint(self, id: str, step: int, model: str, metrics: Mapping[str, Any]) -> None:
        """Write a checkpoint's object, once for each step."""
        body = {
            "object": "fine_tuning.job.checkpoint", "fine_tuning_job_id": id, "fine_tuned_model_checkpoint": model,
            "step_number": step, "metrics": dict(metrics),
        }  # fmt: skip
        try:
            self.store.add("checkpoint", body, id=f"ftckpt_{derived(id, f'step {step}')}", parent=id)
        except KeyError:
            return
        message = f"Checkpoint created at step {step} with Snapshot ID: {model}"
        self.event(id, f"checkpoint {step}", message)

    def fail(self, id: str, code: str, message: str, *, param: str | None = None) -> None:
        """End a job with what was wrong."""
        error = {"code": code, "message": message, "param": param}
        now = int(time.time())
        if self.progress(id, among=OPEN, status="failed", error=error, finished_at=now) is not None:
            self.event(id, "failed", message, level="error")


def model_name(job: Mapping[str, Any], organization: str, step: int | None = None) -> str:
    """``ft:BASE:ORGANIZATION:SUFFIX:ID``, of a checkpoint with its step behind; the same each time it is asked for."""
    suffix = job.get("user_provided_suffix") or ""
    own = derived(str(job["id"]), "model" if step is None else f"model {step}")[:8]
    name = f"ft:{job['model']}:{organization}:{suffix}:{own}"
    return name if step is None else f"{name}:ckpt-step-{step}"


def derived(id: str, key: str) -> str:
    """Twenty-four letters and digits that follow from a job and a key."""
    number, out = int.from_bytes(hashlib.sha256(f"{id} {key}".encode()).digest(), "big"), ""
    for _ in range(24):
        number, place = divmod(number, len(_LETTERS))
        out += _LETTERS[place]
    return out
