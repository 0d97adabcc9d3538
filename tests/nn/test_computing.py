"""The thread that computes for all others."""

from __future__ import annotations

import subprocess
import sys
import threading

from groundtune.nn.computing import in_turn

RESERVED = """
import threading, torch
torch.set_num_threads(3)
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
