"""The thread that computes for all others."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from groundtune.nn.computing import in_turn, threads_beside

RESERVED = """
import threading, torch
torch.set_num_threads(3)
import groundtune.nn.computing
groundtune.nn.computing._LOOK_SECONDS = 1e9
from groundtune.nn.computing import in_turn, reserve_cores
reserve_cores()
seen = []
thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
thread.start(); thread.join()
print(in_turn(torch.get_num_threads), torch.get_num_threads(), seen[0])
"""


def test_the_cores_are_one_threads() -> None:
    """In a process of its own: how many threads others get is for good."""
    done = subprocess.run([sys.executable, "-c", RESERVED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "1", "1"]


def test_work_that_asks_for_more_work_ends() -> None:
    assert in_turn(lambda: in_turn(threading.current_thread)) is in_turn(threading.current_thread)
    assert in_turn(threading.current_thread) is not threading.current_thread()


def test_an_error_is_the_callers() -> None:
    try:
        in_turn(lambda: 1 / 0)
    except ZeroDivisionError:
        return
    raise AssertionError("no error")


@pytest.mark.parametrize(
    ("others", "cores", "most", "threads"),
    [(0.0, 2, 2, 2), (0.4, 2, 2, 2), (0.6, 2, 2, 1), (1.9, 2, 2, 1), (5.0, 2, 2, 1), (3.2, 16, 16, 13), (3.2, 16, 8, 8), (-0.1, 4, 4, 4)],
)  # fmt: skip
def test_threads_are_what_others_leave(others: float, cores: int, most: int, threads: int) -> None:
    assert threads_beside(others, cores, most) == threads


BESIDE = """
import subprocess, sys, time, torch
from groundtune.nn.computing import in_turn, reserve_cores
torch.set_num_threads(2)
import psutil
psutil.cpu_count = lambda: 2
reserve_cores()
busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
try:
    until, seen = time.monotonic() + 30, 2
    while seen == 2 and time.monotonic() < until:
        time.sleep(0.1)
        seen = in_turn(torch.get_num_threads)
    print(seen)
finally:
    for one in busy: one.kill()
"""


def test_others_programs_are_made_room_for() -> None:
    done = subprocess.run([sys.executable, "-c", BESIDE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]
