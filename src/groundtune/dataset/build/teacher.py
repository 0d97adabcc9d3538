"""Questions and answers that a teacher writes: any System is asked for pairs about a passage, and each is checked.

The teacher must quote the words that support an answer; a pair whose quote is not in the passage, or whose answer has a
word that is not in the quote, is rejected and listed. What the teacher wrote is appended to a journal, one finished
chunk a line, so that a killed run goes on where it was and pays for nothing twice. Prompting for pairs with quotes
follows the self-instruct line of work (Wang et al., ACL 2023) and departs from it by checking every answer against its
source. Leaves out which model teaches: it is passed in.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from groundtune.dataset.build.teacher_prompts import TeacherChunk, chunk_key, prompt_of, tokens_of
from groundtune.dataset.build.teacher_replies import Pair, Reject, check_reply
from groundtune.dataset.build.templates import Fact, Place, whole_sentences
from groundtune.errors import GroundtuneError, InputError
from groundtune.records import Completion, Generation, Message, Usage
from groundtune.system import System

#: what a pair with its quote is reckoned at, in tokens, before anything was measured
TOKENS_A_PAIR = 90
#: most tokens of a reply, where the teacher names no other limit (an attribute ``max_tokens``)
MAX_REPLY_TOKENS = 1200
#: what a chat template adds to a message at most, in tokens
_TEMPLATE_TOKENS = 16
#: chunks that may fail one after the other before the run stops
MAX_FAILURES_IN_A_ROW = 5


class Generates(Protocol):
    """What writes text for messages: any backend."""

    name: str

    def generate(self, messages: Any, *, max_tokens: int = 32) -> Generation:
        """One text."""
        ...


class BackendTeacher:
    """A bare backend as a System: the messages go to the model as they are.

    Args:
        backend: what generates.
        max_tokens: most tokens of a reply.
    """

    def __init__(self, backend: Generates, *, max_tokens: int = MAX_REPLY_TOKENS) -> None:
        self.name, self.description = backend.name, f"{backend.name}, asked as a teacher"
        self._backend, self.max_tokens = backend, max_tokens

    def answer(self, messages: Sequence[Message]) -> Completion:
        """What the model writes."""
        written = self._backend.generate(messages, max_tokens=self.max_tokens)
        return Completion(written.text, logprobs=written.logprobs, usage=written.usage)

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """What the model writes to each."""
        return [self.answer(c) for c in conversations]


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars for a million tokens read and a million written."""

    prompt: float
    completion: float

    def of(self, usage: Usage) -> float:
        """What this many tokens cost, in US dollars."""
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion) / 1e6


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run is reckoned to take, before it starts; ``usd`` is None where no price is known."""

    chunks: int
    done: int
    usage: Usage
    usd: float | None


@dataclass(slots=True)
class Taught:
    """What came of a run.

    Attributes:
        pairs: supported questions with their chunks.
        rejects: pairs and replies that were not taken, each with its reason.
        usage: tokens of this run, reckoned from the texts where the teacher does not count them; chunks finished
            earlier cost nothing again.
        usd: what this run cost; None where no price is known.
        failed: chunks without a reply; the same command asks for them again.
        left: chunks not asked for because ``max_usd`` was reached.
    """

    pairs: list[tuple[TeacherChunk, Pair]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    usd: float | None = None
    failed: int = 0
    left: int = 0


def read_journal(path: Path) -> dict[str, dict[str, Any]]:
    """Finished chunks by their key; a line cut short by a kill is passed over."""
    found: dict[str, dict[str, Any]] = {}
    if not path.exists():
        return found
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
                found[entry["key"]] = {"reply": str(entry["reply"])}
            except (ValueError, KeyError, TypeError):
                continue
    return found


def estimate(
    chunks: Sequence[TeacherChunk], journal: Path, *, teacher: str, questions: int, prices: Prices | None
) -> Estimate:
    """Tokens and dollars of the chunks that are not finished yet: prompts counted, replies reckoned per pair."""
    done = read_journal(journal)
    open_ = [c for c in chunks if chunk_key(c, teacher, questions) not in done]
    read = sum(tokens_of(m.content) + 4 for c in open_ for m in prompt_of(c, questions))
    usage = Usage(read, len(open_) * questions * TOKENS_A_PAIR)
    return Estimate(len(chunks), len(chunks) - len(open_), usage, prices.of(usage) if prices else None)


def teach(
    system: System,
    chunks: Sequence[TeacherChunk],
    journal: Path,
    *,
    questions: int = 3,
    concurrency: int = 4,
    attempts: int = 3,
    prices: Prices | None = None,
    max_usd: float | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Taught:
    """Ask a teacher for questions about every chunk, and check what it writes.

    Args:
        system: the teacher; asked from several threads.
        journal: append-only file of finished chunks; what is in it is not asked again.
        questions: pairs wanted of a chunk.
        concurrency: requests at a time.
        attempts: tries for one chunk when an error says that it is passing (an attribute ``transient``).
        prices: to reckon the cost and to keep to ``max_usd``.
        max_usd: no request is begun that could take the cost of this run over it, were every reply as long as it may be.
        progress: called with chunks done, chunks in all, and a note.
        sleep: waits between attempts.

    Raises:
        InputError: ``max_usd`` without prices. GroundtuneError: the teacher's own lasting fault, such as a refused key;
            what was finished is in the journal, replies to requests that were under way included.
    """
    if max_usd is not None and prices is None:
        raise InputError(
            f"a limit of {max_usd:g} dollars, and no price known for {system.name!r}",
            expected="a price for a million tokens",
            next_step="give it with --usd-per-million",
        )
    run = _Run(system, journal, questions, attempts, prices, max_usd, sleep)
    replies = run.ask_all(chunks, concurrency, progress)
    taught = Taught(usage=run.usage, usd=prices.of(run.usage) if prices else None, failed=run.failed, left=run.left)
    for chunk, reply in replies:
        pairs, rejects = check_reply(reply, chunk.text, place=f"{chunk.document}, section {chunk.section}")
        taught.pairs += [(chunk, p) for p in pairs]
        taught.rejects += rejects
    return taught


def taught_facts(taught: Taught) -> list[Fact]:
    """The supported pairs as facts, to be freed of clashes and split with those of the templates."""
    facts = []
    for chunk, pair in taught.pairs:
        at = max(0, chunk.text.find(pair.passage))
        before = chunk.text[:at]
        row = chunk.row + before.count("\n") if chunk.row is not None else None
        section = chunk.section + (before.count("\n") if row is not None else 0)
        count = 1 if row is not None else len(list(whole_sentences(before))) + 1
        place = Place(chunk.document, section, count, chunk.page, row)
        kind = "table" if row is not None or pair.passage.startswith("|") else "taught"
        facts.append(Fact(pair.questions, pair.answer, pair.passage, kind, f"taught {pair.questions[0]}", place))
    return facts


class _Run:
    """One run over the chunks: what is being asked, what it has cost, what failed."""

    def __init__(
        self,
        system: System,
        journal: Path,
        questions: int,
        attempts: int,
        prices: Prices | None,
        max_usd: float | None,
        sleep: Callable[[float], None],
    ) -> None:
        self._system, self._journal, self._questions = system, journal, questions
        self._attempts, self._prices, self._max_usd, self._sleep = attempts, prices, max_usd, sleep
        self.usage, self.failed, self.left = Usage(), 0, 0
        self._failures_in_a_row = 0
        self._stopping = threading.Event()

    def ask_all(
        self,
        chunks: Sequence[TeacherChunk],
        concurrency: int,
        progress: Callable[[int, int, str], None] | None,
    ) -> list[tuple[TeacherChunk, str]]:
        """Replies in the order of the chunks; chunks that failed or were not asked are left out."""
        done = read_journal(self._journal)
        keys = [chunk_key(c, self._system.name, self._questions) for c in chunks]
        first_of = {key: index for index, key in reversed(list(enumerate(keys)))}
        waiting = deque(sorted(index for key, index in first_of.items() if key not in done))
        finished = len(chunks) - len(waiting)
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        running: dict[Future[Completion], int] = {}
        # the journal is closed after the pool: every reply is in it, whatever ends the run
        with _Appender(self._journal) as append, ThreadPoolExecutor(concurrency) as pool:
            try:
                while waiting or running:
                    while waiting and len(running) < concurrency and self._affordable(chunks, waiting[0], running):
                        index = waiting.popleft()
                        running[pool.submit(self._journaled, chunks[index], keys[index], append)] = index
                    if not running:
                        self.left = len(waiting)
                        break
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        index = running.pop(future)
                        completion = self._taken(future, chunks[index])
                        if completion is not None:
                            done[keys[index]] = {"reply": completion.text}
                        finished += 1
                        if progress:
                            progress(finished, len(chunks), f"{self.failed} failed" if self.failed else "")
            except BaseException:
                self._stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [(c, done[k]["reply"]) for c, k in zip(chunks, keys, strict=True) if k in done]

    def _affordable(self, chunks: Sequence[TeacherChunk], index: int, running: Mapping[Any, int]) -> bool:
        if self._max_usd is None or self._prices is None:
            return True
        ahead = sum(self._reckoned(chunks[i]) for i in (*running.values(), index))
        return self._prices.of(self.usage) + ahead <= self._max_usd

    def _reckoned(self, chunk: TeacherChunk) -> float:
        """What a request costs at most, in US dollars: a token is one byte at least."""
        assert self._prices is not None
        messages = prompt_of(chunk, self._questions)
        read = sum(len(m.content.encode("utf-8", "replace")) + _TEMPLATE_TOKENS for m in messages)
        return self._prices.of(Usage(read, getattr(self._system, "max_tokens", MAX_REPLY_TOKENS)))

    def _journaled(self, chunk: TeacherChunk, key: str, append: Callable[[Mapping[str, Any]], None]) -> Completion:
        """The reply, which is in the journal before anyone waits for it."""
        completion = self._ask(chunk)
        append({"key": key, "document": chunk.document, "reply": completion.text})
        return completion

    def _ask(self, chunk: TeacherChunk) -> Completion:
        messages = prompt_of(chunk, self._questions)
        for attempt in range(1, self._attempts + 1):
            try:
                return self._system.answer(messages)
            except GroundtuneError as error:
                if not getattr(error, "transient", False) or attempt == self._attempts:
                    raise
                if self._stopping.is_set():
                    raise
                self._sleep(2.0 ** (attempt - 1) * random.uniform(1.0, 1.25))
        raise AssertionError("at least one attempt")

    def _taken(self, future: Future[Completion], chunk: TeacherChunk) -> Completion | None:
        """A finished request's completion; None where it failed in passing. Lasting faults, and many, end the run."""
        try:
            completion = future.result()
        except GroundtuneError as error:
            self.failed += 1
            self._failures_in_a_row += 1
            if not getattr(error, "transient", False) or self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                raise
            return None
        self._failures_in_a_row = 0
        used = completion.usage
        if not used.prompt_tokens and not used.completion_tokens:  # an endpoint that does not count
            read = sum(tokens_of(m.content) + 4 for m in prompt_of(chunk, self._questions))
            used = Usage(read, tokens_of(completion.text))
        self.usage = Usage(
            self.usage.prompt_tokens + used.prompt_tokens, self.usage.completion_tokens + used.completion_tokens
        )
        return completion


class _Appender:
    """Appends JSON lines from any thread, each on the disk before it returns; a torn last line is closed first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def __enter__(self) -> Callable[[Mapping[str, Any]], None]:
        self._file = self._path.open("ab+")
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")
        return self._append

    def _append(self, entry: Mapping[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def __exit__(self, *_: object) -> None:
        self._file.close()
