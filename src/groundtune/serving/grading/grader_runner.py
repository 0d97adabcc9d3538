"""Runs inside the process of a python grader: gives up every right that grading does not need, then runs the code.

A program of its own (``python -I -S grader_runner.py``) that knows the standard library alone. Reads ``{"source", "sample", "item",
"limits"}`` as JSON and writes ``{"reward"}`` or ``{"error"}``; exits with 7 where the kernel cannot take the rights away.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import platform
import resource
import struct
import sys
import sysconfig
import traceback
from typing import Any

#: exit code: not to be isolated here
UNPROTECTED = 7
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_LANDLOCK = {"create": 444, "add": 445, "restrict": 446}
#: Landlock's rights over files in version 1: everything is handled, reading files and folders is given back
_ALL_RIGHTS, _READ_FILE, _READ_FOLDER = (1 << 13) - 1, 1 << 2, 1 << 3
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
#: system calls that a grader may not make, by architecture: sockets, processes, programs, signals, tracing, keys, mounts, namespaces,
#: modules, performance counters, io_uring, other processes' memory; truncating files, their modes, owners, times and attributes, which the
#: first version of Landlock leaves free; limits, priorities, System V memory
_REFUSED = {
    "x86_64": (
        41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 288, 299, 307, 56, 57, 58, 59, 322, 435, 62, 200, 234, 424, 434,
        101, 310, 311, 438, 248, 249, 250, 155, 161, 165, 166, 272, 308, 175, 313, 176, 298, 321, 323, 425, 426, 427, 319, 86, 88, 133,
        76, 90, 91, 92, 93, 94, 132, 235, 261, 280, 268, 260, 452, 188, 189, 190, 197, 198, 199, 160, 302, 141, 203, 29, 30, 31, 64, 65, 66,
        68, 69, 70, 71,
    ),
    "aarch64": (
        198, 199, 200, 201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212, 242, 243, 269, 220, 221, 281, 435, 129, 130, 131, 424, 434,
        117, 270, 271, 438, 217, 218, 219, 41, 51, 40, 39, 97, 268, 105, 273, 106, 241, 280, 282, 425, 426, 427, 279, 37, 36, 33,
        45, 52, 53, 54, 55, 88, 5, 6, 7, 14, 15, 16, 452, 164, 261, 140, 122, 194, 195, 196, 190, 193, 186, 188, 189,
    ),
}  # fmt: skip


def main() -> int:
    """Run a grader; the exit code."""
    given = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    compiled = None
    try:
        compiled = compile(given["source"], "<grader>", "exec")
    except Exception as error:
        json.dump({"error": f"{type(error).__name__}: {error}"}, out)
    try:
        _limit(*given["limits"])
        _isolate()
    except OSError:
        return UNPROTECTED
    if compiled is not None:
        json.dump(_graded(compiled, given), out)
    out.flush()
    os._exit(0)


def _graded(compiled: Any, given: dict[str, Any]) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "grader"}
    try:
        exec(compiled, space)
        reward = space["grade"](given["sample"], given["item"])
        if isinstance(reward, bool) or not isinstance(reward, int | float) or not math.isfinite(reward):
            return {
                "error": f"grade returned {str(reward)[:100]!r} ({type(reward).__name__}), expected a finite number"
            }
        return {"reward": float(reward)}
    except BaseException as error:
        lines = traceback.format_exception_only(error)
        places = [f"line {f.lineno}" for f in traceback.extract_tb(error.__traceback__) if f.filename == "<grader>"]
        return {"error": f"{''.join(lines).strip()[:1500]}{f' ({places[-1]})' if places else ''}"}


def _limit(cpu_seconds: int, memory_bytes: int, output_bytes: int) -> None:
    for what, most in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, output_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ):
        resource.setrlimit(what, (most, most))


def _isolate() -> None:
    """Give up files and system calls for good.

    Raises:
        OSError: the kernel does not let us.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise OSError(f"no filter for {machine}")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long

    def done(result: int) -> int:
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    done(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    handled = ctypes.create_string_buffer(struct.pack("=Q", _ALL_RIGHTS))
    rules = done(libc.syscall(_LANDLOCK["create"], handled, ctypes.c_size_t(8), 0))
    for folder in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), "/usr/lib", "/lib", "/lib64"}:
        if folder and os.path.isdir(folder):  # noqa: PTH112  # the fewest imports
            place = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            rule = ctypes.create_string_buffer(struct.pack("=Qi", _READ_FILE | _READ_FOLDER, place))
            done(libc.syscall(_LANDLOCK["add"], rules, 1, rule, 0))
            os.close(place)
    done(libc.syscall(_LANDLOCK["restrict"], rules, 0))
    os.close(rules)
    _filter(libc, done, machine)


def _filter(libc: Any, done: Any, machine: str) -> None:
    """A seccomp filter: another architecture ends the process, a refused call says EPERM, everything else goes on."""
    load, equal, greater, give = 0x20, 0x15, 0x35, 0x06
    refused = _REFUSED[machine]
    program = [
        (load, 0, 0, 4),  # the architecture
        (equal, 1, 0, _ARCHITECTURES[machine]),
        (give, 0, 0, 0x80000000),
        (load, 0, 0, 0),  # the call's number
        (greater, len(refused), 0, 0x40000000),  # x32's numbers
        *((equal, len(refused) - n, 0, number) for n, number in enumerate(refused)),
        (give, 0, 0, 0x7FFF0000),
        (give, 0, 0, 0x00050000 | 1),
    ]
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    whole = Program(len(program), ctypes.cast(buffer, ctypes.c_void_p))
    done(libc.prctl(_SECCOMP, _FILTER, ctypes.byref(whole), 0, 0))


if __name__ == "__main__":
    sys.exit(main())
