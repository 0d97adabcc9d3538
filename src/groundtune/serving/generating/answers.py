"""A request's answers while they are written: begun on an engine or a System, read as they come, dropped when nobody waits.

Chat, completions and responses differ in what they ask and how they show it; what happens in between is here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from anyio import CancelScope
from fastapi import Request
from starlette.concurrency import run_in_threadpool
from transformers.utils.logging import disable_progress_bar

from groundtune.errors import GroundtuneError
from groundtune.generation.engine import Piece
from groundtune.generation.sampling import Sampling
from groundtune.generation.writing import Token
from groundtune.methods._setup import ClosedBook
from groundtune.methods.rag import Rag
from groundtune.records import Completion, Message
from groundtune.serving.callers.access import Ticket, admit, caller_of
from groundtune.serving.catalog import Model
from groundtune.serving.errors import ApiError, bad_request, from_ours
from groundtune.serving.generating.courier import Courier, Letter
from groundtune.serving.generating.engines import AnyEngine, AnyWriting, Engines, opener
from groundtune.serving.generating.systems import ASKED, Asked, Gone, Systems
from groundtune.serving.metrics import observe_first_token


class Generators:
    """What generates, in one server.

    Attributes:
        engines: models in memory.
        systems: the project's.
        loop: the server's.
        courier: brings what they write to the loop.
    """

    def __init__(self, serving: Any, loop: asyncio.AbstractEventLoop) -> None:
        disable_progress_bar()  # of loading weights
        self.loop, self.courier = loop, Courier(loop)
        config = serving.config
        self.engines = Engines(
            most=config.loaded_models, open_engine=opener(config, serving.folder), after_step=self.courier.flush
        )
        self.systems = Systems(serving.setup, self.engines)
        self.threads = ThreadPoolExecutor(config.concurrency, thread_name_prefix="system")

    def close(self) -> None:
        """End everything."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.engines.close()


def generators_of(request: Request) -> Generators:
    """What generates, of a request's server."""
    found: Generators = request.app.state.generators
    return found


@dataclass(slots=True)
class Choice:
    """One answer of a request, as far as it is written.

    Attributes:
        text, tokens: so far.
        finish: why it ended; None: it goes on.
        completion: what a System said of it.
        written: tokens in all, marks included.
        logprob: sum of the tokens' log-probabilities.
    """

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    prompt: tuple[Token, ...] = ()
    finish: str | None = None
    completion: Completion | None = None
    written: int = 0
    logprob: float = 0.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of a causal model.

    Attributes:
        prompts: token ids of every prompt, of an engine.
        sampling: how a choice is written: (engine, prompt, number of the choice).
        n: choices of each prompt.
        salt: prompts of different salts share no cache; those of different owners never do.
    """

    prompts: Callable[[AnyEngine], list[list[int]]]
    sampling: Callable[[AnyEngine, Sequence[int], int], Sampling]
    n: int = 1
    salt: str = ""


class Answers:
    """The choices of a request under way: read them with ``async for``.

    Attributes:
        choices: of every prompt ``n``, one behind the other.
        prompt_tokens: of all prompts.
        cached: how many of them another request had left.
    """

    def __init__(self, request: Request, count: int, ticket: Ticket) -> None:
        self.request = request
        self.choices = [Choice() for _ in range(count)]
        self.ticket, self.letters = ticket, asyncio.Queue[Letter]()
        self.prompt_tokens = 0
        self.cached: Callable[[], int] = lambda: 0
        self.began, self.first_at = time.perf_counter(), 0.0
        self.settle: Callable[[int, Choice], None] = lambda n, choice: None

    @property
    def completion_tokens(self) -> int:
        """Written so far."""
        return sum(choice.written for choice in self.choices)

    def __aiter__(self) -> AsyncIterator[Letter]:
        return self._read()

    async def _read(self) -> AsyncIterator[Letter]:
        """Pieces as they come, with the number of their choice.

        Raises:
            ApiError: what went wrong, or the caller's budget is used up.
        """
        left = sum(choice.finish is None for choice in self.choices)
        while left:
            number, piece = await self.letters.get()
            if piece.error is not None and piece.tokens:  # what came before the fault, in one letter with it
                yield number, replace(piece, error=None)
            if piece.error is not None:
                if not self.ticket.completion_tokens:
                    self.ticket.void()  # a fault of ours before the first token
                raise _as_api_error(piece.error)
            choice = self.choices[number]
            if not self.first_at and piece.tokens:
                self.first_at = time.perf_counter()
                _log(self.request, first_token_seconds=round(self.first_at - self.began, 4))
                observe_first_token(self.request.app, self.first_at - self.began)
            choice.text += piece.text
            choice.tokens.extend(piece.tokens)
            choice.prompt = piece.prompt or choice.prompt
            if piece.finish:
                choice.finish, left = piece.finish, left - 1
                _log(self.request, finish_reason=piece.finish, answer=choice.text)
                self.settle(number, choice)
                if choice.completion is not None:  # only now a System's prompt is known
                    self.ticket.settle(self.prompt_tokens, self.ticket.completion_tokens)
            count = choice.written - len(choice.tokens) + len(piece.tokens) if piece.finish else len(piece.tokens)
            before = self.ticket.completion_tokens
            try:
                self.ticket.wrote(count)
            except ApiError:
                fits = self.ticket.completion_tokens - before
                if 0 < fits <= len(piece.tokens):  # a budget is used to its last token
                    yield number, _beginning(piece, fits)
                raise
            yield number, piece

    async def all(self) -> list[Choice]:
        """Every choice, when all have ended. Raises as reading does."""
        async for _ in self:
            pass
        return self.choices


def _beginning(piece: Piece, count: int) -> Piece:
    """The first tokens of a piece with their text, whole characters only."""
    tokens = piece.tokens[:count]
    text = b"".join(token.bytes for token in tokens).decode("utf-8", "ignore")
    return Piece(text if piece.text.startswith(text) else "", tokens)


def note(request: Request, wanted: Any, prompt: Any) -> None:
    """What the request's line in the log says of it; the prompt only where the server was told to log prompts."""
    names = ("user", "safety_identifier", "stream")
    _log(request, prompt=str(prompt), **{name: getattr(wanted, name, None) for name in names})


