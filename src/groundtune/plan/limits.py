"""What a run may take, and the stop before it begins when it would take more."""

from __future__ import annotations

from dataclasses import dataclass

from groundtune.errors import ConfigError
from groundtune.plan.row import Row
from groundtune.plan.words import amount, duration, money


@dataclass(frozen=True, slots=True)
class Limits:
    """Most of each; None is no limit."""

    memory_bytes: int | None = None
    hours: float | None = None
    usd: float | None = None
    disk_bytes: int | None = None

    def broken(self, *, memory_bytes: int, seconds: float | None, usd: float | None, disk_bytes: int) -> list[str]:
        """Names of the limits that these figures pass: memory, time, money, disk; what is not known passes none."""
        out = []
        if self.memory_bytes is not None and memory_bytes > self.memory_bytes:
            out.append("memory")
        if self.hours is not None and seconds is not None and seconds > self.hours * 3600:
            out.append("time")
        if self.usd is not None and usd is not None and usd > self.usd:
            out.append("money")
        if self.disk_bytes is not None and disk_bytes > self.disk_bytes:
            out.append("disk")
        return out


def check(row: Row, limits: Limits) -> None:
    """Stop a run that would pass a limit.

    Args:
        row: its plan.
        limits: what it may take.

    Raises:
        ConfigError: names the estimate, the limit and what would fit.
    """
    if not row.too_much:
        return
    figures = row.figures
    said = {
        "memory": (amount(figures.memory.peak), f"{amount(limits.memory_bytes or 0)} of memory"),
        "time": (duration(figures.seconds or 0), f"{duration((limits.hours or 0) * 3600)} (--max-hours)"),
        "money": (money(figures.usd or 0), f"{money(limits.usd or 0)} (--max-usd)"),
        "disk": (amount(figures.disk_bytes), f"{amount(limits.disk_bytes or 0)} of disk"),
    }
    fits = "; ".join(s.in_words for s in row.would_fit)
    raise ConfigError(
        f"{row.method} would take about {' and '.join(said[name][0] for name in row.too_much)}",
        expected=f"at most {' and '.join(said[name][1] for name in row.too_much)}",
        next_step=f"this would fit: {fits}" if fits else "a smaller model, fewer rows, or a higher limit",
    )
