"""The one training path: every method that changes weights goes through :func:`train`.

A transformers ``Trainer`` with our own batches and objectives (``objectives``), progress, validation and Ctrl-C
(``watch``), guards (``guards``), and checkpoints that count only when they are whole. A run that is killed and started
again ends in the same weights as one that was not, and goes on only from checkpoints that it would itself have written.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils.logging import disable_progress_bar

from groundtune.config import TuneConfig
from groundtune.errors import ConfigError
from groundtune.nn.lean_layers import lean
from groundtune.nn.precision import Precision, precision
from groundtune.training.guards import check_identity, nothing_supervised, versions
from groundtune.training.objectives import CAUSAL, Objective
from groundtune.training.watch import (
    WHOLE,
    Interrupt,
    Progress,
    Validation,
    Watch,
    load_best,
    put_tensors,
    trained_tensors,
)

_TRAINED = "trained.safetensors"
#: figures of a model on validation data; "loss" or another is what the best weights are chosen by
Validate = Callable[[Any], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train.

    Attributes:
        learning_rate: peak, after a linear warm-up.
        schedule: what comes then: cosine, a cosine down to a tenth; linear, a line down to 0.
        rates: (beginning of a parameter's name, factor on its learning rate); the first that fits holds.
        warmup_steps: optimizer steps of warm-up.
        weight_decay: of AdamW, on matrices only.
        accumulation: micro-batches an optimizer step.
        save_every_steps: optimizer steps between checkpoints; 0 writes none.
        max_grad_norm: gradient clipping.
        seed: of everything random.
        betas: of AdamW.
        validate_every_steps: optimizer steps between validations; 0: at the end of each epoch.
        patience: validations without a better one before the run stops early; 0: never.
        metric, higher: the validation's figure that decides which weights are best, and whether more is better.
        gradient_checkpointing: compute activations again in the backward pass: less memory, about 1.35 times the time.
        guards: see :mod:`groundtune.training.guards`.
        report_to: trackers to tell: wandb, tensorboard, mlflow; where they write is :mod:`groundtune.training.trackers`'.
        run_name: what trackers call the run.
    """

    learning_rate: float = 1e-3
    warmup_steps: int = 10
    weight_decay: float = 0.01
    accumulation: int = 1
    save_every_steps: int = 0
    max_grad_norm: float = 1.0
    seed: int = 0
    betas: tuple[float, float] = (0.9, 0.95)
    validate_every_steps: int = 0
    patience: int = 0
    metric: str = "loss"
    higher: bool = False
    gradient_checkpointing: bool = False
    guards: bool = True
    report_to: tuple[str, ...] = ()
    run_name: str = "groundtune"
    schedule: Literal["cosine", "linear"] = "cosine"
    rates: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, config: TuneConfig, seed: int, *, learning_rate: float, **own: Any) -> TrainSettings:
        """The settings of a user's ``tune`` section, with a method's rate and what else is its own."""
        return cls(
            learning_rate=learning_rate,
            accumulation=config.accumulation,
            save_every_steps=config.save_every_steps,
            seed=seed,
            validate_every_steps=config.validate_every_steps,
            patience=config.patience,
            gradient_checkpointing=config.gradient_checkpointing,
            guards=config.guards,
            report_to=config.report_to,
            run_name=config.method,
            **own,
        )


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run did.

    Attributes:
        steps: optimizer steps in all, resumed ones included.
        first_loss, last_loss: mean cross-entropy in nats of the first and of the last tenth of the steps.
        seconds: wall-clock seconds of this process' part.
        losses: (step, loss) of every optimizer step, resumed ones included.
        validations: figures of every validation, with their ``step``.
        best_step: whose weights the model has now; None: the last's, nothing was validated.
        stopped_early: ended before all steps, since validation did not get better.
        precision: number format of the forward pass, and why.
        tokens, trained_tokens: of the batches that were trained on, steps before a resume included, validation, padding and
            what an early stop left out not; those that count in the loss. None where the batches do not say.
    """

    steps: int
    first_loss: float
    last_loss: float
    seconds: float
    losses: tuple[tuple[int, float], ...]
    validations: tuple[dict[str, float], ...] = ()
    best_step: int | None = None
    stopped_early: bool = False
    precision: str = ""
    tokens: int | None = None
    trained_tokens: int | None = None


class _Trainer(Trainer):
    """The loop of transformers with an objective and a validation of ours, over batches in their order."""

    objective: Objective = CAUSAL
    validate: Validate | None = None
    guards: bool = True
    rates: tuple[tuple[str, float], ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = True  # compute_loss below divides by the step's items itself

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = self.objective.loss(model, inputs, num_items_in_batch)
        return (loss, {}) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> int:
        count = sum(self.objective.count(batch) for batch in batch_samples)
        if not count and batch_samples and self.guards:
            raise nothing_supervised(self.state.global_step + 1)
        return max(1, count)

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:  # batches come shuffled
        rows: Any = train_dataset if train_dataset is not None else self.train_dataset
        return SequentialSampler(rows)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Write a checkpoint's weights: every trained tensor as it is, and nothing that is frozen.

        PEFT would write what answering needs: of P-tuning the finished prompt without the network that learns it, with
        which a resumed run ends elsewhere. The frozen base is what the run began with, and its identity is checked.
        """
        from safetensors.torch import save_file

        assert self.model is not None
        folder = Path(str(output_dir or self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_file(trained_tensors(self.model), folder / _TRAINED)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        put_tensors(model or self.model, Path(resume_from_checkpoint) / _TRAINED)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW; with ``rates`` a group of parameters for each factor."""
        if not self.rates or self.optimizer is not None:
            return super().create_optimizer(model)
        trained: Any = model or self.model
        decaying = set(self.get_decay_parameter_names(trained))
        kind, options = self.get_optimizer_cls_and_kwargs(self.args, trained)
        groups: dict[tuple[float, bool], list[Any]] = {}
        for name, parameter in trained.named_parameters():
            if parameter.requires_grad:
                factor = next((factor for start, factor in self.rates if name.startswith(start)), 1.0)
                groups.setdefault((factor, name in decaying), []).append(parameter)
        decay = self.args.weight_decay
        self.optimizer = kind(
            [
                {"params": own, "lr": factor * options["lr"], "weight_decay": decay if decays else 0.0}
                for (factor, decays), own in groups.items()
            ],
            **options,
        )
        assert self.optimizer is not None
        return self.optimizer

    def floating_point_ops(self, inputs: Any) -> int:  # an estimate nobody reads, at every step
        return 0

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        assert self.validate is not None and self.model is not None
        figures = {f"eval_{name}": float(value) for name, value in self.validate(self.model).items()}
        self.model.train()
        self.log(figures)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures


def train(
    model: PreTrainedModel,
    batches: Dataset[dict[str, torch.Tensor]],
    settings: TrainSettings,
    folder: Path,
    *,
    objective: Objective = CAUSAL,
    validate: Validate | None = None,
    identity: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> TrainResult:
    """Train a model in place over every batch once, resuming from the newest whole checkpoint in ``folder``.

    Args:
        model: a transformers model, or a PEFT model around one; changed in place.
        batches: one item a micro-batch (:mod:`groundtune.training.data`).
        settings: how.
        folder: for checkpoints; the caller removes it when its artifact is written.
        objective: what is minimised.
        validate: figures of the model on held-out data; the model ends with the weights that did best on them.
        identity: what the checkpoints depend on beside batches, settings and versions (base model, chat template).
        progress: called after every optimizer step.
        callbacks: others of transformers, told after ours; one may stop the run early.

    Raises:
        ConfigError: no steps, or a checkpoint that something else wrote. TrainingError: a weight gets no gradient.
        LossError: the loss is not a number. KeyboardInterrupt: after Ctrl-C, with a checkpoint on disk.
    """
    disable_progress_bar()  # of writing shards, beside ours
    folder.mkdir(parents=True, exist_ok=True)
    for half in folder.glob("checkpoint-*"):
        if not (half / WHOLE).exists():
            shutil.rmtree(half)
    steps = -(-len(batches) // settings.accumulation)  # type: ignore[arg-type]
    if steps < 1:
        raise ConfigError("nothing to train on: 0 steps", expected="at least one batch", next_step="add training rows")
    checkpoint = get_last_checkpoint(str(folder))
    own = {"batches": _fingerprint(batches), "settings": _of_weights(settings), "objective": objective.name}
    check_identity(folder, {**own, **(identity or {}), "versions": versions()}, resuming=checkpoint is not None)
    watch = Watch(progress, _of_step(batches, "tokens_of", settings), guards=settings.guards)
    interrupt = Interrupt(save=bool(settings.save_every_steps))
    told: list[Any] = [watch, interrupt]
    if validate is not None:
        told.append(_validation(batches, settings, steps, folder))
    number_format = precision()
    trainer = _Trainer(
        model=model,
        args=_arguments(settings, folder, steps, number_format),
        train_dataset=batches,
        data_collator=lambda items: items[0],
        callbacks=[*told, *callbacks],
    )
    trainer.objective, trainer.validate, trainer.guards = objective, validate, settings.guards
    trainer.rates = settings.rates
    for noisy in list(trainer.callback_handler.callbacks):
        if type(noisy).__name__ in {"PrinterCallback", "ProgressCallback", "NotebookProgressCallback"}:
            trainer.remove_callback(noisy)
    started = time.perf_counter()
    with interrupt.heard(), lean(model):
        trainer.train(resume_from_checkpoint=checkpoint or False)
    _without_autocast(model)
    best = load_best(model, folder) if validate is not None else None
    model.eval()
    history = trainer.state.log_history
    losses = [(int(row["step"]), float(row["loss"])) for row in history if "loss" in row]
    tenth = max(1, len(losses) // 10)
    return TrainResult(
        steps=trainer.state.global_step,
        first_loss=_mean_loss(losses[:tenth]),
        last_loss=_mean_loss(losses[-tenth:]),
        seconds=time.perf_counter() - started,
        losses=tuple(losses),
        validations=tuple(
            {k.removeprefix("eval_"): v for k, v in row.items() if k.startswith("eval_") or k == "step"}
            for row in history
            if any(key.startswith("eval_") for key in row)
        ),
        best_step=best,
        stopped_early=trainer.state.global_step < steps,
        precision=str(number_format),
        tokens=_total(_of_step(batches, "tokens_of", settings), trainer.state.global_step),
        trained_tokens=_total(_of_step(batches, "trained_of", settings), trainer.state.global_step),
    )


def _without_autocast(model: Any) -> None:
    """Take off the forward that accelerate put over the model's own: what is trained in bf16 answers in its weights' format.

    Accelerate's ``unwrap_model`` would take off the decorators of transformers, too.
    """
    if vars(model).pop("_original_forward", None) is not None:
        vars(model).pop("forward")


def _mean_loss(part: list[tuple[int, float]]) -> float:
    return sum(loss for _, loss in part) / max(1, len(part))


def _of_weights(settings: TrainSettings) -> dict[str, Any]:
    """The settings that the weights depend on."""
    other = {"guards", "report_to", "run_name", "save_every_steps", "gradient_checkpointing"}
    return {name: value for name, value in asdict(settings).items() if name not in other}


def _fingerprint(batches: Any) -> str:
    made: Any = getattr(batches, "fingerprint", None)
    return str(made()) if made else f"{len(batches)} batches"


def _of_step(batches: Any, what: str, settings: TrainSettings) -> Callable[[int], int] | None:
    """A count of an optimizer step's batches by the step's number, 1 and up; None where they do not say."""
    count: Any = getattr(batches, what, None)
    if count is None:
        return None
    each, last = settings.accumulation, len(batches)
    return lambda step: sum(count(n) for n in range((step - 1) * each, min(step * each, last)))


def _total(of_step: Callable[[int], int] | None, steps: int) -> int | None:
    return None if of_step is None else sum(of_step(step) for step in range(1, steps + 1))


def _validation(batches: Any, settings: TrainSettings, steps: int, folder: Path) -> Validation:
    every = settings.validate_every_steps
    ends = getattr(batches, "epoch_ends", ())
    at = range(every, steps + 1, every) if every else [-(-end // settings.accumulation) for end in ends]
    return Validation(
        folder,
        frozenset(at),
        patience=settings.patience,
        metric=f"eval_{settings.metric}",
        higher=settings.higher,
        save=bool(settings.save_every_steps),
    )


def discard_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a finished run; their marks first, so that a kill half-way leaves none that look whole."""
    for mark in folder.glob(f"checkpoint-*/{WHOLE}"):
        mark.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _arguments(settings: TrainSettings, folder: Path, steps: int, number_format: Precision) -> TrainingArguments:
    gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear" if settings.schedule == "linear" else "cosine_with_min_lr",
        lr_scheduler_kwargs=None if settings.schedule == "linear" else {"min_lr_rate": 0.1},
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        adam_beta1=settings.betas[0],
        adam_beta2=settings.betas[1],
        max_grad_norm=settings.max_grad_norm,
        optim="adamw_torch_fused",
        save_strategy="steps" if settings.save_every_steps else "no",
        save_steps=settings.save_every_steps or 500,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=list(settings.report_to),
        run_name=settings.run_name,
        disable_tqdm=True,
        seed=settings.seed,
        data_seed=settings.seed,
        bf16=number_format.bf16,
        use_cpu=not gpu,
        activation_checkpointing=settings.gradient_checkpointing,
        dataloader_pin_memory=gpu,
        remove_unused_columns=False,
        log_level="error",
    )