def _log(request: Request, **fields: Any) -> None:
    request.state.log = {**getattr(request.state, "log", {}), **fields}


def _as_api_error(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, GroundtuneError):
        return from_ours(error)
    raise error


@asynccontextmanager
async def of_weights(request: Request, model: Model, ask: Ask) -> AsyncIterator[Answers]:
    """Answers of a causal model, begun.

    Raises:
        ApiError: the model cannot be had, a prompt is too long, or the caller may not.
    """
    own = generators_of(request)
    under_way: list[AnyWriting] = []
    with ExitStack() as held:
        try:
            try:
                answers, starts = await run_in_threadpool(_prepared, request, own, model, ask, held)
                await run_in_threadpool(_begin, starts, under_way)
            except Exception as error:
                _uncharged(request)
                if isinstance(error, GroundtuneError):
                    raise from_ours(error) from None
                raise

            def settle(number: int, choice: Choice) -> None:
                choice.written, choice.logprob = len(under_way[number].written), under_way[number].logprob

            answers.settle = settle
            answers.cached = lambda: sum(w.cached_tokens for w in under_way[:: ask.n])
            yield answers
        finally:
            for writing in under_way:
                writing.cancel()
            with CancelScope(shield=True):
                await run_in_threadpool(held.pop_all().close)


def _uncharged(request: Request) -> None:
    """Charge no tokens for a request that was let in and then refused."""
    ticket: Ticket | None = getattr(request.state, "ticket", None)
    if ticket is not None:
        ticket.void()


