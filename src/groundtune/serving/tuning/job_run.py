"""One training of a job, from checked files to weights, events and the result file; goes on where an earlier one was stopped.

The bundled model and full models tuned from it are trained whole, every other one by LoRA of rank 16. A batch is so many
examples, as OpenAI counts; its loss is the mean over its trained tokens. Leaves out states before and after (``job_worker``).
"""

from __future__ import annotations

import base64
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundtune.errors import GroundtuneError, InputError
from groundtune.methods import full, lora
from groundtune.methods._causal_training import open_for_training
from groundtune.methods._finished import check_reload, stop_where_turns_end, template_digest
from groundtune.methods._tuning import model_identity
from groundtune.nn.checkpoints import BUNDLED, BUNDLED_FOLDER, model_path
from groundtune.nn.quantize.files import quantization_of
from groundtune.serving.storage.files import file_body
from groundtune.serving.storage.store import Body, New
from groundtune.serving.tuning.job_files import Examples, Refused, Role
from groundtune.serving.tuning.job_models import model_object, weights_folder, write_weights
from groundtune.serving.tuning.job_request import resolved
from groundtune.serving.tuning.jobs import Jobs, base_of, event, model_name, result_file_id
from groundtune.training.data import CompactRows

if TYPE_CHECKING:
    from groundtune.training.trainer import TrainSettings

#: tokens of a step that the methods' learning rates were chosen for
_USUAL_TOKENS = 1024
#: of the rate of imitation, for DPO. Tried with the bundled model on 64 pairs, batches of 1 and 8, 0.02 to 0.5: up to 0.1 held-out
#: chosen answers get likelier while rejected ones get unlikelier; from 0.2 on both fall
DPO_SHARE = 0.1
COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")


@dataclass(slots=True)
class Run:
    """A job with what its training needs.

    Attributes:
        folder: gets checkpoints of the loop.
        numbers: hyperparameters without "auto".
        base: folder or name of the model; ``named``: as the catalog is to load it below an adapter.
        whole: every weight is trained.
        model, tokenizer, limit: opened; limit is the context in tokens.
    """

    jobs: Jobs
    job: Body
    folder: Path
    numbers: Mapping[str, Any]
    base: str
    named: str
    whole: bool
    model: Any
    tokenizer: Any
    limit: int

    @property
    def method(self) -> Any:
        """The module of the method."""
        return full if self.whole else lora


def open_run(jobs: Jobs, job: Body, numbers: Mapping[str, Any]) -> Run:
    """The model of a job, as it was before training."""
    import torch

    asked = base_of(jobs, job["id"])
    _, target = jobs.serving.catalog.trainable(asked)
    base = model_path(jobs.serving.setup.resolve(target))
    if quantization_of(Path(base)):
        raise InputError(
            f"{asked}: its weights are quantized, which cannot be trained", expected="a model in 16 or 32 bits"
        )
    tuned = jobs.store.get("model", asked) is not None
    model, tokenizer, limit = open_for_training(base, int(job["seed"]))
    stop_where_turns_end(model, tokenizer)
    if torch.cuda.is_available():
        model = model.to("cuda")
    whole = tuned or base == str(BUNDLED_FOLDER)
    named = BUNDLED if base == str(BUNDLED_FOLDER) else target
    return Run(jobs, job, jobs.folder(job["id"]) / "run", numbers, base, named, whole, model, tokenizer, limit)


def numbers_of(job: Body, examples: int) -> dict[str, Any]:
    """A job's hyperparameters with numbers for "auto"."""
    kind = job["method"]["type"]
    return resolved(dict(job["method"][kind]["hyperparameters"]), examples)


def carry_out(run: Run, formats: Mapping[Role, str]) -> bool:
    """Train, and write all that comes of it; False where the job was paused or cancelled on the way.

    Raises:
        Refused: a file of which nothing is left to train on. GroundtuneError: a guard of training spoke.
    """
    from groundtune.serving.tuning.job_watch import Course, JobWatch
    from groundtune.serving.tuning.job_ways import Imitation, Preference
    from groundtune.training.trainer import train

    files = run.jobs.folder(run.job["id"])
    size, epochs, seed = int(run.numbers["batch_size"]), int(run.numbers["n_epochs"]), int(run.job["seed"])
    rows = _rows(run, files / "training", formats["training"], "training")
    validation = (
        _rows(run, files / "validation", formats["validation"], "validation") if "validation" in formats else []
    )
    material = (
        Imitation()
        if run.job["method"]["type"] == "supervised"
        else Preference(run.model, float(run.numbers.get("beta", 0)), run.folder)
    )
    batches = material.batches(rows, size, epochs, seed)
    held_out = material.batches(validation, size, 1, seed) if validation else None
    material.refer(batches, held_out)
    model = run.method.attach(run.model, run.method.Options(), base=run.base)
    steps = batches.steps_per_epoch * epochs
    course = Course(steps, batches.steps_per_epoch, size, run.named, len(validation), run.jobs.serving.config.job_checkpoint_seconds)  # fmt: skip
    watch = JobWatch(run.jobs, run.job, course, run.tokenizer, material.figures, lambda m, n: material.measure(m, held_out, n))  # fmt: skip
    with _tracked(run) as trackers:
        result = train(
            model,
            batches,
            settings_of(run, batches, steps, trackers),
            run.folder,
            objective=material.objective,
            identity={"model": model_identity(run.base), "template": template_digest(run.tokenizer)},
            callbacks=[watch],
        )
    if result.steps < steps:
        return False
    return _finish(run, model, int(result.tokens or 0))


