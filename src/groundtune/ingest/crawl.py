"""A web address to files: crawls a site into a folder of the workspace, where the ordinary loaders read it.

The fetching is done by a process of its own (``web.spider``). This part starts it, shows its progress, ends it, turns
its failures into one error, and reads what came. Leaves out loading and cleaning the files.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from groundtune.config import CrawlConfig
from groundtune.errors import InputError, WorkspaceError
from groundtune.ingest.web.addresses import Address, BadAddress, parse
from groundtune.ingest.web.entries import KEPT, LEFT, MOVED, WAITING, Entry
from groundtune.ingest.web.frontier import FILE, Frontier
from groundtune.ingest.web.guard import literal, refusal

#: (pages fetched, pages known so far within the limits, address)
Progress = Callable[[int, int, str], None]
#: what the interpreter is told to run
CHILD = ("-m", "groundtune.ingest.web.spider")
_ALLOW = "--allow-private, or allow_private: true below crawl: in groundtune.yaml, if this address is meant"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page or file that came.

    Attributes:
        url: its address, the name a user sees.
        path: its file; the suffix is that of its content type.
        title: of the page's ``<title>``, or the file's name; may be empty.
        fetched_at: when it was last asked for, in ISO 8601, UTC.
        changed: not the same as at the crawl before; True the first time.
        media_type: as the server has it, such as ``text/html``.
        depth: links that lead to it from the first address.
        size_bytes: the file's size.
        sha256: hash of the bytes that the server sent.
    """

    url: str
    path: Path
    title: str
    fetched_at: str
    changed: bool
    media_type: str = ""
    depth: int = 0
    size_bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Left:
    """An address that was found and not taken, and why. A page can be in both lists: an old copy of it stays."""

    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class CrawlResult:
    """What a crawl brought.

    Attributes:
        fetched: pages and files, by address.
        left: what was found and not taken, by address.
        unvisited: addresses within the depth that were not fetched because of the limit of pages, or since it stopped.
        stopped: why it ended early; the same command goes on where it ended. Empty where it did not.
        resumed: whether it went on with a crawl that was interrupted.
        requests: requests sent, robots.txt, sitemaps and redirects included.
        delay_seconds: the pause between two requests that was kept.
        seconds: wall-clock seconds.
    """

    fetched: tuple[Fetched, ...]
    left: tuple[Left, ...]
    unvisited: int = 0
    stopped: str = ""
    resumed: bool = False
    requests: int = 0
    delay_seconds: float = 0.0
    seconds: float = 0.0


def crawl(address: str, folder: Path, settings: CrawlConfig, *, progress: Progress | None = None) -> CrawlResult:
    """Fetch an address and what it links to, as deep as the settings say.

    A crawl that was interrupted goes on; one that ended is done again, asking for each page only if it has changed.

    Args:
        address: an http or https address.
        folder: where state and pages of this and other addresses are kept, from one call to the next.
        settings: depth, limits, pauses.
        progress: hears how far it is.

    Raises:
        InputError: no such address, it is not to be fetched, or nothing came from it.
        WorkspaceError: the folder cannot be written, or another crawl is writing into it.
    """
    start = _start(address, settings)
    state = _state_folder(folder, start)
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkspaceError(
            f"{state}: cannot be made: {error.strerror}", expected="a folder you may write to"
        ) from None
    job = {"address": start.url, "folder": str(state), "settings": settings.model_dump()}
    end: dict[str, Any] = {}
    with closing(_lines_of_child(job, address)) as lines:  # ends the child whatever happens here
        for line in lines:
            if "name" in line and progress:
                progress(line["done"], line["total"], line["name"])
            elif "error" in line:
                raise _state_error(state, line)
            end = line.get("end", end)
    if not end["came"]:
        raise _nothing_came(address, end["start_reason"])
    return _result(state, settings, end)


def fetched_before(address: str, folder: Path) -> tuple[Fetched, ...]:
    """What an earlier :func:`crawl` of the same address into the same folder brought; nothing is sent.

    Raises:
        InputError: no such address.
    """
    state = _state_folder(folder, _start(address, CrawlConfig(allow_private=True)))
    return _held(state) if (state / FILE).exists() else ()


def delete_fetched(folder: Path, url: str) -> None:
    """Delete the copies of a page or file, whichever crawl into this folder brought them."""
    for state in folder.glob(f"*/{FILE}"):
        for page in _held(state.parent):
            if page.url == url:
                page.path.unlink(missing_ok=True)


def _held(state: Path) -> tuple[Fetched, ...]:
    with closing(Frontier(state)) as frontier:
        pages = [_fetched(frontier, entry) for entry in frontier.entries(KEPT)]
    return tuple(page for page in pages if page.path.is_file())


