"""The one training path: every method that changes weights goes through :func:`train`.

A transformers ``Trainer`` with our own batches, a loss over supervised positions only (logits are formed for those
alone), a progress bar with loss and time left, and checkpoints that count only when they are whole. A run that is
killed and started again ends in the same weights as one that was not.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from groundtune.training.data import IGNORED

#: (step, steps, loss) after every optimizer step
Progress = Callable[[int, int, float], None]

_WHOLE = "groundtune-whole"


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train.

    Attributes:
        learning_rate: peak; linear warm-up, then cosine decay to a tenth.
        warmup_steps: optimizer steps of warm-up.
        weight_decay: of AdamW, on matrices only.
        accumulation: micro-batches an optimizer step.
        save_every_steps: optimizer steps between checkpoints; 0 writes none.
        max_grad_norm: gradient clipping.
        seed: of everything random.
        betas: of AdamW.
    """

    learning_rate: float = 1e-3
    warmup_steps: int = 10
    weight_decay: float = 0.01
    accumulation: int = 1
    save_every_steps: int = 0
    max_grad_norm: float = 1.0
    seed: int = 0
    betas: tuple[float, float] = (0.9, 0.95)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run did.

    Attributes:
        steps: optimizer steps in all, resumed ones included.
        first_loss, last_loss: mean cross-entropy in nats of the first and of the last tenth of the steps.
        seconds: wall-clock seconds of this process' part.
        losses: (step, loss) of every optimizer step, resumed ones included.
    """

    steps: int
    first_loss: float
    last_loss: float
    seconds: float
    losses: tuple[tuple[int, float], ...]


def supervised_loss(
    model: torch.nn.Module, batch: dict[str, torch.Tensor], tokens_in_step: torch.Tensor | int | None
) -> torch.Tensor:
    """Sum of the cross-entropy over supervised positions / tokens of the optimizer step, in nats.

    Position t predicts token t+1; logits are formed only where the next token is supervised (transformers'
    boolean ``logits_to_keep``), which saves the head's work on prompts and padding.

    Args:
        model: causal model.
        batch: ``input_ids`` (B, T) and ``labels`` (B, T), -100 where not supervised; of packed rows also
            ``position_ids`` and ``cu_seq_lens_q`` (:class:`groundtune.training.data.PackedBatches`).
        tokens_in_step: supervised tokens over all micro-batches of the step; None: of this batch.
    """
    ids_BT, labels_BT = batch["input_ids"], batch["labels"]
    keep_BT = torch.zeros_like(labels_BT, dtype=torch.bool)
    keep_BT[:, :-1] = labels_BT[:, 1:] != IGNORED
    targets_N = labels_BT[:, 1:][keep_BT[:, :-1]]
    places: dict[str, torch.Tensor] = {name: batch[name] for name in ("position_ids", "cu_seq_lens_q") if name in batch}
    logits_NV = _logits(model, ids_BT, keep_BT, places)
    total = torch.nn.functional.cross_entropy(logits_NV.float(), targets_N, reduction="sum")
    return total / (targets_N.numel() if tokens_in_step is None else tokens_in_step)


#: settings of architectures that scale or cap the head's output (Gemma 2, Granite, Cohere, Falcon H1)
_AFTER_HEAD = ("final_logit_softcapping", "logits_scaling", "logit_scale", "lm_head_multiplier")


def _logits(model: Any, ids_BT: torch.Tensor, keep_BT: torch.Tensor, places: dict[str, torch.Tensor]) -> torch.Tensor:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config()
    if any(getattr(config, name, None) not in (None, 1.0) for name in _AFTER_HEAD):  # only the model itself knows how
        logits: torch.Tensor = base(input_ids=ids_BT, use_cache=False, **places).logits[keep_BT]
    else:
        hidden_BTD = base.get_decoder()(input_ids=ids_BT, use_cache=False, **places).last_hidden_state
        logits = base.get_output_embeddings()(hidden_BTD[keep_BT])
    return logits


class _SupervisedTrainer(Trainer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = True  # compute_loss below divides by the step's tokens itself

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = supervised_loss(model, inputs, num_items_in_batch)
        return (loss, {}) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:  # batches come shuffled
        rows: Any = train_dataset if train_dataset is not None else self.train_dataset
        return SequentialSampler(rows)


class _Watch(TrainerCallback):
    """Feeds the progress bar and marks a checkpoint as whole once everything of it is on disk."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        if logs and "loss" in logs and self.progress:
            self.progress(state.global_step, state.max_steps, float(logs["loss"]))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / _WHOLE).write_text("", encoding="utf-8")


def train(
    model: PreTrainedModel,
    batches: Dataset[dict[str, torch.Tensor]],
    settings: TrainSettings,
    folder: Path,
    *,
    progress: Progress | None = None,
) -> TrainResult:
    """Train a model in place over every batch once, resuming from the newest whole checkpoint in ``folder``.

    Args:
        model: a transformers model, or a PEFT model around one; changed in place.
        batches: one item a micro-batch (:mod:`groundtune.training.data`).
        settings: how.
        folder: for checkpoints; the caller removes it when its artifact is written.
        progress: called after every optimizer step.

    Raises:
        FloatingPointError: the loss is not a number.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    folder.mkdir(parents=True, exist_ok=True)
    for half in folder.glob("checkpoint-*"):
        if not (half / _WHOLE).exists():
            shutil.rmtree(half)
    steps = -(-len(batches) // settings.accumulation)  # type: ignore[arg-type]
    watch = _Watch(progress)
    trainer = _SupervisedTrainer(
        model=model,
        args=_arguments(settings, folder, steps),
        train_dataset=batches,
        data_collator=lambda items: items[0],
        callbacks=[watch],
    )
    for noisy in list(trainer.callback_handler.callbacks):
        if type(noisy).__name__ in {"PrinterCallback", "ProgressCallback", "NotebookProgressCallback"}:
            trainer.remove_callback(noisy)
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)) or False)
    losses = [(int(row["step"]), float(row["loss"])) for row in trainer.state.log_history if "loss" in row]
    if any(loss != loss for _, loss in losses):
        raise FloatingPointError("the loss is not a number; lower the learning rate")
    tenth = max(1, len(losses) // 10)
    model.eval()
    return TrainResult(
        steps=steps,
        first_loss=_mean_loss(losses[:tenth]),
        last_loss=_mean_loss(losses[-tenth:]),
        seconds=time.perf_counter() - started,
        losses=tuple(losses),
    )


def _mean_loss(part: list[tuple[int, float]]) -> float:
    return sum(loss for _, loss in part) / max(1, len(part))


def discard_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a finished run; their marks first, so that a kill half-way leaves none that look whole."""
    for mark in folder.glob(f"checkpoint-*/{_WHOLE}"):
        mark.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _arguments(settings: TrainSettings, folder: Path, steps: int) -> TrainingArguments:
    gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
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
        report_to=[],
        disable_tqdm=True,
        seed=settings.seed,
        data_seed=settings.seed,
        bf16=gpu and torch.cuda.is_bf16_supported(),
        use_cpu=not gpu,
        dataloader_pin_memory=gpu,
        remove_unused_columns=False,
        log_level="error",
    )
