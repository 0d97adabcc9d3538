"""Python graders: somebody's code in a process that can do nothing but calculate, on Linux.

The process has no environment, no packages, a folder of its own for a second or two, limits on time, memory, files and output.
Before the code runs, the process gives up, by the kernel's own means, what it does not need: Landlock leaves it Python's own files
to read and nothing to write; a seccomp filter refuses sockets, new processes, other programs, signals to others, and the rest of
what could reach outside. Where the kernel offers not both, python graders are refused: code of others is never run unprotected.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from groundtune.serving.errors import bad_request

#: seconds on the clock; seconds of a core; bytes of memory; bytes of output
WALL_SECONDS, CPU_SECONDS, MEMORY_BYTES, OUTPUT_BYTES = 30, 20, 1 << 30, 1 << 16
_RUNNER = Path(__file__).with_name("grader_runner.py")


class GraderFault(Exception):
    """A python grader that gave no number; what went wrong, to its author."""


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int
    output: bytes
    errors: bytes
    in_time: bool


def run_python(
    source: str, sample: Mapping[str, Any], item: Mapping[str, Any], *, wall_seconds: float = WALL_SECONDS
) -> float:
    """What ``grade(sample, item)`` returns.

    Raises:
        GraderFault: it raised, returned no finite number, or took too long or too much. ApiError: it cannot be isolated here.
    """
    if not available():
        message = "Python graders are not offered on this server: its system cannot isolate them (Linux with Landlock and seccomp is needed)."
        raise bad_request(message, param="grader.type", code="unsupported_grader")
    ended = _run({"source": source, "sample": sample, "item": item}, wall_seconds)
    try:
        said = json.loads(ended.output)
    except ValueError:
        raise GraderFault(_why(ended, wall_seconds)) from None
    if not isinstance(said, dict) or not isinstance(said.get("reward"), int | float):
        raise GraderFault(str(said.get("error") if isinstance(said, dict) else said)[:2000])
    return float(said["reward"])


def _why(ended: _Ended, wall_seconds: float) -> str:
    if not ended.in_time:
        return f"took longer than {wall_seconds:g} seconds"
    if ended.code in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"took more than {CPU_SECONDS} seconds of a core, or too much memory"
    last = ended.errors.decode("utf-8", "replace").strip().splitlines()
    return f"ended with code {ended.code}: {last[-1][:300] if last else 'nothing was written'}"


@cache
def available() -> bool:
    """Whether this system can isolate python graders: tried once, with a grader that tries to get out."""
    if not sys.platform.startswith("linux"):
        return False
    ended = _run({"source": "def grade(sample, item): return 1", "sample": {}, "item": {}}, WALL_SECONDS)
    return ended.code == 0 and b'"reward": 1' in ended.output


def _run(given: Mapping[str, Any], wall_seconds: float) -> _Ended:
    limits = [CPU_SECONDS, MEMORY_BYTES, OUTPUT_BYTES]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="grader-"))
        asked, out, errors = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        asked.write(json.dumps({**given, "limits": limits}).encode())
        asked.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(_RUNNER)],
            stdin=asked, stdout=out, stderr=errors, cwd=folder, env={}, start_new_session=True, close_fds=True,
        )  # fmt: skip
        in_time = _wait(process, wall_seconds)
        out.seek(0)
        errors.seek(0)
        return _Ended(process.returncode, out.read(OUTPUT_BYTES), errors.read(OUTPUT_BYTES), in_time)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the end, and see to it; whether it came by itself."""
    end = time.monotonic() + seconds
    try:
        process.wait(max(0.0, end - time.monotonic()))
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
