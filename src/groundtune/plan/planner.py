"""Computes and times what methods take on one model, material and machine; nothing is computed or timed twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from groundtune.errors import ConfigError
from groundtune.plan.attach import Attach, Sizes
from groundtune.plan.limits import Limits
from groundtune.plan.machine import Device
from groundtune.plan.measure import Speed, measure
from groundtune.plan.memory import Memory, Run, least_bytes, peak_memory
from groundtune.plan.row import Figures, Settings
from groundtune.plan.work import Material, Work

#: whole models are saved, not adapters
_WHOLE = ("full", "layers", "classifier", "pretraining")
#: checkpoints on disk at once: two are kept while the third is written
_CHECKPOINTS = 3


@dataclass(frozen=True)
class Request:
    """What is planned.

    Attributes:
        config: the model's transformers config.
        material: the work at given settings.
        pretraining: the work of pretraining, where that is asked about.
        settings: as the project has them.
        device, limits: where, and what it may take.
        usd_per_hour: price of the machine.
        save_every_steps: steps between checkpoints; 0 writes none.
        read_back: the finished weights are read into a second model and compared.
        smaller: smaller models that may be suggested, the largest first: name and config.
        sizes: of what methods add.
        attach: methods' own ways to hang themselves on the model.
        budget_seconds: for timing each method; 0 times nothing.
    """

    config: Any
    material: Material
    pretraining: Work | None = None
    settings: Settings = field(default_factory=Settings)
    device: Device = field(default_factory=Device)
    limits: Limits = field(default_factory=Limits)
    usd_per_hour: float = 0.0
    save_every_steps: int = 50
    read_back: bool = False
    smaller: tuple[tuple[str, Any], ...] = ()
    sizes: Sizes = field(default_factory=Sizes)
    attach: Mapping[str, Attach] = field(default_factory=dict)
    budget_seconds: float = 5.0


class Planner:
    """Plans the methods of one request; what was computed or timed once is kept.

    Args:
        request: what is planned.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self._speeds: dict[str, Speed | str] = {}
        self._least: dict[str, int] = {}
        self._memories: dict[tuple[Any, ...], Memory] = {}

    def measured_on(self, method: str) -> str:
        """Where a method's seconds come from, or why there are none."""
        speed = self._speed(method)
        return speed if isinstance(speed, str) else speed.measured_on

    def work(self, method: str, settings: Settings) -> Work:
        """The work at some settings."""
        if method == "pretraining":
            if self.request.pretraining is None:
                raise ConfigError("pretraining: how many tokens?", next_step="give --pretrain-tokens")
            return self.request.pretraining
        return self.request.material(settings.batch_tokens, settings.epochs, settings.max_tokens)

    def too_much(self, figures: Figures) -> list[str]:
        """Limits that figures pass."""
        return self.request.limits.broken(
            memory_bytes=figures.memory.peak, seconds=figures.seconds, usd=figures.usd, disk_bytes=figures.disk_bytes
        )

    def hopeless(self, method: str) -> bool:
        """No settings make a method fit the memory: its weights and optimizer alone do not.

        Raises:
            ConfigError: the method does not go with the model.
        """
        most = self.request.limits.memory_bytes
        if most is None:
            return False
        if method not in self._least:
            self._least[method] = least_bytes(self._run(method, self.work(method, self.request.settings), typical=True))
        return self._least[method] > most

    def figures(self, method: str, settings: Settings) -> Figures:
        """What a method takes at some settings.

        Raises:
            ConfigError: the method does not go with the model or the settings.
        """
        work = self.work(method, settings)
        return self.figures_of(method, work, checkpointing=settings.checkpointing)

    def figures_of(self, method: str, work: Work, *, checkpointing: bool = False) -> Figures:
        """What a method takes for some work."""
        memory = self._memory(method, work, checkpointing)
        seconds = self._seconds(method, work, checkpointing)
        usd = None if seconds is None else seconds / 3600 * self.request.usd_per_hour
        return Figures(memory, seconds, self._disk(method, memory, work), usd)

    def _run(self, method: str, work: Work, *, typical: bool, checkpointing: bool = False) -> Run:
        batch = work.typical if typical else work.largest
        return Run(
            self.request.config,
            method,
            batch.rows,
            batch.tokens,
            batch.supervised,
            accumulation=work.accumulation,
            kept_tokens=work.tokens if method == "layers" else 0,
            checkpointing=checkpointing,
            read_back=self.request.read_back and method not in ("pretraining", "classifier"),
            device=self.request.device,
            sizes=self.request.sizes,
            attach=self.request.attach.get(method),
        )

    def _memory(self, method: str, work: Work, checkpointing: bool) -> Memory:
        key = (method, work.largest, min(2, work.accumulation), work.tokens, checkpointing)
        if key not in self._memories:
            self._memories[key] = peak_memory(self._run(method, work, typical=False, checkpointing=checkpointing))
        return self._memories[key]

    def _speed(self, method: str) -> Speed | str:
        """Timed once, at the project's own settings; a word why not where it cannot be."""
        if self.request.budget_seconds <= 0:
            return "not measured"
        if method not in self._speeds:
            run = self._run(method, self.work(method, self.request.settings), typical=True)
            try:
                self._speeds[method] = measure(run, budget_seconds=self.request.budget_seconds)
            except ConfigError as error:
                self._speeds[method] = f"not measured: {error.problem}"
        return self._speeds[method]

    def _seconds(self, method: str, work: Work, checkpointing: bool) -> float | None:
        """Wall-clock seconds; a micro-batch of another size takes its share of the timed one's tokens."""
        speed = self._speed(method)
        if isinstance(speed, str):
            return None
        timed = self.work(method, self.request.settings).typical
        share = work.typical.rows * work.typical.tokens / (timed.rows * timed.tokens)
        once = speed.micro_batch_seconds(checkpointing=checkpointing) * share
        kept = speed.frozen_layers * speed.block_forward * work.tokens / (timed.rows * timed.tokens)
        return work.micro_batches * once + work.steps * speed.optimizer + kept

    def _disk(self, method: str, memory: Memory, work: Work) -> int:
        """Most bytes at once: float32 weights or adapter, and checkpoints with two numbers of the optimizer a weight."""
        saved = 4 * (memory.parameters if method in _WHOLE else memory.trainable_parameters)
        every = self.request.save_every_steps
        made = min(_CHECKPOINTS, work.steps // every) if every else 0
        checkpoint = saved + 8 * memory.trainable_parameters
        final = saved // 2 if method == "pretraining" else saved
        return max(made * checkpoint, min(made, _CHECKPOINTS - 1) * checkpoint + final)
