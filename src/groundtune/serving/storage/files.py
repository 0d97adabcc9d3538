"""Files of the API: their bytes in a folder under ids of ours, what is known of them in the store.

Bytes are on disk, whole, before the object is there, and go after it: a kill leaves at most bytes that nobody knows, which
a later start removes. A client's file name is kept as text and never becomes a path.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from copy import copy
from pathlib import Path
from typing import Any, Literal, get_args

from groundtune.serving.errors import ApiError, bad_request, no_such
from groundtune.serving.ids import new_id
from groundtune.serving.storage.store import Body, Store

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
PURPOSES: tuple[str, ...] = get_args(Purpose)
#: bytes of one file (OpenAI's own limit)
LARGEST = 512 * 2**20
#: seconds that a file may be kept for, where it is to expire
SHORTEST, LONGEST = 3_600, 2_592_000
#: seconds after which bytes without an object are nobody's
_UNKNOWN_SECONDS = 3_600


class Files:
    """The files of a server.

    Args:
        store: holds the objects.
        folder: holds the bytes; made if it is not there.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder
        folder.mkdir(parents=True, exist_ok=True)

    def of(self, store: Store) -> Files:
        """The same as a view of the store sees it."""
        view = copy(self)
        view.store = store
        return view

    def tidy(self, coming: Collection[str] = ()) -> None:
        """Remove bytes that no object has known for an hour (another server may be taking them in), and files whose time is over.

        Args:
            coming: ids of files that another process may be writing now.
        """
        known = {*coming, *(f"{id}.part" for id in coming), *(body["id"] for body in self.store.all("file"))}
        for path in self.folder.iterdir():
            if path.name not in known and path.stat().st_mtime < time.time() - _UNKNOWN_SECONDS:
                path.unlink(missing_ok=True)
        for body in self.store.all("file"):
            if _expired(body):
                self.delete(body["id"])

    def keep(
        self,
        chunks: Iterable[bytes],
        filename: str,
        purpose: str,
        *,
        expires_after_seconds: int | None = None,
        largest: int = LARGEST,
    ) -> Body:
        """Write a file and make its object.

        Raises:
            ApiError: too large, or the disk is full: nothing is kept then.
        """
        id = new_id("file")
        size = self.write(id, chunks, largest=largest)
        body = file_body(size, filename, purpose, expires_after_seconds=expires_after_seconds)
        return self.store.add("file", body, id=id)

    def write(self, id: str, chunks: Iterable[bytes], *, largest: int = LARGEST) -> int:
        """Write the bytes of a file whose object is still to come, over what a kill may have left of it; their number.

        Raises:
            ApiError: too large, or the disk is full: nothing is kept then.
        """
        half, size = self.folder / f"{id}.part", 0
        try:
            with half.open("wb") as out:
                for chunk in chunks:
                    size += len(chunk)
                    if size > largest:
                        raise bad_request(f"File is too large: at most {largest} bytes are taken.", param="file")
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            half.replace(self.folder / id)
        except OSError as error:
            half.unlink(missing_ok=True)
            raise ApiError(507, f"The file could not be kept: {error.strerror}.", type="server_error") from None
        except ApiError:
            half.unlink(missing_ok=True)
            raise
        return size

    def get(self, id: str, *, param: str = "id") -> Body:
        """A file's object.

        Raises:
            ApiError: there is none, or its time is over.
        """
        body = self.store.get("file", id)
        if body is None or _expired(body):
            raise no_such("File", id, param=param)
        return body

    def path(self, id: str) -> Path:
        """Where a file's bytes are, of an id that :meth:`get` knows."""
        return self.folder / str(self.get(id)["id"])

    def delete(self, id: str) -> None:
        """Take a file out, bytes and all.

        Raises:
            ApiError: there is none.
        """
        if not self.store.remove("file", id):
            raise no_such("File", id)
        (self.folder / id).unlink(missing_ok=True)

    def copy(self, paths: Iterable[Path], filename: str, purpose: str, **how: Any) -> Body:
        """Keep the bytes of several paths, one behind the other, as one file."""
        return self.keep(_chunks(paths), filename, purpose, **how)


def file_body(size: int, filename: str, purpose: str, *, expires_after_seconds: int | None = None) -> Body:
    """A file's object, without its id."""
    now = int(time.time())
    body: Body = {
        "object": "file", "bytes": size, "created_at": now, "filename": filename, "purpose": purpose, "status": "processed",
    }  # fmt: skip
    if expires_after_seconds is not None:
        body["expires_at"] = now + expires_after_seconds
    return body


def _chunks(paths: Iterable[Path]) -> Iterable[bytes]:
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(2**20):
                yield chunk


def _expired(body: Body) -> bool:
    return bool(body.get("expires_at")) and int(body["expires_at"]) <= time.time()
