"""What every request needs: the project, the store, the files, the models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fastapi import FastAPI, Request

from groundtune.config import ServeConfig
from groundtune.errors import WorkspaceError
from groundtune.methods._setup import Setup
from groundtune.serving.catalog import Catalog
from groundtune.serving.storage.files import Files
from groundtune.serving.storage.owners import Scope
from groundtune.serving.storage.store import Store
from groundtune.serving.vectors.vector_stores import VectorStores

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

    def of(self, scope: Scope) -> Serving:
        """The same as somebody sees it."""
        store = self.store.of(scope)
        files = self.files.of(store)
        return replace(
            self, store=store, files=files, catalog=self.catalog.of(store), vectors=self.vectors.of(store, files)
        )

    @property
    def config(self) -> ServeConfig:
        """The project's ``serve`` section."""
        return self.setup.config.serve


def serving_of(request: Request) -> Serving:
    """The server's state as the caller of a request sees it: what is another's is not there. For every route."""
    return server_of(request.app).of(request.state.caller.scope)


def server_of(app: FastAPI) -> Serving:
    """The whole of the server's state, for what is no caller's business."""
    found: Serving = app.state.serving
    return found