def _prepared(
    request: Request, own: Generators, model: Model, ask: Ask, held: ExitStack
) -> tuple[Answers, list[Callable[[], AnyWriting]]]:
    lease = held.enter_context(own.engines.lease(model))
    engine = lease.engine
    prompts = ask.prompts(engine)
    tokens = sum(len(prompt) for prompt in prompts)
    ticket = held.enter_context(admit(request, model, tokens))
    answers = Answers(request, len(prompts) * ask.n, ticket)
    answers.prompt_tokens = tokens
    starts, salt = (
        [],
        f"{caller_of(request).scope.owner} {ask.salt}",
    )  # what others asked shows in no time and no number
    for number in range(len(answers.choices)):
        prompt = prompts[number // ask.n]
        sampling = ask.sampling(engine, prompt, number % ask.n)
        sink = own.courier.sink(answers.letters, number)
        starts.append(_start(engine, prompt, sampling, sink, lease.adapter, salt))
    return answers, starts


def _begin(starts: list[Callable[[], AnyWriting]], under_way: list[AnyWriting]) -> None:
    for start in starts:
        under_way.append(start())


def _start(
    engine: AnyEngine,
    prompt: list[int],
    sampling: Sampling,
    sink: Callable[[Piece], None],
    adapter: str | None,
    salt: str,
) -> Callable[[], AnyWriting]:
    return lambda: engine.submit(prompt, sampling, sink, adapter=adapter, salt=salt)


@asynccontextmanager
async def of_system(
    request: Request, model: Model, messages: Sequence[Message], changes: dict[str, Any], n: int
) -> AsyncIterator[Answers]:
    """Answers of a System of the project, begun.

    Args:
        changes: fields of ``Sampling`` that the request names; ``seed`` differs from choice to choice.

    Raises:
        ApiError: it cannot be built, or the caller may not.
    """
    own = generators_of(request)
    with ExitStack() as held:
        try:
            system = await run_in_threadpool(own.systems.get, model.target)
        except GroundtuneError as error:
            raise from_ours(error) from None
        ticket = await run_in_threadpool(lambda: held.enter_context(admit(request, model, 0)))
        answers, asked = Answers(request, n, ticket), list[Asked]()
        for number in range(n):
            seed = changes.get("seed")
            one = Asked({**changes, **({"seed": seed % 2**64 + number} if seed is not None else {})})
            asked.append(one)
            sink = _Now(own.courier, answers.letters, number)
            own.threads.submit(_ask, system, messages, one, sink, answers, number)
        try:
            yield answers
        finally:
            for one in asked:
                one.gone.set()
            with CancelScope(shield=True):
                await run_in_threadpool(held.pop_all().close)


class _Now:
    """Sends pieces from a System's thread at once."""

    def __init__(self, courier: Courier, to: asyncio.Queue[Letter], number: int) -> None:
        self._put, self._flush = courier.sink(to, number), courier.flush

    def __call__(self, piece: Piece) -> None:
        self._put(piece)
        self._flush()


def _ask(system: Any, messages: Sequence[Message], asked: Asked, sink: _Now, answers: Answers, number: int) -> None:
    """Let a System answer, in a thread: pieces as they are written where its answer is what its model writes."""
    shown: list[str] = []
    if isinstance(system, ClosedBook) or (isinstance(system, Rag) and system.writes_once):

        def live(piece: Piece) -> None:
            text = piece.text if shown else piece.text.lstrip()
            if text:
                shown.append(text)
                sink(replace(piece, text=text, finish=None))

        asked.live = live
    token = ASKED.set(asked)
    try:
        if asked.gone.is_set():
            return
        completion = system.answer(messages)
        if asked.ignored and set(asked.changes) - {"max_tokens", "temperature"}:
            names = ", ".join(sorted(set(asked.changes) - {"max_tokens", "temperature"}))
            raise bad_request(f"{system.name} writes with a model of its own, which cannot heed {names}.", code="unsupported_parameter")  # fmt: skip
        choice = answers.choices[number]
        choice.completion = completion
        answers.prompt_tokens += completion.usage.prompt_tokens if number == 0 else 0
        choice.written = completion.usage.completion_tokens
        rest = completion.text.removeprefix("".join(shown).rstrip()) if shown else completion.text
        tokens = () if shown or not asked.generated else _spelling(completion.text, asked.generated[-1])
        sink(Piece(rest, tokens, "length" if asked.finish == "length" else "stop"))
    except Gone:
        return
    except Exception as error:
        sink(Piece(error=error))
    finally:
        ASKED.reset(token)


def _spelling(text: str, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    """The tokens, if they spell just this text: what a guard took out, or a System left out, is not told by its tokens."""
    spelled = b"".join(t.bytes for t in tokens).decode("utf-8", "replace")
    return tokens if spelled.strip() == text.strip() else ()
