"""What every request needs: the project, the store, the files, the limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fastapi import Request

from groundtune.serving.files import Files
from groundtune.serving.store import Store


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take.

    Attributes:
        body_bytes: of a request that is no upload.
        upload_bytes: of one that is.
    """

    body_bytes: int = 16 * 2**20
    upload_bytes: int = 520 * 2**20


@dataclass(slots=True)
class Serving:
    """A server's state.

    Attributes:
        folder: everything the server keeps on disk.
        store: its objects.
        files: their bytes.
        organization: the name in ``ft:`` models and jobs.
    """

    folder: Path
    store: Store
    files: Files
    limits: Limits = field(default_factory=Limits)
    organization: str = "groundtune"

    @classmethod
    def open(cls, folder: Path, *, database: str | None = None, limits: Limits | None = None) -> Serving:
        """Open or make a server's folder; what a kill left half is removed.

        Raises:
            ConfigError: the database's URL. WorkspaceError: it cannot be opened.
        """
        folder.mkdir(parents=True, exist_ok=True)
        store = Store(database or f"sqlite:///{folder / 'serving.db'}")
        files = Files(store, folder / "files")
        files.tidy()
        return cls(folder, store, files, limits or Limits())


def serving_of(request: Request) -> Serving:
    """The server's state, of a request."""
    found: Serving = request.app.state.serving
    return found