def _state_folder(folder: Path, start: Address) -> Path:
    return folder / hashlib.sha256(start.key.encode()).hexdigest()[:16]


def _start(address: str, settings: CrawlConfig) -> Address:
    try:
        start = parse(address)
    except BadAddress as error:
        raise InputError(
            f"{address!r} is no address that can be fetched: {error}", expected="http://... or https://..."
        ) from None
    if literal(start.host) and not settings.allow_private and (why := refusal(start.host)):
        raise _private(address, f"{start.host} is {why}")
    return start


def _private(address: str, why: str) -> InputError:
    return InputError(f"{address} is not fetched: {why}", expected="a public web address", next_step=_ALLOW)


def _nothing_came(address: str, reason: str) -> InputError:
    if " address" in reason and " is a" in reason:
        return _private(address, reason)
    next_step = "check the address in a browser"
    if "another host" in reason:
        next_step = f"name that address instead: {reason.rpartition(' ')[2]}"
    elif "robots" in reason or "noindex" in reason:
        next_step = "ask the site's owner for the files, and name those"
    elif "larger than" in reason:
        next_step = "raise page_megabytes below crawl: in groundtune.yaml"
    elif "took longer" in reason:
        next_step = "raise page_seconds below crawl: in groundtune.yaml, or try again later"
    elif "TLS" in reason:
        next_step = "for a certificate of your own authority, set SSL_CERT_FILE to its file"
    return InputError(f"nothing came from {address}: {reason or 'no page was taken'}", next_step=next_step)


def _state_error(state: Path, line: dict[str, Any]) -> WorkspaceError:
    if line["error"] == "busy":
        return WorkspaceError(f"another crawl is writing in {state}", next_step="wait until it ends")
    return WorkspaceError(
        f"{state}: the crawl's state cannot be used: {line['text']}",
        next_step="make room on the disk, or delete that folder to crawl anew",
    )


def _lines_of_child(job: dict[str, Any], address: str) -> Generator[dict[str, Any], None, None]:
    """What the child says, line by line. It ends with this process, with Ctrl-C, and when this iterator is closed.

    Raises:
        InputError: it ended without its last line; names what it said instead.
    """
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(
            [sys.executable, *CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
        )
        ended = False
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                child.stdin.write(json.dumps(job).encode() + b"\n")
                child.stdin.flush()
            except BrokenPipeError:
                pass  # its complaint says why
            for text in child.stdout:
                try:
                    line = json.loads(text)
                except ValueError:
                    continue  # cut off by a kill
                ended |= "end" in line or "error" in line
                yield line
            status = child.wait()
        finally:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                _close(pipe)
        if not ended:
            raise InputError(
                f"the crawl of {address} ended unexpectedly ({_last_words(complaints, status)})",
                next_step="run the same command again: it goes on where it ended",
            )


def _close(pipe: IO[bytes] | None) -> None:
    try:
        if pipe:
            pipe.close()
    except OSError:
        pass  # unsent bytes for a child that is gone


def _last_words(complaints: IO[bytes], status: int) -> str:
    complaints.seek(0, 2)
    complaints.seek(max(0, complaints.tell() - 4096))
    lines = complaints.read().decode("utf-8", errors="replace").strip().splitlines()
    how = f"killed by signal {-status}" if status < 0 else f"exit code {status}"
    return f"{how}: {lines[-1].strip()[:300]}" if lines else how


def _result(state: Path, settings: CrawlConfig, end: dict[str, Any]) -> CrawlResult:
    try:
        frontier = Frontier(state)
    except sqlite3.Error as error:
        raise _state_error(state, {"error": "state", "text": str(error)}) from None
    fetched = tuple(_fetched(frontier, entry) for entry in frontier.entries(KEPT))
    left = [Left(entry.url, entry.reason) for entry in frontier.entries(LEFT, settled=True) if entry.reason]
    left += [Left(entry.url, entry.reason) for entry in frontier.entries(KEPT) if entry.reason]
    circles = (entry for entry in frontier.entries(MOVED, settled=True) if frontier.end_of(entry) is None)
    left += [Left(entry.url, "its redirects go in a circle") for entry in circles]
    unvisited = frontier.count(WAITING, settings.depth)
    frontier.close()
    return CrawlResult(
        fetched,
        tuple(sorted(left, key=lambda item: item.url)),
        unvisited,
        end["stopped"],
        end["resumed"],
        end["requests"],
        end["delay_seconds"],
        end["seconds"],
    )


def _fetched(frontier: Frontier, entry: Entry) -> Fetched:
    stored = entry.stored
    return Fetched(
        entry.url, frontier.path(stored), stored.title, stored.fetched_at, entry.changed, stored.media_type, entry.depth,
        stored.size_bytes, stored.sha256,
    )  # fmt: skip
