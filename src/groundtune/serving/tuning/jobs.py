"""Fine-tuning jobs as objects: made, read, stopped, and what happens to them as events and checkpoints.

Who trains is ``job_worker``, in a process of its own; who starts it is ``job_keeper``. All that a job writes has an id made
of the job's and of what it is about (a step, a name), and goes into the store along with the change of state that it tells
of, so that a job that was killed and goes on writes nothing twice and leaves nothing out.
"""

from __future__ import annotations

import hashlib
import importlib.util
import secrets
import string
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from groundtune.serving.errors import ApiError, bad_request, no_such
from groundtune.serving.ids import new_id
from groundtune.serving.state import Serving
from groundtune.serving.storage.store import Body, New
from groundtune.serving.tuning.job_request import CreateJob

#: states in which something is still to come
OPEN = ("validating_files", "queued", "running", "paused")
ENDED = ("succeeded", "failed", "cancelled")
#: states in which a worker that trains may write: a pause takes effect with the step under way
TRAINING = ("running", "paused", "queued")
Level = Literal["info", "warn", "error"]
_LETTERS = string.ascii_letters + string.digits


class Jobs:
    """The jobs of a server.

    Args:
        serving: where they are kept.

    Attributes:
        wake: called when there is something to do; the keeper's.
    """

    def __init__(self, serving: Serving) -> None:
        self.serving, self.store = serving, serving.store
        self.wake: Callable[[], None] = lambda: None

    def of(self, serving: Serving) -> Jobs:
        """The same as a view of the server sees it."""
        view = Jobs(serving)
        view.wake = self.wake
        return view

    def folder(self, id: str) -> Path:
        """Where a job's log, lock and unfinished training are."""
        return self.serving.folder / "jobs" / id

    # ---------------------------------------------------------------- life

    def create(self, wanted: CreateJob) -> Body:
        """A new job, not begun.

        Raises:
            ApiError: no such model or file, or a way to train, or a tracker, that is not offered.
        """
        if wanted.kind == "reinforcement":
            message = "Fine-tuning by 'reinforcement' is not offered here: expected 'supervised' or 'dpo'."
            raise bad_request(message, param="method.type", code="unsupported_method")
        model, _ = self.serving.catalog.trainable(wanted.model)
        self.serving.files.get(wanted.training_file, param="training_file")
        if wanted.validation_file:
            self.serving.files.get(wanted.validation_file, param="validation_file")
        if wanted.integrations and importlib.util.find_spec("wandb") is None:
            message = (
                "Weights and Biases is not installed on this server: pip install wandb, or leave 'integrations' out."
            )
            raise bad_request(message, param="integrations", code="integration_not_available")
        id, numbers = new_id("job"), wanted.wanted
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
        files = f"Validating training file: {wanted.training_file}"
        if wanted.validation_file:
            files += f" and validation file: {wanted.validation_file}"
        self.store.add_all(
            [
                New("job_work", id, {"base": wanted.model}),
                New("job", id, body, state="validating_files"),
                event(id, "created", f"Created fine-tuning job: {id}"),
                event(id, "validating", files),
            ]
        )
        self.wake()
        return self.get(id)

    def get(self, id: str) -> Body:
        """A job.

        Raises:
            ApiError: there is none.
        """
        body = self.store.get("job", id)
        if body is None:
            raise no_such("FineTuningJob", id, param="fine_tuning_job_id")
        return body

    def _move(self, id: str, to: str, *, among: tuple[str, ...], what: str, told: New) -> Body:
        """Bring a job into another state, at a client's word.

        Raises:
            ApiError: there is none, or it is in a state from which that cannot be.
        """

        def change(body: Body) -> Mapping[str, Any]:
            if body["status"] not in among:
                ended = body["status"] in ENDED
                message = f"Job has already completed: {id}." if ended else f"Job {id} is {body['status']}."
                raise bad_request(f"{message} It cannot be {what}.", param="fine_tuning_job_id", code="invalid_state")
            ends = {"finished_at": int(time.time())} if to in ENDED else {}
            return {"status": to, "estimated_finish": None, **ends}

        body = self.store.change("job", id, change, also=[told])
        if body is None:
            raise no_such("FineTuningJob", id, param="fine_tuning_job_id")
        self.wake()
        return body

    def cancel(self, id: str) -> Body:
        """Stop a job for good."""
        told = event(id, "cancelled", "Fine-tuning job successfully cancelled")
        return self._move(id, "cancelled", among=OPEN, what="cancelled", told=told)

    def pause(self, id: str) -> Body:
        """Stop a job until it is resumed; its checkpoint stays."""
        told = event(id, f"paused {time.time_ns()}", "Fine-tuning job paused")
        return self._move(id, "paused", among=("queued", "running"), what="paused", told=told)

    def resume(self, id: str) -> Body:
        """Let a paused job go on where it was."""
        told = event(id, f"resumed {time.time_ns()}", "Fine-tuning job resumed, moving job to queued state")
        return self._move(id, "queued", among=("paused",), what="resumed", told=told)

    # ---------------------------------------------------------------- what a worker writes

    def progress(
        self, id: str, *, among: tuple[str, ...], told: Sequence[New] = (), lasting: bool = True, **changes: Any
    ) -> Body | None:
        """Change a job that is still in one of these states, and write what tells of it, in one transaction.

        Args:
            lasting: False: ``changes`` are of a job that runs, and left out where it was paused meanwhile.

        Returns:
            The job afterwards; None where it is in another state: somebody stopped it, and nothing was written.
        """
        taken = False

        def change(body: Body) -> Mapping[str, Any] | None:
            nonlocal taken
            taken = body["status"] in among
            if not taken:
                return None
            return changes if lasting or body["status"] == "running" else {}

        body = self.store.change("job", id, change, also=told)
        return body if taken else None

    def warn(self, id: str, key: str, message: str) -> None:
        """Tell of something odd, once for each key."""
        self.store.change("job", id, lambda _: {}, also=[event(id, key, message, level="warn")])

    def fail(self, id: str, code: str, message: str, *, param: str | None = None) -> bool:
        """End a job with what was wrong; False where it had ended before."""
        error = {"code": code, "message": message, "param": param}
        told = [event(id, "failed", message, level="error")]
        ends: dict[str, Any] = {"finished_at": int(time.time()), "estimated_finish": None}
        return self.progress(id, among=OPEN, told=told, status="failed", error=error, **ends) is not None

    def hold(self, id: str, why: str) -> None:
        """Pause a job for a reason of the machine's."""
        told = [event(id, f"held {time.time_ns()}", why, level="error")]
        self.progress(id, among=("queued", "running"), told=told, status="paused", estimated_finish=None)


