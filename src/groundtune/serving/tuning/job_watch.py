"""What a job tells while it trains: an event of figures a step, validations, checkpoints; and where it stops at a client's word.

A callback of the training loop. The events are the record of the figures: they are written before the loop's own checkpoint of
the same step, so that a job that goes on behind a checkpoint has the events of all steps up to it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from groundtune.serving.storage.store import Body, New
from groundtune.serving.tuning.job_models import model_object, prune, weights_folder, write_weights
from groundtune.serving.tuning.jobs import TRAINING, Jobs, derived, event, event_id, model_name
from groundtune.training.preference_guards import PreferenceWatch

#: steps between validations on a batch
EVERY = 10
#: seconds between changes of ``estimated_finish``
_ESTIMATE = 2.0
#: the figures of a checkpoint's ``metrics``
_METRICS = (
    "step", "train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy",
    "full_valid_loss", "full_valid_mean_token_accuracy",
)  # fmt: skip
#: figures of a model on validation data; None: none were given
Measure = Callable[[Any, Sequence[int] | None], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Course:
    """What a run is to do.

    Attributes:
        steps, steps_per_epoch: optimizer steps.
        batch_size: examples of a step, and of a validation.
        base: what the weights are of, as the catalog loads it.
        validation: validation examples.
        checkpoint_seconds: seconds between checkpoints of the loop.
    """

    steps: int
    steps_per_epoch: int
    batch_size: int
    base: str
    validation: int
    checkpoint_seconds: float


class JobWatch(TrainerCallback):
    """Writes a job's progress, and stops its training when the job was paused or cancelled.

    Args:
        jobs, job: where to write.
        course: what is done.
        tokenizer: goes beside the weights of checkpoints.
        figures: gives the figures of the step's training batch, and forgets them.
        measure: (model, numbers of validation examples or None for all) -> its figures on them.
    """

    def __init__(
        self, jobs: Jobs, job: Body, course: Course, tokenizer: Any,
        figures: Callable[[], Mapping[str, float]], measure: Measure,
    ) -> None:  # fmt: skip
        self.jobs, self.job, self.course, self.tokenizer = jobs, job, course, tokenizer
        self.figures, self.measure = figures, measure
        self.id = str(job["id"])
        self.began = self.saved = time.monotonic()
        self.estimated = 0.0
        self.first: int | None = None
        self.preferences = PreferenceWatch()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask for a checkpoint of the loop when one is due."""
        if time.monotonic() - self.saved >= self.course.checkpoint_seconds:
            control.should_save = True
            self.saved = time.monotonic()
        return control

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        logs: Any = None, model: Any = None, **kwargs: Any,
    ) -> TrainerControl:  # fmt: skip
        """Write the step's event, and its checkpoint at the end of an epoch; stop if the job is no longer to run."""
        if not logs or "loss" not in logs:
            return control
        step, told = state.global_step, self._told(model, state.global_step, float(logs["loss"]))
        if (margin := told.body["data"].get("train_reward_margin")) is not None:
            self.preferences.on_log(args, state, control, {"rewards/margins": margin})
        job = self.jobs.progress(self.id, among=TRAINING, told=[told], lasting=False, **self._estimate(step))
        if job is None:
            control.should_training_stop = True
            control.should_save = False
            return control
        if step % self.course.steps_per_epoch == 0 and step < self.course.steps:
            self._checkpoint(model, step, told.body["data"])
        if job["status"] == "queued":  # paused and resumed within this step
            job = self.jobs.progress(self.id, among=("queued",), status="running")
        if (job is None or job["status"] != "running") and step < self.course.steps:
            control.should_training_stop = control.should_save = True
        return control

    def _told(self, model: Any, step: int, loss: float) -> New:
        data: dict[str, Any] = {"step": step, "total_steps": self.course.steps, "train_loss": round(loss, 5)}
        data |= {f"train_{name}": round(value, 5) for name, value in self.figures().items()}
        message = f"Step {step}/{self.course.steps}: training loss={loss:.2f}"
        last = step == self.course.steps
        if self.course.validation and (step % EVERY == 0 or last):
            found = self.measure(model, self._validation_batch(step))
            data |= {f"valid_{name}": round(value, 5) for name, value in found.items()}
            message += f", validation loss={found['loss']:.2f}"
        if self.course.validation and (last or step % self.course.steps_per_epoch == 0):
            found = self.measure(model, None)
            data |= {f"full_valid_{name}": round(value, 5) for name, value in found.items()}
            message += f", full validation loss={found['loss']:.2f}"
        return event(self.id, f"step {step}", message, data=data)

    def _validation_batch(self, step: int) -> list[int]:
        """Examples after each other, round and round: which ones follows from the step alone."""
        size = min(self.course.batch_size, self.course.validation)
        first = (step // EVERY) * size
        return [(first + n) % self.course.validation for n in range(size)]

    def _estimate(self, step: int) -> dict[str, int]:
        """``estimated_finish`` from this process' own steps, now and then."""
        now = time.monotonic()
        if self.first is None:
            self.first, self.began = step, now
            return {}
        if now - self.estimated < _ESTIMATE and self.estimated:
            return {}
        self.estimated = now
        left = (now - self.began) / (step - self.first) * (self.course.steps - step)
        return {"estimated_finish": int(time.time() + left) + 1}

    def _checkpoint(self, model: Any, step: int, data: Mapping[str, Any]) -> None:
        """A checkpoint that is a model of its own; each is made once, even if it was removed since."""
        key = f"checkpoint {step}"
        if self.jobs.store.get("event", event_id(self.id, key), parent=self.id) is not None:
            return
        serving = self.jobs.serving
        name = model_name(self.job, str(self.job["organization_id"]), step)
        folder = weights_folder(serving, self.id, step)
        write_weights(model, self.tokenizer, folder)
        body = {
            "object": "fine_tuning.job.checkpoint", "fine_tuning_job_id": self.id, "fine_tuned_model_checkpoint": name,
            "step_number": step, "metrics": {name: data[name] for name in _METRICS if name in data},
        }  # fmt: skip
        told = [
            model_object(serving, name, folder, job=self.id, base=self.course.base),
            New("checkpoint", f"ftckpt_{derived(self.id, f'step {step}')}", body, parent=self.id),
            event(self.id, key, f"Checkpoint created at step {step} with Snapshot ID: {name}"),
        ]
        if self.jobs.progress(self.id, among=TRAINING, told=told) is None:  # cancelled meanwhile
            shutil.rmtree(folder, ignore_errors=True)
            return
        prune(serving, self.id)
