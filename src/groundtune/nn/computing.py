"""One thread of a process that computes for all others, on as many cores as other programs leave.

libgomp keeps a team of threads for each thread that ever computed, and as soon as teams count more threads than there are cores,
those that wait for the next operation sleep at once instead of spinning (``gomp_throttled_spin_count_var``, libgomp's env.c):
a small model's step then takes twice as long. So there is one such thread, work takes turns on it in the order it came, and where
:func:`reserve_cores` was called every other thread computes on one core.

Spinning has a price where another program wants the core: each operation waits until the team's sleeping part has its turn, and a
token takes a hundred times as long. So the team is as large as what the others left free in the last moment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_NAME = "groundtune-compute"
_THREAD = ThreadPoolExecutor(1, _NAME)
#: seconds between two looks at what others use
_LOOK_SECONDS = 1.0
_team: _Team | None = None


def submit(work: Callable[P, R], *args: P.args, **named: P.kwargs) -> Future[R]:
    """Let something be done on that thread; it should be short, since others wait for it."""

    def whole() -> R:
        if _team is not None:
            _team.adjust()
        return work(*args, **named)

    return _THREAD.submit(whole)


def in_turn(work: Callable[P, R], *args: P.args, **named: P.kwargs) -> R:
    """Do something on that thread and wait for what comes of it."""
    if threading.current_thread().name.startswith(_NAME):
        return work(*args, **named)
    return submit(work, *args, **named).result()


def reserve_cores() -> None:
    """Give the cores to that thread; threads that have not computed yet, and the caller's, get one each."""
    global _team
    import torch

    _team = in_turn(_Team)
    torch.set_num_threads(1)


class _Team:
    """How many threads compute together; made and asked on the thread itself."""

    def __init__(self) -> None:
        import psutil
        import torch

        # asked here: a thread takes the number that holds when it first asks or computes, and keeps it (ATen's ParallelOpenMP.cpp)
        self.most = self._now = torch.get_num_threads()
        self._cores = psutil.cpu_count() or 1
        self._process = psutil.Process()
        self._seen = self._times()

    def _times(self) -> tuple[float, float, float]:
        """Seconds: of the clock, that the machine worked, that this process did."""
        import psutil

        machine: Any = psutil.cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        guests = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)  # counted in user, too
        own = self._process.cpu_times()
        return time.monotonic(), sum(machine) - guests - idle, own.user + own.system

    def adjust(self) -> None:
        """Look, if the last look is long ago, and change the number of threads."""
        import torch

        if time.monotonic() - self._seen[0] < _LOOK_SECONDS:
            return
        now = self._times()
        seconds, machine, own = (b - a for a, b in zip(self._seen, now, strict=True))
        self._seen = now
        wanted = threads_beside((machine - own) / seconds, self._cores, self.most)
        if wanted != self._now:
            torch.set_num_threads(wanted)
            self._now = wanted


def threads_beside(others: float, cores: int, most: int) -> int:
    """Threads that compute together where other programs keep so many cores busy; a core counts as taken from 0.55 on (beside two that spin, a busy program gets two thirds)."""
    return max(1, min(most, cores - int(others + 0.45)))
