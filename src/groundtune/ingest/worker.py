"""Reads files in processes of their own, so that a file can crash, hang or swell without taking the ingest with it.

``Readers.read`` hands a file to a worker (this module run as ``python -m groundtune.ingest.worker``) and waits; the
worker writes the sections and answers with one JSON line. A worker that passes its time or memory, or dies, is ended,
and the file is refused with that reason; the next file gets a fresh one. Leaves out which files are read (``ingest``).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from groundtune import registry
from groundtune.config import IngestConfig
from groundtune.errors import GroundtuneError, InputError
from groundtune.ingest.reading import LoadOptions
from groundtune.ingest.section_files import as_line
from groundtune.ingest.sources import is_address
from groundtune.records import Section

_POLL_SECONDS = 0.05
_HEARTBEAT_SECONDS = 0.5
_VARIABLE = re.compile(r"\$\{(\w+)\}")
#: of the files a document is written to before it is whole: with its head, its sections
_HALVES = (".part", ".body")
#: files over this size get proportionally more time
_PACE_BYTES_PER_SECOND = 50_000


@dataclass(frozen=True, slots=True)
class Job:
    """One file to read.

    Attributes:
        path: the file.
        loader: its loader's registered name.
        target: JSONL file to write the sections to, whole or not at all.
        head: what goes into the first line, completed with ``title``.
        settings: the ``ingest`` part of the config, as JSON.
        names: names to redact.
    """

    path: str
    loader: str
    target: str
    head: dict[str, Any]
    settings: dict[str, Any]
    names: tuple[str, ...] = ()


class Readers:
    """A few worker processes; ``read`` may be called from as many threads.

    Args:
        settings: time and memory of one file.
    """

    def __init__(self, settings: IngestConfig) -> None:
        self.settings = settings
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._all: list[_Worker] = []
        self._closed = False

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every worker, also one in the middle of a file."""
        with self._lock:
            self._closed = True
            for worker in self._all:
                worker.end()

    def read(self, job: Job) -> dict[str, Any]:
        """Read one file; returns what :func:`read_one` returns.

        Raises:
            InputError: the loader's own refusal, or: too slow, too large in memory, or fatal to its reader.
        """
        with self._lock:
            if self._closed:
                raise InputError(f"{job.path}: not read: the ingest was stopped")
            worker = self._idle.pop() if self._idle else _Worker()
            if worker not in self._all:
                self._all.append(worker)
        size = Path(job.path).stat().st_size
        limit = max(self.settings.seconds_per_file, size / _PACE_BYTES_PER_SECOND)
        answer = worker.ask(job, seconds=limit, megabytes=self.settings.megabytes_per_file)
        if worker.alive:
            with self._lock:
                self._idle.append(worker)
        else:
            for suffix in _HALVES:  # what it was writing
                Path(job.target).with_suffix(suffix).unlink(missing_ok=True)
        if answer.get("errno") in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # the workspace's disk, not the file
            raise OSError(answer["errno"], os.strerror(answer["errno"]), job.target)
        if "fault" in answer:
            raise InputError(answer["fault"], expected=answer.get("expected", ""), next_step=answer.get("next", ""))
        return answer


class _Worker:
    """One child process and the thread that listens to it."""

    def __init__(self) -> None:
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "groundtune.ingest.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends its workers
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                self._answers.put(json.loads(line))
        self._answers.put(None)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """Kill the process and wait for it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()

    def ask(self, job: Job, *, seconds: float, megabytes: int) -> dict[str, Any]:
        """The worker's answer, or a fault where it had to be ended or died."""
        import psutil

        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            return self._died(job)
        started = time.monotonic()
        with contextlib.suppress(psutil.NoSuchProcess):
            watched = psutil.Process(self._process.pid)
        recognised = 0.0
        while True:
            with contextlib.suppress(queue.Empty):
                answer = self._answers.get(timeout=_POLL_SECONDS)
                if answer is None:
                    return self._died(job)
                if "beat" not in answer:
                    return answer
                recognised = float(answer["beat"])
                continue
            now = time.monotonic()
            if now - started > seconds + recognised:
                return self._ended(
                    f"{job.path}: not read within {now - started:.0f} seconds",
                    "raise ingest.seconds_per_file in groundtune.yaml, or leave the file out",
                )
            with contextlib.suppress(psutil.NoSuchProcess):
                if watched.memory_info().rss > megabytes * 1e6:
                    return self._ended(
                        f"{job.path}: reading it takes more than {megabytes} MB of memory",
                        "raise ingest.megabytes_per_file in groundtune.yaml, split the file, or leave it out",
                    )

    def _ended(self, problem: str, next_step: str) -> dict[str, Any]:
        self.end()
        return {"fault": problem, "next": next_step}

    def _died(self, job: Job) -> dict[str, Any]:
        code = self._process.wait()
        why = signal.Signals(-code).name if code < 0 and -code in set(signal.Signals) else f"exit code {code}"
        self.end()
        return {"fault": f"{job.path}: damaged: the program that reads it stopped ({why})", "expected": "a whole file",
                "next": "open it in its own program and save it again"}  # fmt: skip


