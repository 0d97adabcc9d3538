"""Vector stores as objects: made, changed, filled with files, emptied, expired (OpenAI's Vector Stores API).

A store is a row; each file in it is a row that belongs to it, and so is each batch of files. Counts, sizes and states of
stores and batches are never written down but taken from their files' rows, so that no kill can leave them wrong. A file's
row names the Parquet file with its chunks (``data``) before that is written; it is searched only once the row says
``completed``. Who writes it is ``vector_ingest``, who searches ``vector_search``.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from sqlalchemy import delete, select

from groundtune.errors import GroundtuneError
from groundtune.methods._setup import Setup
from groundtune.retrieval.embedding import Embedder, identity, open_embedder
from groundtune.serving.errors import bad_request, no_such
from groundtune.serving.ids import letters, new_id
from groundtune.serving.storage.files import Files
from groundtune.serving.storage.store import Body, Row, Store
from groundtune.serving.vectors.vector_index import Index, read_texts
from groundtune.serving.vectors.vector_requests import Chunking, CreateFile, CreateStore, UpdateStore, resolved

STORE, FILE, BATCH = "vector_store", "vector_store_file", "vector_store_batch"
STATES = ("in_progress", "completed", "failed", "cancelled")
#: what objects hold that is not for clients
_OURS = {"data", "embedder", "batch"}
#: seconds between two notes of a store's use; stores held in memory
_NOTE_SECONDS, _HELD = 10, 8
_DAY_SECONDS = 86_400


class VectorStores:
    """The vector stores of a server.

    Args:
        setup: the project; its ``index.embedder`` makes all vectors.
        store: holds the objects.
        files: what they are filled with.
        folder: holds chunks and vectors, a folder a store.

    Attributes:
        waiting: (store, file) to be ingested; None wakes one who waits for nothing.
        whole: as the server itself sees them.
    """

    def __init__(self, setup: Setup, store: Store, files: Files, folder: Path) -> None:
        self.setup, self.store, self.files, self.folder = setup, store, files, folder
        self.waiting: SimpleQueue[tuple[str, str] | None] = SimpleQueue()
        self._indexes: OrderedDict[str, Index] = OrderedDict()
        self._lock = threading.Lock()
        self.whole = self

    def of(self, store: Store, files: Files) -> VectorStores:
        """The same as a view of the store and of the files sees it."""
        view = copy(self)
        view.store, view.files = store, files
        return view

    @cached_property
    def embedder(self) -> Embedder:
        """What makes the vectors; until the server ends, even if the project's embedder is trained again."""
        if self is not self.whole:
            return self.whole.embedder
        return open_embedder(self.setup.workspace, self.setup.config.index.embedder)

    @cached_property
    def embedder_identity(self) -> str:
        """What tells this embedder from others."""
        if self is not self.whole:
            return self.whole.embedder_identity
        return identity(self.setup.workspace, self.setup.config.index.embedder)

    def path(self, store_id: str, data: str) -> Path:
        """Where a file's chunks are."""
        return self.folder / store_id / data

    # ---------------------------------------------------------------- stores

    def create(self, wanted: CreateStore) -> Body:
        """A new store, with its first files on their way.

        Raises:
            ApiError: no such file.
        """
        for id in wanted.file_ids:
            self.files.get(id, param="file_ids")
        body: dict[str, Any] = {
            "object": "vector_store", "name": wanted.name or "", "description": wanted.description,
            "metadata": wanted.metadata or {}, "last_active_at": int(time.time()),
            "expires_after": wanted.expires_after.model_dump() if wanted.expires_after else None,
        }  # fmt: skip
        made = self.store.add(STORE, body)
        self.attach(made["id"], [_file(id, wanted.chunking_strategy) for id in wanted.file_ids])
        return self.get(made["id"])

    def get(self, id: str) -> Body:
        """A store as clients see it.

        Raises:
            ApiError: there is none.
        """
        body = self.store.get(STORE, id)
        if body is None:
            raise no_such("VectorStore", id, param="vector_store_id")
        return self.shown(body)

    def shown(self, body: Body) -> Body:
        """A store's row with what follows from its files and from the time."""
        rows = self.store.all(FILE, parent=body["id"])
        counts = _counts(rows)
        ends = _ends(body)
        status = "in_progress" if counts["in_progress"] else "completed"
        more = {
            "status": "expired" if ends and ends <= time.time() else status,
            "file_counts": counts, "usage_bytes": sum(row["usage_bytes"] for row in rows), "expires_at": ends,
        }  # fmt: skip
        return {**{key: value for key, value in body.items() if value is not None}, **more}

    def alive(self, id: str) -> Body:
        """A store that can be used, and a note that it is.

        Raises:
            ApiError: there is none, or its time is over.
        """
        body = self.store.get(STORE, id)
        if body is None:
            raise no_such("VectorStore", id, param="vector_store_id")
        now = int(time.time())
        ends = _ends(body)
        if ends and ends <= now:
            message = f"Vector store {id} is expired: give it another 'expires_after' to use it again."
            raise bad_request(message, param="vector_store_id", code="expired")
        if now - body["last_active_at"] >= _NOTE_SECONDS:
            self.store.server.change(STORE, id, lambda _: {"last_active_at": now})  # whosever it is
        return body

    def update(self, id: str, wanted: UpdateStore) -> Body:
        """Change name, expiry, metadata; another expiry counts from now, also where the store was expired.

        Raises:
            ApiError: there is none.
        """
        given = wanted.model_dump(exclude_unset=True)
        changes = {
            key: value if value is not None else {"name": "", "metadata": {}}.get(key) for key, value in given.items()
        }
        changed = self.store.change(STORE, id, lambda _: {**changes, "last_active_at": int(time.time())})
        if changed is None:
            raise no_such("VectorStore", id, param="vector_store_id")
        return self.shown(changed)

    def remove(self, id: str) -> None:
        """Take a store out with all that is in it; the files themselves stay.

        Raises:
            ApiError: there is none.
        """
        if not self.store.remove(STORE, id):
            raise no_such("VectorStore", id, param="vector_store_id")
        self.whole._forget(id)

    def _forget(self, id: str) -> None:
        self.store.remove_all(FILE, parent=id)
        self.store.remove_all(BATCH, parent=id)
        with self._lock:
            self._indexes.pop(id, None)
        shutil.rmtree(self.folder / id, ignore_errors=True)

    def index(self, id: str) -> Index:
        """A store's chunks in memory; the stores used last are held."""
        with self._lock:
            found = self._indexes.get(id) or Index(self.embedder.DIMENSIONS)
            self._indexes[id] = found
            self._indexes.move_to_end(id)
            while len(self._indexes) > _HELD:
                self._indexes.popitem(last=False)
            return found

    # ---------------------------------------------------------------- files

    def attach(self, store_id: str, wanted: Sequence[CreateFile], *, batch: bool = False) -> Body | None:
        """Put files into a store: all of them or, where something is wrong, none. One that is in it already is read anew.

        Returns:
            The batch, where one was asked for.

        Raises:
            ApiError: no such store or file, or the store is expired.
        """
        self.alive(store_id)
        single = {file.file_id: file for file in wanted}
        for id in single:
            self.files.get(id, param="file_id")
        now, batch_id = int(time.time()), new_id(BATCH) if batch else None
        rows = [_new_row(store_id, file, batch_id, now) for file in single.values()]
        with self.store.session() as session:
            store = self.store.find(session, STORE, store_id, to_change=True)  # one after the other
            if store is None:
                raise no_such("VectorStore", store_id, param="vector_store_id")
            own = (Row.kind == FILE, Row.parent == store_id, Row.id.in_(list(single)))
            replaced = [row["data"] for row in session.scalars(select(Row.body).where(*own))]
            session.execute(delete(Row).where(*own))
            if batch_id:
                body = {"id": batch_id, "object": "vector_store.files_batch", "created_at": now, "cancelled": False,
                        "vector_store_id": store_id}  # fmt: skip
                rows.append(Row(id=batch_id, kind=BATCH, parent=store_id, created_at=now, body=body))
            for row in rows:
                row.owner = store.owner
            session.add_all(rows)
        for data in replaced:
            self.path(store_id, data).unlink(missing_ok=True)
        for id in single:
            self.waiting.put((store_id, id))
        return self.batch(store_id, batch_id) if batch_id else None

    def file(self, store_id: str, file_id: str) -> Body:
        """A file in a store, as clients see it.

        Raises:
            ApiError: no such store, or no such file in it.
        """
        return shown_file(self._file(store_id, file_id))

    def _file(self, store_id: str, file_id: str) -> Body:
        self.check(store_id)
        body = self.store.get(FILE, file_id, parent=store_id)
        if body is None:
            raise no_such("VectorStoreFile", file_id, param="file_id")
        return body

    def check(self, store_id: str) -> None:
        """See that there is such a store.

        Raises:
            ApiError: there is none.
        """
        if self.store.get(STORE, store_id) is None:
            raise no_such("VectorStore", store_id, param="vector_store_id")

    def set_attributes(self, store_id: str, file_id: str, attributes: dict[str, Any] | None) -> Body:
        """Give a file other attributes.

        Raises:
            ApiError: no such store, or no such file in it.
        """
        self._file(store_id, file_id)
        self.store.change(FILE, file_id, lambda _: {"attributes": attributes or {}}, parent=store_id)
        return self.file(store_id, file_id)

    def detach(self, store_id: str, file_id: str) -> None:
        """Take a file out of a store; the file itself stays.

        Raises:
            ApiError: no such store, or no such file in it.
        """
        body = self._file(store_id, file_id)
        self.store.remove(FILE, file_id, parent=store_id)
        self.path(store_id, body["data"]).unlink(missing_ok=True)

    def texts(self, store_id: str, file_id: str) -> list[str]:
        """The chunks of a file, in order.

        Raises:
            ApiError: no such file, or it is not read in.
        """
        body = self._file(store_id, file_id)
        if body["status"] != "completed":
            raise bad_request(f"File {file_id} is {body['status']}: it has no content here.", param="file_id")
        return read_texts(self.path(store_id, body["data"]))

    # ---------------------------------------------------------------- batches

    def batch(self, store_id: str, batch_id: str) -> Body:
        """A batch with what has become of its files; those taken out of the store since are not counted.

        Raises:
            ApiError: no such store or batch.
        """
        self.check(store_id)
        body = self.store.get(BATCH, batch_id, parent=store_id)
        if body is None:
            raise no_such("VectorStoreFileBatch", batch_id, param="batch_id")
        counts = _counts(self._of_batch(store_id, batch_id))
        status = "in_progress" if counts["in_progress"] else "completed"
        if counts["total"] and counts["failed"] == counts["total"]:
            status = "failed"
        shown = {key: value for key, value in body.items() if key != "cancelled"}
        return {**shown, "status": "cancelled" if body["cancelled"] else status, "file_counts": counts}

    def _of_batch(self, store_id: str, batch_id: str) -> list[Body]:
        return [row for row in self.store.all(FILE, parent=store_id) if row["batch"] == batch_id]

    def cancel(self, store_id: str, batch_id: str) -> Body:
        """Give up what of a batch is not read in yet; one that has ended stays as it is.

        Raises:
            ApiError: no such store or batch.
        """
        self.store.owned(BATCH, batch_id, parent=store_id)
        found = self.batch(store_id, batch_id)
        if found["status"] != "in_progress":
            return found
        self.store.change(BATCH, batch_id, lambda _: {"cancelled": True}, parent=store_id)
        for row in self._of_batch(store_id, batch_id):
            self.store.change(FILE, row["id"], lambda now: _given_up(now, batch_id), parent=store_id)
        return self.batch(store_id, batch_id)

    # ---------------------------------------------------------------- after a kill

    def tidy(self) -> None:
        """Remove what belongs to no store or no file any more, and read anew what was not read to its end, or with another
        embedder; for a start, before anybody else works here."""
        known = {body["id"] for body in self.store.all(STORE)}
        rows = self.store.all(FILE)
        gone = {row["vector_store_id"] for kind in (FILE, BATCH) for row in self.store.all(kind)} - known
        for id in gone:
            self._forget(id)
        data = {(row["vector_store_id"], row["data"]) for row in rows}
        for folder in self.folder.iterdir() if self.folder.exists() else ():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif (folder.name, path.name) not in data:
                    path.unlink()
        for row in rows:
            if row["vector_store_id"] in known and row["status"] in ("in_progress", "completed"):
                self._again(row)

    def _again(self, row: Body) -> None:
        place = row["vector_store_id"], row["id"]
        if row["status"] == "completed":
            if self._current(row["embedder"]) and self.path(place[0], row["data"]).exists():
                return
            self.store.change(FILE, place[1], lambda _: {"status": "in_progress"}, parent=place[0])
        self.waiting.put(place)

    def _current(self, embedder: str) -> bool:
        """Whether vectors are of the embedder that questions go through; if that one is missing, searches say so."""
        try:
            return embedder == self.embedder_identity
        except GroundtuneError:
            return True