def event(id: str, key: str, message: str, *, level: Level = "info", data: Mapping[str, Any] | None = None) -> New:
    """An event of a job, to be written once for each key."""
    body = {
        "object": "fine_tuning.job.event", "level": level, "message": message,
        "type": "metrics" if data else "message", "data": dict(data or {}),
    }  # fmt: skip
    return New("event", event_id(id, key), body, parent=id)


def event_id(id: str, key: str) -> str:
    """The id of a job's event."""
    return f"ftevent-{derived(id, key)}"


def result_file_id(id: str) -> str:
    """The id that a job's result file has or will have."""
    return f"file-{derived(id, 'results')}"


def coming_files(serving: Serving) -> list[str]:
    """Ids of files that jobs may be writing now."""
    return [result_file_id(str(body["id"])) for body in serving.store.all("job", states=OPEN)]


def model_name(job: Mapping[str, Any], organization: str, step: int | None = None) -> str:
    """``ft:BASE:ORGANIZATION:SUFFIX:ID``, of a checkpoint with its step behind; the same each time it is asked for."""
    suffix = job.get("user_provided_suffix") or ""
    own = derived(str(job["id"]), "model" if step is None else f"model {step}")[:8]
    base = str(job["model"])
    base = Path(base).name if Path(base).is_absolute() else base
    base = base.replace("/", "--").replace(":", "-")  # a name goes into addresses and is cut at colons
    name = f"ft:{base}:{organization}:{suffix}:{own}"
    return name if step is None else f"{name}:ckpt-step-{step}"


def derived(id: str, key: str) -> str:
    """Twenty-four letters and digits that follow from a job and a key."""
    number, out = int.from_bytes(hashlib.sha256(f"{id} {key}".encode()).digest(), "big"), ""
    for _ in range(24):
        number, place = divmod(number, len(_LETTERS))
        out += _LETTERS[place]
    return out


def base_of(jobs: Jobs, id: str) -> str:
    """The name of the model that a job was asked to train.

    Raises:
        ApiError: there is no such job.
    """
    work = jobs.store.get("job_work", id)
    if work is None:
        raise ApiError(404, f"No such FineTuningJob object: {id}", param="fine_tuning_job_id")
    return str(work["base"])