def read_one(job: Job) -> dict[str, Any]:
    """Load, clean and write one document; returns its head: the Document's fields, what was cleaned and left out.

    Raises:
        InputError: the loader refuses the file, or it holds no text.
    """
    from groundtune.ingest.cleaning import Cleaner

    settings = IngestConfig.model_validate(job.settings)
    passwords = tuple(_VARIABLE.sub(lambda m: os.environ.get(m[1], m[0]), p) for p in settings.passwords)
    options = LoadOptions(passwords, ocr=settings.ocr == "auto")
    path, target = Path(job.path), Path(job.target)
    cleaner = Cleaner(settings, job.names)
    left_out: tuple[str, ...] = ()

    def loaded() -> Iterator[Section]:
        nonlocal left_out
        left_out = (yield from registry.get("loaders", job.loader).load(path, options)) or ()

    sections = cleaner.clean(loaded())
    half, body = (target.with_suffix(suffix) for suffix in _HALVES)
    title = ""
    try:
        with body.open("w", encoding="utf-8", newline="\n") as out:
            for section in sections:
                title = title or section.heading.split(" > ")[0].strip()
                out.write(as_line(section))
        if not body.stat().st_size:
            raise InputError(f"{job.head['path']}: holds no text")
        head = {
            **job.head,
            "title": title or cleaner.redacted(_stem(job.head["path"])),
            **cleaner.about(),
            "left_out": [cleaner.redacted(line) for line in left_out],
        }
        with half.open("w", encoding="utf-8", newline="\n") as out:
            out.write(as_line(head))
            with body.open(encoding="utf-8", newline="\n") as lines:
                for line in lines:
                    out.write(line)
        half.replace(target)
    finally:
        body.unlink(missing_ok=True)
        half.unlink(missing_ok=True)
    return {"head": head}


def _stem(name: str) -> str:
    """A title from a file's name or a web address."""
    parts = urlsplit(name) if is_address(name) else None
    stem = Path(parts.path if parts else name).stem.replace("-", " ").replace("_", " ").strip()
    return stem or (parts.netloc if parts else name)


def _jobs() -> Iterator[Job]:
    """The jobs that come in by stdin; the end of the parent ends this process, even in the middle of a file."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        row = json.loads(lines.get())
        yield Job(**{**row, "names": tuple(row["names"])})


def main() -> None:
    """Read files until the parent goes."""
    channel = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not get between the answers
    writing = threading.Lock()

    def say(answer: dict[str, Any]) -> None:
        with writing:
            os.write(channel, json.dumps(answer).encode() + b"\n")

    def beat() -> None:
        while True:
            time.sleep(_HEARTBEAT_SECONDS)
            if seconds := _recognition_seconds():
                say({"beat": round(seconds, 1)})

    threading.Thread(target=beat, daemon=True).start()
    for job in _jobs():
        if recognition := sys.modules.get("groundtune.ingest.ocr"):
            recognition.seconds_spent = 0.0  # type: ignore[attr-defined]
        try:
            answer = read_one(job)
        except GroundtuneError as error:
            answer = {"fault": error.problem, "expected": error.expected, "next": error.next_step}
        except MemoryError:
            answer = {"fault": f"{job.path}: not enough memory to read it", "next": "split the file, or leave it out"}
        except OSError as error:
            answer = {"fault": f"{job.path}: cannot be read: {error.strerror or error}", "errno": error.errno or 0}
        except RecursionError:
            answer = {"fault": f"{job.path}: damaged: nested too deeply", "next": "leave it out, or save it again"}
        except Exception as error:  # a library's own fault with a damaged file: one file is lost, not the run
            answer = {"fault": f"{job.path}: damaged: {type(error).__name__} while reading it as {job.loader}: "
                      f"{' '.join(str(error).split())[:200]}", "next": "open it in its own program and save it again"}  # fmt: skip
        say(answer)


def _recognition_seconds() -> float:
    """Seconds of this file spent on text recognition, which has a time of its own."""
    module = sys.modules.get("groundtune.ingest.ocr")
    return float(getattr(module, "seconds_spent", 0.0)) if module else 0.0


if __name__ == "__main__":
    main()
