"""One thread of a process that computes for all others, on every core.

libgomp keeps a team of threads for each thread that ever computed, and as soon as teams count more threads than there are cores,
those that wait for the next operation sleep at once instead of spinning (``gomp_throttled_spin_count_var``, libgomp's env.c):
a small model's step then takes twice as long. So there is one such thread, work takes turns on it in the order it came, and where
:func:`reserve_cores` was called every other thread computes on one core.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
#: the thread; work that is short, since others wait for it
COMPUTE = ThreadPoolExecutor(1, "groundtune-compute")


def in_turn(work: Callable[P, R], *args: P.args, **named: P.kwargs) -> R:
    """Do something on that thread and wait for what comes of it."""
    if threading.current_thread().name.startswith("groundtune-compute"):
        return work(*args, **named)
    return COMPUTE.submit(work, *args, **named).result()


def reserve_cores() -> None:
    """Give the cores to that thread; threads that have not computed yet, and the caller's, get one each."""
    import torch

    # asked there: a thread takes the number that holds when it first asks or computes, and keeps it (ATen's ParallelOpenMP.cpp)
    in_turn(lambda: torch.set_num_threads(torch.get_num_threads()))
    torch.set_num_threads(1)
