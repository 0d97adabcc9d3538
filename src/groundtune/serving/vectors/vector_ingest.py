"""Files into vector stores, in the background: read in a limited child process, cut into chunks, embedded, written.

A file's chunks are written below a temporary name, renamed when whole, and only then does its row say ``completed``. What
was under way when the server was stopped or killed is begun again at the next start; nothing of it was ever searched.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from queue import Empty
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError

from groundtune import registry
from groundtune.errors import GroundtuneError, InputError
from groundtune.ingest.redact_names import read_names
from groundtune.ingest.section_files import sections_of
from groundtune.ingest.sources import loaders_by_extension
from groundtune.ingest.worker import Job, Readers
from groundtune.nn.encoders import Vectors
from groundtune.records import Section
from groundtune.retrieval.chunkers.sentence import chunk_text
from groundtune.serving.errors import ApiError
from groundtune.serving.storage.store import Body
from groundtune.serving.vectors import encoding
from groundtune.serving.vectors.vector_index import write_shard
from groundtune.serving.vectors.vector_stores import FILE, VectorStores

#: program text, which OpenAI takes in, too
_CODE = (".c", ".cpp", ".cs", ".css", ".go", ".java", ".js", ".php", ".py", ".rb", ".sh", ".ts")
#: tokens of a passage, and of the headings it is read behind, at most
PASSAGE_TOKENS, CONTEXT_TOKENS = 128, 48
#: files at once: one is read while another is embedded
_THREADS = 2
#: seconds without work after which the processes that read are ended
_IDLE_SECONDS = 20.0
#: seconds until a file is tried again whose row could not be read or written
_LATER_SECONDS = 2.0
log = logging.getLogger("groundtune.serving")


class _Stopped(Exception):
    """The server ends."""


class _Unsupported(InputError):
    """No loader for a file."""


class Ingest:
    """The background work of a server's vector stores.

    Args:
        vectors: the stores; their queue ``waiting`` is worked off.
    """

    def __init__(self, vectors: VectorStores) -> None:
        self.vectors = vectors
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._readers: Readers | None = None
        self._lock = threading.Lock()
        self._under_way: set[str] = set()
        self._alone = FileLock(str(vectors.folder.parent / "ingest.lock"), thread_local=False)

    def start(self) -> None:
        """Tidy up, take up what was left, begin to work; what another server left is its own while it runs."""
        with suppress(Timeout):
            self._alone.acquire(timeout=0)
            self.vectors.tidy()
        self._threads = [threading.Thread(target=self._run, name=f"ingest-{n}", daemon=True) for n in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the work where it is; the next start takes it up."""
        self._stopping.set()
        self._close_readers(even_busy=True)
        for _ in self._threads:
            self.vectors.waiting.put(None)
        for thread in self._threads:
            thread.join(10)
        self._alone.release()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                place = self.vectors.waiting.get(timeout=_IDLE_SECONDS)
            except Empty:
                self._close_readers()
                continue
            if place is not None and not self._stopping.is_set():
                try:
                    self._one(*place)
                except Exception:  # a database that does not answer: it may later
                    log.exception("vector store %s, file %s: put off", *place)
                    self._stopping.wait(_LATER_SECONDS)
                    self.vectors.waiting.put(place)

    def _close_readers(self, *, even_busy: bool = False) -> None:
        with self._lock:
            if self._readers is not None and (even_busy or not self._under_way):
                self._readers.close()
                self._readers = None

    def _open_readers(self) -> Readers:
        with self._lock:
            if self._stopping.is_set():
                raise _Stopped
            self._readers = self._readers or Readers(self.vectors.setup.config.ingest)
            return self._readers

    # ---------------------------------------------------------------- one file

    def _one(self, store_id: str, file_id: str) -> None:
        body = self.vectors.store.get(FILE, file_id, parent=store_id)
        if body is None or body["status"] != "in_progress":
            return
        with self._lock:
            if body["data"] in self._under_way:  # it waited twice: put in again before it was read
                return
            self._under_way.add(body["data"])
        try:
            self._try(body)
        finally:
            with self._lock:
                self._under_way.discard(body["data"])

    def _try(self, body: Body) -> None:
        """Ingest a file and write down how it went; one fault never stops the others."""
        store_id, file_id = body["vector_store_id"], body["id"]
        target = self.vectors.path(store_id, body["data"])
        work = target.with_suffix(".part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
            work.mkdir()
            self._ingest(body, work, target)
            size = target.stat().st_size
            changes = {"status": "completed", "usage_bytes": size, "embedder": self.vectors.embedder_identity}
            self._settle(body, {**changes, "last_error": None}, target)
        except _Stopped:
            pass
        except _Unsupported as error:
            self._failed(body, "unsupported_file", error.problem, target)
        except InputError as error:
            if not self._stopping.is_set():  # then it is its reader that was ended
                self._failed(body, "invalid_file", error.problem, target)
        except ApiError:
            self._failed(body, "invalid_file", f"File {file_id} was deleted.", target)
        except SQLAlchemyError:  # it may answer later
            raise
        except Exception as error:  # of a disk, of an encoder: one file is not read in, the others are
            if not self._stopping.is_set() and self._still_wanted(body):
                log.exception("vector store %s, file %s", store_id, file_id)
                reason = error.problem if isinstance(error, GroundtuneError) else type(error).__name__
                self._failed(body, "server_error", f"The server could not read the file in: {reason}.", target)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _failed(self, body: Body, code: str, message: str, target: Path) -> None:
        error = {"code": code, "message": " ".join(message.split())[:1000]}
        self._settle(body, {"status": "failed", "usage_bytes": 0, "last_error": error}, target)

    def _settle(self, body: Body, changes: dict[str, Any], target: Path) -> None:
        """Write down how it ended, unless the file was cancelled, taken out or put in anew meanwhile."""

        def change(now: Body) -> dict[str, Any] | None:
            return changes if now["status"] == "in_progress" and now["data"] == body["data"] else None

        after = self.vectors.store.change(FILE, body["id"], change, parent=body["vector_store_id"])
        if after is None or after["data"] != body["data"] or after["status"] != "completed":
            target.unlink(missing_ok=True)

    def _ingest(self, body: Body, work: Path, target: Path) -> None:
        """Read, cut, embed and write a file.

        Raises:
            InputError: it cannot be read. ApiError: it is gone. _Stopped: the server ends.
        """
        file = self.vectors.files.get(body["id"])
        sections = self._sections(file, work)
        half = work / "chunks.parquet"
        write_shard(half, self._embedded(body, file["filename"], sections))
        half.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too, is on the disk before the row says so
        finally:
            os.close(folder)

    def _sections(self, file: Body, work: Path) -> Iterator[Section]:
        """The sections of a file, read in a process of its own.

        Raises:
            _Unsupported: nothing reads such files. InputError: it cannot be read.
        """
        extension = Path(file["filename"]).suffix.lower()
        loader = "text" if extension in _CODE else loaders_by_extension().get(extension)
        # a query would be run with this server's rights
        if loader is None or getattr(registry.get("loaders", loader), "VOLATILE", False):
            raise _Unsupported(f"Files of the kind '{extension or file['filename']}' are not supported.")
        copy, target = work / f"document{extension}", work / "sections.jsonl"
        source = self.vectors.files.path(file["id"])
        if not source.exists():
            raise OSError(f"the bytes of {file['id']} are gone from the server's disk")
        try:
            os.link(source, copy)
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(source, copy)
        head = {"id": file["id"], "path": file["filename"], "sha256": "", "media_type": loader, "title": "",
                "size_bytes": file["bytes"]}  # fmt: skip
        config = self.vectors.setup.config.ingest
        names = read_names(self.vectors.setup.workspace.root / config.names) if config.names else ()
        job = Job(str(copy), loader, str(target), head, config.model_dump(mode="json"), names)
        try:
            self._open_readers().read(job)
        except InputError as error:
            raise InputError(error.problem.replace(str(copy), file["filename"])) from None
        return sections_of(target)

    def _embedded(self, body: Body, filename: str, sections: Iterator[Section]) -> Iterator[tuple[str, Vectors]]:
        """The chunks of a file with the vectors of their passages."""
        sizes = body["chunking_strategy"]["static"]
        cut = chunks_of(
            sections, self.vectors, sizes["max_chunk_size_tokens"], sizes["chunk_overlap_tokens"], Path(filename).stem
        )
        held: list[tuple[str, list[str]]] = []
        for chunk in cut:
            held.append(chunk)
            if sum(len(passages) for _, passages in held) >= 2 * encoding.SLICE:
                yield from self._vectors(held, body)
                held = []
        yield from self._vectors(held, body)

    def _vectors(self, held: list[tuple[str, list[str]]], body: Body) -> Iterator[tuple[str, Vectors]]:
        if self._stopping.is_set() or not self._still_wanted(body):
            raise _Stopped
        vectors = encoding.embed(self.vectors.embedder, [p for _, passages in held for p in passages])
        start = 0
        for text, passages in held:
            yield text, vectors[start : start + len(passages)]
            start += len(passages)

    def _still_wanted(self, body: Body) -> bool:
        now = self.vectors.store.get(FILE, body["id"], parent=body["vector_store_id"])
        return now is not None and now["status"] == "in_progress" and now["data"] == body["data"]


def chunks_of(
    sections: Iterator[Section], vectors: VectorStores, chunk_tokens: int, overlap_tokens: int, name: str
) -> Iterator[tuple[str, list[str]]]:
    """Chunks of at most so many tokens, each with the passages that are embedded in its place.

    A chunk begins with its headings, where they leave it half of its room. A passage is at most ``PASSAGE_TOKENS`` long,
    which an encoder reads to its end, and is read behind the file's name and its headings.
    """
    count = lru_cache(maxsize=50_000)(vectors.embedder.count_tokens)
    for section in sections:
        heading = section.heading if section.heading and count(section.heading) <= chunk_tokens // 2 else ""
        room = chunk_tokens - (count(heading) if heading else 0)
        context = " > ".join(dict.fromkeys(part for part in (name, *section.heading.split(" > ")) if part))
        while " > " in context and count(context) > CONTEXT_TOKENS:
            context = context.partition(" > ")[2]
        context = f"{context}: " if count(context) <= CONTEXT_TOKENS else ""
        for text in chunk_text(section.text, count=count, chunk_tokens=room, overlap_tokens=overlap_tokens):
            passages = chunk_text(text, count=count, chunk_tokens=PASSAGE_TOKENS, overlap_tokens=0)
            yield f"{heading}\n{text}" if heading else text, [context + passage for passage in passages]
