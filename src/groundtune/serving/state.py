"""What every request needs: the project, the store, the files, the models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from groundtune.config import ServeConfig
from groundtune.errors import WorkspaceError
from groundtune.methods._setup import Setup
from groundtune.serving.catalog import Catalog
from groundtune.serving.files import Files
from groundtune.serving.store import Store
from groundtune.serving.vector_stores import VectorStores

#: the server's folder in the workspace
FOLDER = "serving"


@dataclass(slots=True)
class Serving:
    """A server's state.

    Attributes:
        setup: the project.
        folder: everything the server keeps on disk.
        store: its objects.
        files: their bytes.
        catalog: which models there are.
        vectors: the vector stores.
    """

    setup: Setup
    folder: Path
    store: Store
    files: Files
    catalog: Catalog
    vectors: VectorStores

    @classmethod
    def open(cls, setup: Setup) -> Serving:
        """Open or make a project's server folder; a job's process opens it, too.

        Raises:
            ConfigError: the database's URL. WorkspaceError: it cannot be opened.
        """
        folder = setup.workspace.path(FOLDER)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # other accounts of the machine read nothing
        except OSError as error:
            raise WorkspaceError(
                f"{folder} cannot be made: {error.strerror}", next_step="see that the project may be written to"
            ) from None
        store = Store(setup.config.serve.database or f"sqlite:///{folder / 'serving.db'}")
        files = Files(store, folder / "files")
        vectors = VectorStores(setup, store, files, folder / "vector_stores")
        return cls(setup, folder, store, files, Catalog(setup, store, folder), vectors)

    @property
    def config(self) -> ServeConfig:
        """The project's ``serve`` section."""
        return self.setup.config.serve


def serving_of(request: Request) -> Serving:
    """The server's state, of a request."""
    found: Serving = request.app.state.serving
    return found
