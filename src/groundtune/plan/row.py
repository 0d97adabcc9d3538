"""One line of a plan, as the command prints it: what a method takes, which limits that passes, what would make it fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from groundtune.plan.memory import Memory
from groundtune.plan.words import amount, duration
from groundtune.plan.work import Work


@dataclass(frozen=True, slots=True)
class Settings:
    """What of a run a plan may change.

    Attributes:
        batch_tokens: token budget of a micro-batch.
        epochs: passes over the rows.
        max_tokens: longest row; None: as long as they are.
        checkpointing: activations computed again in the backward pass.
    """

    batch_tokens: int = 1024
    epochs: int = 10
    max_tokens: int | None = None
    checkpointing: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run takes: peak memory, seconds (None: not measured), most bytes on disk, dollars."""

    memory: Memory
    seconds: float | None
    disk_bytes: int
    usd: float | None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A change with which the limits are kept, recomputed.

    Attributes:
        change: in words: ``batch_tokens 256``, ``method lora``.
        settings: the same as values.
        memory_bytes, seconds: what it then takes.
    """

    change: str
    settings: Mapping[str, Any]
    memory_bytes: int
    seconds: float | None

    @property
    def in_words(self) -> str:
        """The change and what it takes."""
        time = f", {duration(self.seconds)}" if self.seconds is not None else ""
        return f"{self.change} ({amount(self.memory_bytes)}{time})"


@dataclass(frozen=True, slots=True)
class Row:
    """One method's plan.

    Attributes:
        method: its name.
        figures: what it takes.
        too_much: limits that it passes: memory, time, money, disk.
        would_fit: changes that keep them, the smallest first.
        measured_on: where the seconds come from, or why there are none.
        work: what is trained on.
    """

    method: str
    figures: Figures
    too_much: list[str]
    measured_on: str
    work: Work
    would_fit: list[Suggestion] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As ``groundtune plan --json`` prints it."""
        memory, figures = self.figures.memory, self.figures
        return {
            "method": self.method,
            "fits": not self.too_much,
            "too_much": self.too_much,
            "trainable_parameters": memory.trainable_parameters,
            "memory_bytes": {**memory.parts, "peak": memory.peak},
            "memory_peak_at": memory.stage,
            "seconds": None if figures.seconds is None else round(figures.seconds, 1),
            "seconds_measured_on": self.measured_on,
            "disk_bytes": figures.disk_bytes,
            "cost_usd": None if figures.usd is None else round(figures.usd, 4),
            "steps": self.work.steps,
            "would_fit": [
                {
                    "change": s.change,
                    "settings": dict(s.settings),
                    "memory_bytes": s.memory_bytes,
                    "seconds": None if s.seconds is None else round(s.seconds, 1),
                }
                for s in self.would_fit
            ],
        }
