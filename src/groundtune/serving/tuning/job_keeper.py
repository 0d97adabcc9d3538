"""Sees that jobs are run: starts a worker for each in order, takes over those of an earlier server, starts dead ones again.

A thread of the server. Workers are processes of their own that go on when the server ends; a new server knows them by their
locks. Where several servers share a folder, one keeps the jobs at a time, and another takes over when it is gone. Leaves out
what a worker does (``job_worker``).
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from groundtune.serving.storage.store import Body
from groundtune.serving.tuning import job_models
from groundtune.serving.tuning.job_worker import FULL, LOCK, LOG, RUN, TAKEN, tidy
from groundtune.serving.tuning.jobs import ENDED, OPEN, Jobs

#: seconds between looks
POLL = 1.0
#: workers that check files at the same time
CHECKING = 2
#: deaths of a worker without a step forward in between that end its job
DEATHS = 3
#: looks until a worker is started again whose end could not be written down; seconds until one that found the disk full
_LONG, _FULL_WAIT = 10, 30.0
#: states in which a job wants a worker
_WANTING = ("validating_files", "queued", "running")
log = logging.getLogger("groundtune.serving.job_keeper")


class JobKeeper:
    """Keeps a server's jobs going.

    Args:
        jobs: whose.
        command: what runs a worker, before its arguments; for tests.
    """

    def __init__(self, jobs: Jobs, *, command: tuple[str, ...] = ()) -> None:
        self.jobs, self.store = jobs, jobs.store
        self.folder = jobs.serving.folder / "jobs"
        self._command = command or (sys.executable, "-m", "groundtune.serving.tuning.job_worker")
        self._wanted = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._adopted: set[str] = set()
        self._open: set[str] = set()
        self._not_before: dict[str, float] = {}
        jobs.wake = self._wanted.set

    def start(self) -> None:
        """Begin."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stopping = False
        self._thread = threading.Thread(target=self._keep, name="job-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; workers go on."""
        self._stopping = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(30)

    def _keep(self) -> None:
        lock, mine = FileLock(str(self.folder / "keeper.lock")), False
        while not self._stopping:
            try:
                if not mine:
                    lock.acquire(timeout=0)
                    mine = True
                    self._begin()
                self.look()
            except Timeout:  # another server keeps them
                pass
            except Exception:  # a database that does not answer, a full disk: the next look may find it better
                log.exception("the jobs could not be looked after")
            self._wanted.wait(POLL)
            self._wanted.clear()
        if mine:
            lock.release()

    def _begin(self) -> None:
        """Take out what killed workers left of jobs that have ended."""
        job_models.tidy(self.jobs.serving)
        for folder in self.folder.iterdir():
            if (folder / RUN).exists() or (folder / "training").exists():
                self._clear(folder.name)

    # ---------------------------------------------------------------- one look

    def look(self) -> None:
        """Reap, count, start."""
        for id, child in list(self._children.items()):
            if child.poll() is not None:
                del self._children[id]
                self._gone(id, child.returncode)
        found = self.store.all("job", states=OPEN)
        running = {job["id"] for job in found if job["id"] in self._children or self._locked(job["id"])}
        for id in self._adopted - running:
            self._gone(id, None)
        self._adopted = running - self._children.keys()
        for id in self._open - {job["id"] for job in found} - self._children.keys():
            self._clear(id)  # cancelled while nobody worked for it
        self._open = {job["id"] for job in found}
        wanting = [j for j in found if j["status"] in _WANTING and j["id"] not in running and self._may(j["id"])]
        checking = sum(job["status"] == "validating_files" for job in found if job["id"] in running)
        training = len(running) - checking
        for job in [j for j in wanting if j["status"] == "validating_files"][: max(0, CHECKING - checking)]:
            self._start(job["id"], "--until", "queued")
        again_first = sorted((j for j in wanting if j["status"] != "validating_files"), key=lambda j: j["status"] != "running")  # fmt: skip
        for job in again_first[: max(0, self.jobs.serving.config.jobs - training)]:
            self._start(job["id"])

    def _may(self, id: str) -> bool:
        return time.monotonic() >= self._not_before.get(id, 0.0)

    def _locked(self, id: str) -> bool:
        """Whether some process runs the job."""
        path = self.folder / id / LOCK
        if not path.exists():
            return False
        lock = FileLock(str(path))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

    def _start(self, id: str, *more: str) -> None:
        folder, serving = self.folder / id, self.jobs.serving
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.json"
        _write_private(config, serving.setup.config.model_dump(mode="json"))
        arguments = ["--project", str(serving.setup.workspace.root), "--config", str(config), *more, id]
        with (folder / LOG).open("ab") as out:
            self._children[id] = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        log.info("%s: started process %d", id, self._children[id].pid)

    # ---------------------------------------------------------------- ends

    def _gone(self, id: str, code: int | None) -> None:
        """A worker has ended: as it should, or not.

        Args:
            code: its exit code; None: of another server's worker, which nobody knows.
        """
        self._wanted.set()
        job = self.store.get("job", id)
        if job is None or job["status"] in ENDED:
            self._clear(id)
            return
        if code == FULL:
            self._not_before[id] = time.monotonic() + _FULL_WAIT
            return
        self._not_before[id] = time.monotonic() + _LONG * POLL  # whatever happens to what follows
        if code in (0, TAKEN) or job["status"] not in _WANTING or (code is None and job["status"] == "queued"):
            self._not_before.pop(id, None)
            return
        deaths = self._count_death(job)
        log.warning("%s: its process died (%s), the %d. time at this place", id, code, deaths)
        if deaths >= DEATHS:
            said = f"The job's process ended {DEATHS} times at the same place ({_how(code)})"
            self.jobs.fail(id, "server_error", f"{said}; the last it wrote: {_last_line(self.folder / id / LOG)}")
            self._clear(id)
        self._not_before[id] = time.monotonic() + POLL * (deaths - 1)

    def _count_death(self, job: Body) -> int:
        """Deaths of the job's workers since it last got further."""
        newest = self.store.page("event", parent=job["id"], limit=1, fits=lambda body: body["type"] == "metrics").items
        at = [job["status"], newest[0]["data"]["step"] if newest else 0]

        def change(work: Body) -> Mapping[str, Any]:
            return {"at": at, "deaths": int(work.get("deaths", 0)) + 1 if work.get("at") == at else 1}

        changed = self.store.change("job_work", job["id"], change)
        return int(changed["deaths"]) if changed else DEATHS

    def _clear(self, id: str) -> None:
        """Remove what only an unfinished job needs, unless somebody still uses it."""
        job = self.store.get("job", id)
        if (job is None or job["status"] in ENDED) and not self._locked(id):
            tidy(self.folder / id)


def _write_private(path: Path, value: Any) -> None:
    """Write JSON that only this user may read: a database's address may hold a password."""
    half = path.with_name(f"{path.name}.part")
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        json.dump(value, out)
    half.replace(path)


def _how(code: int | None) -> str:
    if code is None:
        return "by an unknown cause"
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1][:300] if lines else "nothing"
