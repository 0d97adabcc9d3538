"""What goes on beside the steps of a run: progress, validation at the right steps, the best weights, Ctrl-C, guards.

Transformers callbacks; the loop itself is the trainer's.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from groundtune.errors import ConfigError
from groundtune.training.guards import GradientWatch, check_loss
from groundtune.workspace import write_json

WHOLE = "groundtune-whole"
BEST = "best"


@dataclass(frozen=True, slots=True)
class Status:
    """How a run is doing, after an optimizer step.

    Attributes:
        loss: of this step, in the objective's unit.
        tokens_per_second: tokens trained on, padding not counted, a second of this process' optimizer steps: neither
            validation nor steps before a resume make it more or less; 0 if unknown.
        memory_bytes: held by this process now (on a GPU: the most it has allocated there).
        validation: the last validation's loss, if there was one.
    """

    loss: float
    tokens_per_second: float = 0.0
    memory_bytes: int = 0
    validation: float | None = None

    def __str__(self) -> str:
        parts = [f"loss {self.loss:.3f}"]
        if self.validation is not None:
            parts.append(f"validation {self.validation:.3f}")
        if self.tokens_per_second:
            parts.append(f"{self.tokens_per_second:,.0f} tokens/s")
        if self.memory_bytes:
            parts.append(f"{self.memory_bytes / 1e9:.1f} GB")
        return ", ".join(parts)


#: (step, steps, status) after every optimizer step
Progress = Callable[[int, int, Status], None]


class Watch(TrainerCallback):
    """Feeds the progress bar, looks at losses and gradients, and marks a checkpoint as whole once all of it is on disk."""

    def __init__(self, progress: Progress | None, step_tokens: Callable[[int], int] | None, *, guards: bool) -> None:
        self.progress, self.step_tokens = progress, step_tokens
        self.gradients = GradientWatch() if guards else None
        self.validation: float | None = None
        self.tokens, self.seconds, self.began = 0, 0.0, time.perf_counter()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self.began = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop the clock; count the step's tokens."""
        self.seconds += time.perf_counter() - self.began
        if self.progress and self.step_tokens:
            self.tokens += self.step_tokens(state.global_step)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Look at the gradients."""
        if self.gradients:
            self.gradients.look(model, last=state.global_step + 1 >= state.max_steps)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        """Look at the loss, tell the progress."""
        if logs and "eval_loss" in logs:
            self.validation = float(logs["eval_loss"])
        if logs and "loss" in logs:
            check_loss(float(logs["loss"]), state.global_step)
            if self.progress:
                speed = self.tokens / max(1e-9, self.seconds)
                status = Status(float(logs["loss"]), speed, _memory_bytes(), self.validation)
                self.progress(state.global_step, state.max_steps, status)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Mark the checkpoint as whole."""
        (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / WHOLE).write_text("", encoding="utf-8")


def _memory_bytes() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import psutil

    return int(psutil.Process().memory_info().rss)


class Validation(TrainerCallback):
    """Validates at given steps, keeps the best weights, and stops when they have not got better for a while.

    Everything it goes by is in the trainer's own log, so that a resumed run decides as the undisturbed one did.

    Args:
        folder: of the checkpoints; the best trainable weights are kept there as ``best.safetensors``.
        steps: after which of them to validate; the last is always one.
        patience: validations without a better one before the run stops; 0: never.
        metric: which of the validation's figures decides, as the trainer's log calls it.
        higher: whether more of it is better.
        save: write a checkpoint at these steps, too.
    """

    def __init__(
        self, folder: Path, steps: frozenset[int], *, patience: int, metric: str, higher: bool, save: bool
    ) -> None:
        self.folder, self.steps, self.patience, self.save = folder, steps, patience, save
        self.metric, self.sign = metric, 1.0 if higher else -1.0
        self.stopped_early = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask for a validation where one is due."""
        if state.global_step in self.steps or state.global_step >= state.max_steps:
            control.should_log = control.should_evaluate = True
            control.should_save = control.should_save or self.save
        return control

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> TrainerControl:
        """Keep the weights if they are the best, stop if they have not been for long."""
        history = [row for row in state.log_history if self.metric in row]
        values = [self.sign * float(row[self.metric]) for row in history]
        best = max(range(len(values)), key=lambda n: (values[n], -n))
        if best == len(values) - 1:
            keep_best(model, self.folder, state.global_step, history[-1])
        elif self.patience and len(values) - 1 - best >= self.patience:
            self.stopped_early = True
            control.should_training_stop = True
        return control


def trained_tensors(model: Any) -> dict[str, torch.Tensor]:
    """Every trained tensor of a model by its name, copied to the CPU; a shared one once."""
    return {name: p.detach().cpu().contiguous().clone() for name, p in model.named_parameters() if p.requires_grad}


def put_tensors(model: Any, file: Path) -> None:
    """Put trained tensors back into a model.

    Raises:
        ConfigError: the file does not hold exactly the tensors that this model trains.
    """
    from safetensors.torch import load_file

    kept = load_file(file)
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if differ := sorted(kept.keys() ^ wanted.keys()):
        raise ConfigError(
            f"{file}: holds other tensors than this model trains: {', '.join(differ[:3])}",
            expected=f"{len(wanted)} tensors",
            next_step=f"delete {file.parent} to start over",
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(kept[name])


def keep_best(model: Any, folder: Path, step: int, figures: Mapping[str, Any]) -> None:
    """Write the trainable weights of the best step so far, whole, then their description."""
    from safetensors.torch import save_file

    half = folder / f"{BEST}.safetensors.part"
    save_file(trained_tensors(model), half)
    half.replace(folder / f"{BEST}.safetensors")
    write_json(folder / f"{BEST}.json", {"step": step, "figures": dict(figures)})


def load_best(model: Any, folder: Path) -> int | None:
    """Put the best step's weights back into a model; returns the step, or None where none was kept."""
    if not (folder / f"{BEST}.json").exists():
        return None
    put_tensors(model, folder / f"{BEST}.safetensors")
    return int(json.loads((folder / f"{BEST}.json").read_text(encoding="utf-8"))["step"])


class Interrupt(TrainerCallback):
    """The first Ctrl-C ends the run after the step under way, with a checkpoint; the second ends it at once."""

    def __init__(self, *, save: bool) -> None:
        self.save, self.asked = save, False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """End the run if asked to."""
        if self.asked:
            control.should_training_stop = True
            control.should_save = self.save
        return control

    @contextmanager
    def heard(self) -> Iterator[None]:
        """While inside, SIGINT is taken as a wish; raises KeyboardInterrupt at the end if there was one."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def ask(number: int, frame: Any) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        if before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            if before is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, before)
        if self.asked:
            raise KeyboardInterrupt