def _file(id: str, chunking: Chunking | None) -> CreateFile:
    return CreateFile(file_id=id, chunking_strategy=chunking)


def _new_row(store_id: str, file: CreateFile, batch_id: str | None, now: int) -> Row:
    body = {
        "id": file.file_id, "object": "vector_store.file", "created_at": now, "vector_store_id": store_id,
        "status": "in_progress", "last_error": None, "usage_bytes": 0, "attributes": file.attributes or {},
        "chunking_strategy": resolved(file.chunking_strategy), "batch": batch_id, "embedder": "",
        "data": f"{letters(16)}.parquet",
    }  # fmt: skip
    return Row(id=file.file_id, kind=FILE, parent=store_id, state="in_progress", created_at=now, body=body)


def _given_up(body: Body, batch_id: str) -> dict[str, Any] | None:
    return {"status": "cancelled"} if body["status"] == "in_progress" and body["batch"] == batch_id else None


def _counts(rows: Sequence[Body]) -> dict[str, int]:
    counts = {state: sum(row["status"] == state for row in rows) for state in STATES}
    return {**counts, "total": len(rows)}


def _ends(body: Body) -> int | None:
    policy = body["expires_after"]
    return int(body["last_active_at"] + policy["days"] * _DAY_SECONDS) if policy else None


def shown_file(body: Body) -> Body:
    """A file's row as clients see it."""
    return {key: value for key, value in body.items() if key not in _OURS}
