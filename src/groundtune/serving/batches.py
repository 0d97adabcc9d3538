"""Batches: many requests in a file, answered by and by into another (OpenAI's Batch API).

Each line's answer is written down before the next is asked for more, so that a server that dies goes on behind the last whole
line. Requests go through the server's own routes as their owner's, with that key's budget and rates. Output files have ids made
of the batch's: written twice they are the same file.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from groundtune.serving.callers.access import Caller
from groundtune.serving.callers.gate import caller_by_id
from groundtune.serving.errors import ApiError, is_full
from groundtune.serving.generating import inside
from groundtune.serving.state import Serving
from groundtune.serving.storage.files import file_body
from groundtune.serving.storage.store import Body, New
from groundtune.serving.strict_json import parse

BATCH = "batch"
ENDPOINTS = ("/v1/responses", "/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/moderations")
OPEN = ("validating", "in_progress", "finalizing", "cancelling")
#: requests of a batch, bytes of its file (OpenAI's own); seconds until it expires
MOST, LARGEST, LIFE_SECONDS = 50_000, 200 * 2**20, 86_400
#: requests of a batch that are under way at the same time; lines of faults that are told
_AT_ONCE, _TOLD = 8, 20
#: seconds between looks for work, and most that a refused request waits before it is tried again
_LOOK_SECONDS, _LONGEST_WAIT = 1.0, 30.0
log = logging.getLogger("groundtune.serving.batches")


class Batches:
    """Works the batches of a server off, one at a time, on its event loop.

    Args:
        app: whose routes answer.
    """

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.serving: Serving = app.state.serving
        self.store, self.folder = self.serving.store, self.serving.folder / "batches"
        self.wake, self.loop = asyncio.Event(), asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with what an earlier server left."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop where it is: another server goes on there."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(self.folder / "keeper.lock"))
        try:
            while True:
                self.wake.clear()
                if self._mine(lock):
                    await self._look()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), _LOOK_SECONDS)
        finally:
            lock.release()

    def _mine(self, lock: FileLock) -> bool:
        """Whether this server works them off: of several that share a folder one does."""
        try:
            if not lock.is_locked:
                lock.acquire(timeout=0)
        except (Timeout, OSError):
            return False
        return True

    async def _look(self) -> None:
        try:
            for body in await run_in_threadpool(self.store.all, BATCH, states=OPEN):
                try:
                    await self._work(body)
                except Exception as error:  # one batch must not keep the others from their turn
                    if isinstance(error, SQLAlchemyError) or is_full(error):
                        raise
                    log.error("batch %s: %s", body["id"], type(error).__name__)
                    await self._fail(body, [_fault("server_error", f"The batch failed: {type(error).__name__}.", None)])
        except (SQLAlchemyError, OSError) as error:  # a full disk, a locked database: the next look goes on there
            log.error("the batches could not be looked after: %s", type(error).__name__)

    # ---------------------------------------------------------------- one batch

    async def _work(self, body: Body) -> None:
        if body["status"] == "validating":
            body = await self._validated(body)
        if body["status"] not in OPEN:
            return
        if body["status"] == "in_progress":
            await self._answer_all(body)
        await run_in_threadpool(self._finish, body["id"])

    async def _validated(self, body: Body) -> Body:
        try:
            path = self.serving.files.path(body["input_file_id"])
            faults, total = await run_in_threadpool(check_file, path, body["endpoint"])
        except ApiError as error:
            faults, total = [_fault("invalid_input_file", error.message, None)], 0
        if faults:
            return await self._fail(body, faults)
        counts = {**body["request_counts"], "total": total}
        now = int(time.time())
        found = await run_in_threadpool(
            self.store.change,
            BATCH,
            body["id"],
            lambda own: {"status": "in_progress", "in_progress_at": now, "request_counts": counts} if own["status"] == "validating" else None,
        )  # fmt: skip
        return found or body

    async def _fail(self, body: Body, faults: list[dict[str, Any]]) -> Body:
        changes = {"status": "failed", "failed_at": int(time.time()), "errors": {"object": "list", "data": faults}}
        return await run_in_threadpool(self.store.change, BATCH, body["id"], lambda _: changes) or body

    async def _answer_all(self, body: Body) -> None:
        """Answer every request that has no line yet, until all have one, or the batch is cancelled or expires."""
        caller = await run_in_threadpool(caller_by_id, self.store, body["caller"])
        folder = self.folder / body["id"]
        folder.mkdir(parents=True, exist_ok=True)
        done = await run_in_threadpool(_answered, folder)
        counts = {"completed": sum(done.values()), "failed": len(done) - sum(done.values())}
        lines = _requests(self.serving.files.path(body["input_file_id"]))
        left = (request for request in lines if request["custom_id"] not in done)
        lock = asyncio.Lock()
        # a kill can come between a line and its note
        stopped = await run_in_threadpool(self._note, body["id"], dict(counts))

        async def one() -> None:
            nonlocal stopped
            for request in left:
                if stopped:
                    return
                written = await self._answer(request, caller, body)
                async with lock:
                    await run_in_threadpool(_write, folder, written)
                    counts["completed" if _is_good(written) else "failed"] += 1
                    stopped = await run_in_threadpool(self._note, body["id"], dict(counts))

        async with inside.client(self.app, caller) as self._client:
            workers = [asyncio.create_task(one()) for _ in range(_AT_ONCE)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _answer(self, request: Mapping[str, Any], caller: Caller | None, body: Body) -> dict[str, Any]:
        line: dict[str, Any] = {
            "id": _derived("batch_req_", body["id"], request["custom_id"]),
            "custom_id": request["custom_id"],
        }
        if caller is None:
            return {**line, "response": None, "error": {"code": "invalid_api_key", "message": "The key that made this batch is no longer valid."}}  # fmt: skip
        while True:
            answer = await self._client.post(body["endpoint"], json=request["body"])
            again = answer.status_code == 429 and answer.headers.get("x-should-retry") != "false"
            if not again or time.time() >= body["expires_at"]:
                break
            await asyncio.sleep(min(float(answer.headers.get("retry-after", "1")), _LONGEST_WAIT))
        response = {
            "status_code": answer.status_code,
            "request_id": answer.headers.get("x-request-id", ""),
            "body": answer.json(),
        }
        return {**line, "response": response, "error": None}

    def _note(self, id: str, counts: dict[str, int]) -> bool:
        """Write down how far it is; whether it is to stop."""
        found = self.store.change(BATCH, id, lambda own: {"request_counts": {**own["request_counts"], **counts}})
        return found is None or found["status"] != "in_progress" or time.time() >= found["expires_at"]

    def _finish(self, id: str) -> None:
        """Turn the lines into files, and the batch into what it has become; the same however often it is begun."""
        body = self.store.get(BATCH, id)
        if body is None:
            return
        now = int(time.time())
        counts = body["request_counts"]
        whole = counts["completed"] + counts["failed"] >= counts["total"]
        if body["status"] == "in_progress" and whole:
            body = self.store.change(BATCH, id, lambda _: {"status": "finalizing", "finalizing_at": now}) or body
        ending = {"finalizing": "completed", "cancelling": "cancelled"}.get(body["status"], "expired")
        if ending == "expired" and now < body["expires_at"]:
            return
        folder, new, changes = self.folder / id, list[New](), dict[str, Any]()
        for name, field in (("output", "output_file_id"), ("errors", "error_file_id")):
            path = folder / f"{name}.jsonl"
            if path.exists() and path.stat().st_size:
                file_id = _derived("file-", id, name)
                size = self.serving.files.write(file_id, _whole_lines(path), largest=LARGEST * 64)
                seconds = body["output_expires_after"]
                made = file_body(size, f"{id}_{name}.jsonl", "batch_output", expires_after_seconds=seconds)
                new.append(New("file", file_id, made))
                changes[field] = file_id
        self.store.change(BATCH, id, lambda _: {**changes, "status": ending, f"{ending}_at": now}, also=new)
        for path in folder.glob("*.jsonl"):
            path.unlink()
        if folder.is_dir():
            folder.rmdir()


# ---------------------------------------------------------------- files


def check_file(path: Path, endpoint: str) -> tuple[list[dict[str, Any]], int]:
    """What is wrong with an input file (code, message, line), and how many requests it has."""
    faults: list[dict[str, Any]] = []
    seen: set[str] = set()
    number = 0
    if path.stat().st_size > LARGEST:
        return [_fault("file_too_large", f"The input file has over {LARGEST} bytes.", None)], 0
    for number, line in enumerate(_lines(path), 1):
        code, message = _line_fault(line, endpoint, seen)
        if code:
            faults.append(_fault(code, message, number))
        if len(faults) >= _TOLD:
            break
    if not number:
        faults.append(_fault("empty_file", "The input file is empty. Please ensure that the batch contains at least one request.", None))  # fmt: skip
    if number > MOST:
        faults.append(_fault("too_many_tasks", f"The batch contains too many tasks: {number}, at most {MOST} are taken.", None))  # fmt: skip
    return faults, number


def _line_fault(line: bytes, endpoint: str, seen: set[str]) -> tuple[str, str]:
    try:
        row: Any = parse(line)
    except ApiError:
        return "invalid_json_line", "This line is not parseable as valid JSON."
    if not isinstance(row, dict) or not isinstance(row.get("body"), dict):
        return "invalid_request", "This line has no object 'body'."
    custom_id = row.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        return "missing_required_parameter", "Missing required parameter: 'custom_id'."
    if custom_id in seen:
        return "duplicate_custom_id", f"The custom_id {custom_id!r} stands in an earlier line, too."
    seen.add(custom_id)
    if row.get("method") != "POST":
        return "invalid_method", f"Invalid method: {row.get('method')!r}, expected 'POST'."
    if row.get("url") != endpoint:
        return "mismatched_url", f"The URL {row.get('url')!r} is not the batch's endpoint {endpoint!r}."
    if row["body"].get("stream"):
        return "invalid_request", "Requests of a batch cannot be streamed."
    return "", ""


def _fault(code: str, message: str, line: int | None) -> dict[str, Any]:
    return {"code": code, "message": message, "line": line, "param": None}


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield line


def _requests(path: Path) -> Iterator[dict[str, Any]]:
    for line in _lines(path):
        row: dict[str, Any] = json.loads(line)
        yield row


def _is_good(line: Mapping[str, Any]) -> bool:
    return bool(line["response"]) and line["response"]["status_code"] == 200


def _write(folder: Path, line: Mapping[str, Any]) -> None:
    """Write an answer down, on disk."""
    name = "output" if _is_good(line) else "errors"
    with (folder / f"{name}.jsonl").open("ab") as out:
        out.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())


def _answered(folder: Path) -> dict[str, bool]:
    """Requests that have their line, and whether it is an answer; half a line that a kill left is cut off."""
    done: dict[str, bool] = {}
    for name in ("output", "errors"):
        path = folder / f"{name}.jsonl"
        if path.exists():
            whole = path.read_bytes()
            end = whole.rfind(b"\n") + 1
            if end < len(whole):
                with path.open("r+b") as file:
                    file.truncate(end)
            done |= {json.loads(line)["custom_id"]: name == "output" for line in whole[:end].splitlines()}
    return done


def _whole_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line


def _derived(prefix: str, batch: str, what: str) -> str:
    return prefix + hashlib.sha256(f"{batch} {what}".encode()).hexdigest()[:24]


def coming_batch_files(serving: Serving) -> set[str]:
    """Ids of files that batches may be writing."""
    return {
        _derived("file-", b["id"], name) for b in serving.store.all(BATCH, states=OPEN) for name in ("output", "errors")
    }
