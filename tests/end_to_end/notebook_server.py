"""``groundtune serve`` on a project of its own, for tests that replay OpenAI's notebooks through the official client."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sample_project import command, environment

#: in these states a job goes on
OPEN = ("validating_files", "queued", "running")


class NotebookServer:
    """The server's process; stopped and started again, it serves the same project on the same port.

    Args:
        project: an empty folder.

    Attributes:
        url: with ``/v1``, as ``OPENAI_BASE_URL`` takes it.
    """

    def __init__(self, project: Path) -> None:
        self.project, self.url = project, ""
        project.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it; returns when it answers."""
        port = self.url.rsplit(":", 1)[1].removesuffix("/v1") if self.url else "0"
        log = (self.project / "server.log").open("a")
        self._process = subprocess.Popen(
            command("serve", "--port", port, "--project", self.project),
            stdout=subprocess.PIPE, stderr=log, text=True, env=environment(PYTHONUNBUFFERED="1"),
        )  # fmt: skip
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        found = re.search(r"http://\S+/v1", first)
        assert found, first + (self.project / "server.log").read_text()
        self.url = found[0]

    def stop(self) -> None:
        """Ctrl-C."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=30)

    def close(self) -> None:
        """End it and whatever still trains for it."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate(timeout=30)
        for file in self.project.glob(".groundtune/serving/jobs/*/pid"):
            try:
                os.kill(int(file.read_text(encoding="utf-8")), signal.SIGKILL)
            except (ProcessLookupError, ValueError, FileNotFoundError):
                continue

    def client(self) -> Any:
        """The official client, told of the server as a notebook is: by the environment's variable alone."""
        import openai

        before = {name: os.environ.get(name) for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY")}
        os.environ |= {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": "nobody"}
        try:
            return openai.OpenAI()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def poll(client: Any, job_id: str, seconds: float = 240) -> Any:
    """A job once it has ended, looked at again and again as the notebooks do.

    Raises:
        AssertionError: it has not succeeded, or takes too long.
    """
    end = time.monotonic() + seconds
    while (job := client.fine_tuning.jobs.retrieve(job_id)).status in OPEN:
        assert time.monotonic() < end, f"{job_id} is still {job.status}"
        time.sleep(0.5)
    assert job.status == "succeeded", job.error
    return job


def all_messages(client: Any, job_id: str) -> list[str]:
    """What a job's events say, the first first."""
    return [event.message for event in client.fine_tuning.jobs.list_events(job_id, limit=100)][::-1]


def said(client: Any, model: str, messages: Sequence[Any], **more: Any) -> Any:
    """The message that a model answers with."""
    return client.chat.completions.create(model=model, messages=messages, temperature=0, **more).choices[0].message