def settings_of(run: Run, batches: Any, steps: int, trackers: Sequence[str] = ()) -> TrainSettings:
    """How a job trains.

    The rates of the methods are for steps of about 1,024 tokens. A step of fewer gets less, by the square root, as noise in
    Adam's steps scales (Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", NeurIPS 2022);
    the multiplier comes on top. Tried with the bundled model on facts to learn by heart and on orders to read out of sentences
    (33 to 116 examples, batches of 1, 4 and 16, 0.25 to 4 times this rate): the best factor is the same for all batches, 1 or
    2; at 2 what was not trained on gets worse sooner.
    """
    from groundtune.training.trainer import TrainSettings

    bundled = run.whole
    rate = (run.method.RATE_BUNDLED if bundled else run.method.RATE) * float(run.numbers["learning_rate_multiplier"])
    tokens = sum(batches.tokens_of(n) for n in range(len(batches))) / steps
    rate *= min(1.0, sqrt(tokens / _USUAL_TOKENS))
    if run.job["method"]["type"] == "dpo":
        rate *= DPO_SHARE
    wandb = _wandb(run.job)
    return TrainSettings(
        learning_rate=rate,
        schedule="linear",
        warmup_steps=min(20, steps // 10),
        accumulation=batches.batches_per_step,
        save_every_steps=10**9,  # by the clock: see JobWatch
        seed=int(run.job["seed"]),
        report_to=tuple(trackers),
        run_name=str((wandb or {}).get("name") or run.job["id"]),
    )


def _rows(run: Run, path: Path, format: str, role: Role) -> Sequence[Any]:
    """A file's examples in tokens; what had to be cut is told."""
    examples, id = Examples(path, format, run.tokenizer, run.limit), run.job["id"]
    try:
        if run.job["method"]["type"] == "dpo":
            rows: Sequence[Any] = list(examples.pairs())
        else:
            rows = CompactRows(examples.rows(), wide=len(run.tokenizer) > 2**16)
    except GroundtuneError as error:
        message = f"The job failed due to an invalid {role} file. {error.problem}"
        raise Refused(f"invalid_{role}_file", message, f"{role}_file") from None
    if examples.cut:
        cut = f"{examples.cut} example(s) of the {role} file are longer than {run.limit} tokens and were truncated at the end"
        left = f"; of {examples.left_out} nothing to train on was left" if examples.left_out else ""
        run.jobs.warn(id, f"cut {role}", cut + left)
    if not len(rows):
        message = f"The job failed due to an invalid {role} file. No example has anything to train on within {run.limit} tokens."  # fmt: skip
        raise Refused(f"invalid_{role}_file", message, f"{role}_file")
    return rows


# ---------------------------------------------------------------- the end


def _finish(run: Run, model: Any, tokens: int) -> bool:
    """Weights, result file, and then in one transaction everything that makes them known."""
    jobs, serving, id = run.jobs, run.jobs.serving, run.job["id"]
    folder = weights_folder(serving, id)
    write_weights(model, run.tokenizer, folder)
    check_reload(model, run.tokenizer, run.base, folder, not run.whole)
    name, file = model_name(run.job, str(run.job["organization_id"])), result_file_id(id)
    content = result_table(jobs.store.all("event", parent=id))
    if serving.config.result_files == "base64":
        content = base64.b64encode(content)
    size = serving.files.write(file, [content])
    told = [
        model_object(serving, name, folder, job=id, base=run.named),
        New("file", file, file_body(size, "step_metrics.csv", "fine-tune-results")),
        event(id, "model", f"New fine-tuned model created: {name}"),
        event(id, "succeeded", "The job has successfully completed"),
    ]
    ends: dict[str, Any] = {
        "status": "succeeded", "fine_tuned_model": name, "trained_tokens": tokens, "result_files": [file],
        "finished_at": int(time.time()), "estimated_finish": None,
    }  # fmt: skip
    if jobs.progress(id, among=("queued", "running", "paused"), told=told, **ends) is None:  # cancelled meanwhile
        shutil.rmtree(folder, ignore_errors=True)
        (serving.files.folder / file).unlink(missing_ok=True)
        return False
    return True


def result_table(events: Sequence[Body]) -> bytes:
    """The figures of a job's events as OpenAI's table, one row a step; empty where not measured."""
    steps = sorted((e["data"] for e in events if e["type"] == "metrics"), key=lambda data: int(data["step"]))
    names = ("train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy")
    lines = [",".join(COLUMNS)]
    for data in steps:
        cells = ["" if data.get(name) is None else f"{data[name]:.5f}" for name in names]
        lines.append(",".join([str(data["step"]), *cells]))
    return ("\n".join(lines) + "\n").encode()


# ---------------------------------------------------------------- trackers


def _wandb(job: Body) -> dict[str, Any] | None:
    found = [i["wandb"] for i in job["integrations"] or [] if i["type"] == "wandb"]
    return found[0] if found else None


@contextmanager
def _tracked(run: Run) -> Iterator[tuple[str, ...]]:
    """While inside, Weights and Biases is told of the run, if the job asks for it; one run, however often it goes on."""
    from groundtune.training.trackers import told

    asked = _wandb(run.job)
    if asked is None:
        yield ()
        return
    id = str(run.job["id"])
    os.environ |= {"WANDB_PROJECT": str(asked["project"]), "WANDB_RUN_ID": id, "WANDB_RESUME": "allow"}
    if asked.get("entity"):
        os.environ["WANDB_ENTITY"] = str(asked["entity"])
    if asked.get("tags"):
        os.environ["WANDB_TAGS"] = ",".join(asked["tags"])
    with told(("wandb",), run.jobs.serving.folder / "tracking", id):
        yield ("wandb",)
