"""A fine-tuning job's own process: ``python -m groundtune.serving.tuning.job_worker --project DIR [--config FILE] JOB_ID``.

Walks the job through its states: files are checked, then the model is trained, and everything is written so that the process can
be killed at any moment and started again: the job goes on from its last checkpoint and ends in the same weights. A lock on a
file, which the system releases when the process dies, keeps a job from being run twice. Exit codes: 0 the job ended, stopped
or waits; 3 another process has it; 4 the disk is full and not even that could be written; others: a fault.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from groundtune.config import load_config
from groundtune.errors import GroundtuneError
from groundtune.methods._setup import Setup
from groundtune.serving.errors import ApiError
from groundtune.serving.state import Serving
from groundtune.serving.storage.store import Body
from groundtune.serving.tuning.job_files import Refused, Role, check_file, oddities, take
from groundtune.serving.tuning.job_models import FOLDER as MODELS
from groundtune.serving.tuning.jobs import ENDED, Jobs, event
from groundtune.workspace import Workspace

LOCK, PID, LOG, RUN = "lock", "pid", "log.txt", "run"
#: exit codes
TAKEN, FULL = 3, 4
#: seconds to wait for the lock: whoever only looks whether it is free gives it back at once
_PATIENCE = 3
#: bytes free below which a failed write is taken for a full disk
_FULL_BYTES = 64 * 2**20
log = logging.getLogger("groundtune.serving.job_worker")


class AlreadyRunning(Exception):
    """Another process has the job."""


def main(arguments: list[str] | None = None) -> int:
    """Run a job; the exit code."""
    parser = argparse.ArgumentParser(prog="groundtune.serving.tuning.job_worker")
    parser.add_argument("--project", type=Path, required=True, help="the project's folder")
    parser.add_argument("--config", type=Path, help="another file than groundtune.yaml in it")
    parser.add_argument("--until", choices=["queued", "ended"], default="ended", help="stop in this state")
    parser.add_argument("job")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    be_modest()
    serving = Serving.open(Setup(Workspace(given.project), load_config(given.project, given.config)))
    jobs = Jobs(serving)
    try:
        with held(jobs, given.job):
            walk(jobs, given.job, until=given.until)
    except AlreadyRunning:
        log.info("%s is run by another process", given.job)
        return TAKEN
    except Exception as error:
        if not disk_full(error, serving.folder):
            raise
        return _hold(jobs, given.job, error)
    return 0


def be_modest() -> None:
    """Every core, but behind everybody else: serving stays responsive."""
    with suppress(OSError, AttributeError):
        os.nice(10)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(cores))


@contextmanager
def held(jobs: Jobs, id: str) -> Iterator[None]:
    """Hold a job's lock.

    Raises:
        ApiError: no such job. AlreadyRunning: another process holds it.
    """
    jobs.get(id)
    folder = jobs.folder(id)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(folder / LOCK))
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        raise AlreadyRunning(id) from None
    try:
        (folder / PID).write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        (folder / PID).unlink(missing_ok=True)
        lock.release()


def walk(jobs: Jobs, id: str, *, until: str = "ended") -> None:
    """Bring a job on, from whatever state it is in, until it has ended, is paused, or ``until`` is reached."""
    try:
        job = jobs.get(id)
        if job["status"] == "validating_files":
            job = validate(jobs, job)
        if until == "ended" and job["status"] in ("queued", "running"):
            train(jobs, job)
    except Refused as refused:
        jobs.fail(id, refused.code, refused.message, param=refused.param)
    except ApiError as error:
        jobs.fail(id, error.code or "invalid_request_error", error.message, param=error.param)
    except GroundtuneError as error:
        log.exception("%s cannot be trained", id)
        jobs.fail(id, "training_failed", error.render())
    if jobs.get(id)["status"] in ENDED:
        tidy(jobs.folder(id))


def validate(jobs: Jobs, job: Body) -> Body:
    """Check a job's files and queue it; the job afterwards.

    Raises:
        Refused: a file that cannot be trained on. ApiError: one that was deleted.
    """
    id, files = job["id"], jobs.serving.files
    roles: list[Role] = ["training", *(["validation"] if job["validation_file"] else [])]  # type: ignore[list-item]
    formats, examples = {}, 0
    for role in roles:
        file, own = job[f"{role}_file"], jobs.folder(id) / role
        if not own.exists():
            files.get(file, param=f"{role}_file")
            take(files.path(file), own)
        formats[role], count = check_file(own, file, role, job["method"]["type"])
        examples = count if role == "training" else examples
        for what in oddities(own, formats[role]):
            jobs.warn(id, f"{role} {what}", f"{role.capitalize()} file: {what}")
    jobs.store.change("job_work", id, lambda work: {"formats": formats, "examples": examples})
    told = [event(id, "validated", "Files validated, moving job to queued state")]
    return jobs.progress(id, among=("validating_files",), told=told, status="queued") or jobs.get(id)


def train(jobs: Jobs, job: Body) -> None:
    """Train a queued job, or go on with one that was stopped. Raises as :func:`groundtune.serving.tuning.job_run.carry_out`."""
    import torch

    from groundtune.serving.tuning.job_run import carry_out, numbers_of, open_run

    id = job["id"]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or torch.get_num_threads()))
    work = jobs.store.get("job_work", id) or {}
    numbers, kind = numbers_of(job, int(work["examples"])), job["method"]["type"]
    changes: dict[str, Any] = {"hyperparameters": numbers, "method": {"type": kind, kind: {"hyperparameters": numbers}}}
    told = [event(id, "started", "Fine-tuning job started")]
    if jobs.progress(id, among=("queued", "running"), told=told, status="running", **changes) is None:
        return
    log.info("%s: training, %s", id, numbers)
    if carry_out(open_run(jobs, job, numbers), work["formats"]):
        log.info("%s: done", id)


def tidy(folder: Path) -> None:
    """Remove what only an unfinished job needs."""
    if (folder / RUN).exists():
        from groundtune.training.trainer import discard_checkpoints

        discard_checkpoints(folder / RUN)
    for role in ("training", "validation"):
        (folder / role).unlink(missing_ok=True)


# ---------------------------------------------------------------- a full disk


def disk_full(error: BaseException | None, folder: Path) -> bool:
    """Whether an error, or one behind it, says that nothing more can be written."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        text = str(error)
        if "No space left" in text or "disk is full" in text:
            return True
        if isinstance(error, RuntimeError) and "write" in text and shutil.disk_usage(folder).free < _FULL_BYTES:
            return True  # torch writes archives without saying why it cannot
        error = error.__cause__ or error.__context__
    return False


def _hold(jobs: Jobs, id: str, error: Exception) -> int:
    """Give back what is half written and pause the job: its checkpoints stay, nothing is lost."""
    log.error("%s: the disk is full", id, exc_info=error)
    from groundtune.training.watch import WHOLE

    for half in (jobs.folder(id) / RUN).glob("checkpoint-*"):
        if not (half / WHOLE).exists():
            shutil.rmtree(half, ignore_errors=True)
    for half in (jobs.serving.folder / MODELS / id).glob("*.part"):
        shutil.rmtree(half, ignore_errors=True)
    try:
        jobs.hold(
            id,
            "The server's disk is full. The job is paused and keeps its checkpoint: free some space, then resume it.",
        )
    except Exception:
        log.exception("%s: not even that could be written", id)
        return FULL
    return 0


if __name__ == "__main__":
    sys.exit(main())
