"""What a caller may have generated: models, rates, budgets, and how many requests at once.

A route that generates calls :func:`admit` before any work and counts what it writes with the :class:`Ticket` it gets::

    with admit(request, model, prompt_tokens) as ticket:
        for token in tokens:
            ticket.wrote(1)   # raises as soon as the key's or its group's budget is used up

An answer that is streamed outlives its route: :class:`~groundtune.serving.callers.ticketed.TicketedStream` takes the ticket over.

Budgets hold across the threads of one server at once, since what runs is counted with what is written down. Rates are
this process's own. Several servers on one database share what is written down, so each may overrun a budget by what the
others have in flight. Who the caller is was found out by ``gate``.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import TracebackType

import anyio
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError

from groundtune.serving.callers import usage
from groundtune.serving.callers.keys import Limits
from groundtune.serving.callers.rates import LastMinute
from groundtune.serving.catalog import Model
from groundtune.serving.errors import ApiError
from groundtune.serving.state import Serving
from groundtune.serving.storage.owners import SERVER, Scope

log = logging.getLogger("groundtune.serving")
#: the key id of callers without a key
ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        id: of the key; "anonymous" where the server is open.
        name: of the key.
        admin: sees everybody's usage and objects; whoever reaches an open server does.
        group: name of the key's group.
    """

    id: str
    name: str
    admin: bool = False
    group: str | None = None
    limits: Limits = field(default_factory=Limits)
    group_limits: Limits = field(default_factory=Limits)

    @property
    def scope(self) -> Scope:
        """What they see: with their group's other keys, if they have a group."""
        if self.id == ANONYMOUS:
            return SERVER
        return Scope(f"group:{self.group}" if self.group else self.id, everything=self.admin)


def caller_of(request: Request) -> Caller:
    """Who asks, as the gate found out."""
    found: Caller = request.state.caller
    return found


def admit(request: Request, model: Model, prompt_tokens: int) -> Ticket:
    """Let a request generate, or refuse it before any work. Safe to call from any thread; blocks for a database read.

    Args:
        model: as the catalog resolved it.
        prompt_tokens: of the prompt, as the model counts them.

    Raises:
        ApiError: the model is not on the key's list (403 model_not_allowed); too many requests or tokens this minute (429
            rate_limit_exceeded), too many requests at once (429 engine_overloaded), each with Retry-After; the budget is
            used up, or the prompt does not fit it (429 insufficient_quota, not to be tried again).
    """
    access: Access = request.app.state.access
    ticket = access.admit(caller_of(request), model, prompt_tokens)
    request.state.ticket = ticket
    return ticket


@dataclass(slots=True)
class _Account:
    """What a key or a group has used: written down, and in flight."""

    settled: usage.Total = field(default_factory=usage.Total)
    open_tokens: int = 0
    open_usd: float = 0.0
    requests: LastMinute = field(default_factory=LastMinute)
    tokens: LastMinute = field(default_factory=LastMinute)

    def room(self, limits: Limits, price: float) -> float:
        """Tokens of a price (USD) that still fit the budget."""
        fits = math.inf
        if limits.budget_tokens is not None:
            fits = limits.budget_tokens - self.settled.tokens - self.open_tokens
        if limits.budget_usd is not None:
            left = limits.budget_usd - self.settled.usd - self.open_usd
            if price > 0:
                fits = min(fits, math.floor(left / price + 1e-6))
            elif left <= 0:
                fits = min(fits, 0)
        return fits


class Access:
    """The meters of a server.

    Args:
        serving: whose keys and limits; usage is written into its store.
    """

    def __init__(self, serving: Serving) -> None:
        self.store = serving.store
        self.most = serving.config.concurrency + serving.config.waiting
        self.in_flight = 0
        self._accounts: dict[str, _Account] = defaultdict(_Account)
        self._lock = threading.Lock()  # of the numbers: never held over a wait
        self._writing = threading.Lock()  # of the database: what is written down leaves what is in flight in one step
        self._unwritten: list[tuple[usage.Entry, Ticket]] = []

    def admit(self, caller: Caller, model: Model, prompt_tokens: int) -> Ticket:
        """See :func:`admit`."""
        if caller.limits.models and not any(fnmatchcase(model.name, p) for p in caller.limits.models):
            message = f"This key may not use the model `{model.name}`: it may use {', '.join(caller.limits.models)}."
            raise ApiError(403, message, param="model", code="model_not_allowed")
        ticket = Ticket(self, caller, model.name, prompt_tokens, _prices(model))
        self._refresh(ticket)
        now = time.monotonic()
        with self._lock:
            self._check_budget(ticket)
            self._check_rates(ticket, now)
            if self.in_flight >= self.most:
                message = "The server has as many requests as it takes at a time. Please try again soon."
                raise ApiError(429, message, type="server_error", code="engine_overloaded", headers=_after(1))
            self.in_flight += 1
            own = self._accounts[caller.id]
            own.requests.add(1, now)
            own.tokens.add(prompt_tokens, now)
            self._count(ticket, prompt_tokens, 0)
        return ticket

    def _refresh(self, ticket: Ticket) -> None:
        """Read what others have written down of the budgets that hold here."""
        for account, _ in ticket.budgets:
            with self._writing:
                found = usage.total_of(self.store, account)
                with self._lock:
                    self._accounts[account].settled = found

    def _check_budget(self, ticket: Ticket) -> None:
        for account, limits in ticket.budgets:
            fits = self._accounts[account].room(limits, ticket.prices[0])
            if fits <= 0 or fits < ticket.prompt_tokens:
                raise _used_up(account, max(int(fits), 0), ticket.prompt_tokens)

    def _check_rates(self, ticket: Ticket, now: float) -> None:
        limits, own = ticket.caller.limits, self._accounts[ticket.caller.id]
        for limit, window, amount, what in (
            (limits.requests_per_minute, own.requests, 1, "requests"),
            (limits.tokens_per_minute, own.tokens, ticket.prompt_tokens, "tokens"),
        ):
            if limit is None:
                continue
            wait = window.wait(amount, limit, now)
            if wait == math.inf:
                message = f"Request too large: it has {amount} {what}, this key may use {limit} a minute."
                raise ApiError(429, message, type=what, code="rate_limit_exceeded", headers={"x-should-retry": "false"})
            if wait > 0:
                message = (
                    f"Rate limit reached: this key may use {limit} {what} a minute. Please try again in {wait:.0f} s."
                )
                raise ApiError(429, message, type=what, code="rate_limit_exceeded", headers=_after(wait))

    def _count(self, ticket: Ticket, prompt: int, completion: int) -> None:
        """Add to what is in flight; the lock is held."""
        usd = prompt * ticket.prices[0] + completion * ticket.prices[1]
        for account in ticket.accounts:
            self._accounts[account].open_tokens += prompt + completion
            self._accounts[account].open_usd += usd
        ticket.open_tokens += prompt + completion
        ticket.open_usd += usd

    def _wrote(self, ticket: Ticket, tokens: int) -> None:
        with self._lock:
            if ticket.sealed:
                raise ApiError(499, "The request has ended.", code="request_ended")
            fits, blocking = float(tokens), None
            for account, limits in ticket.budgets:
                room = max(self._accounts[account].room(limits, ticket.prices[1]), 0)
                if room < fits:
                    fits, blocking = room, account
            counted = int(fits)
            ticket.completion_tokens += counted
            self._accounts[ticket.caller.id].tokens.add(counted, time.monotonic())
            self._count(ticket, 0, counted)
        if blocking is not None:
            raise _used_up(blocking, counted, tokens)

    def _settle(self, ticket: Ticket, prompt: int, completion: int) -> None:
        with self._lock:
            if ticket.sealed:
                return
            self._count(ticket, prompt - ticket.prompt_tokens, completion - ticket.completion_tokens)
            ticket.prompt_tokens, ticket.completion_tokens = prompt, completion

    def _close(self, ticket: Ticket) -> None:
        try:
            self._write_down(ticket)
        finally:
            with self._lock:
                self.in_flight -= 1

    def _write_down(self, ticket: Ticket) -> None:
        """Write a request down, and with it others that ended meanwhile: whoever comes after them finds it done.

        Where the database does not take it, it goes on counting and is written with the next.
        """
        with self._lock:
            ticket.sealed = True
            entry = usage.Entry(
                ticket.caller.id, ticket.caller.group, ticket.model, ticket.prompt_tokens, ticket.completion_tokens,
                ticket.open_usd, time.time(),
            )  # fmt: skip
            self._unwritten.append((entry, ticket))
        with self._writing:
            with self._lock:
                coming = list(self._unwritten)
            if not any(own is ticket for _, own in coming):
                return
            try:
                totals = usage.record(self.store, [entry for entry, _ in coming])
            except SQLAlchemyError as error:
                log.error("usage is not written down, will try again: %s", type(error).__name__)
                return
            with self._lock:
                for _, done in coming:
                    for account in done.accounts:
                        self._accounts[account].open_tokens -= done.open_tokens
                        self._accounts[account].open_usd -= done.open_usd
                for account, total in totals.items():
                    self._accounts[account].settled = total
                del self._unwritten[: len(coming)]


class Ticket:
    """A request that was let in: counts what it writes, gives its place back at the end.

    Attributes:
        caller: who asks.
        model: as the client named it.
        prompt_tokens, completion_tokens: counted so far.
    """

    def __init__(
        self, access: Access, caller: Caller, model: str, prompt_tokens: int, prices: tuple[float, float]
    ) -> None:
        self.caller, self.model, self.prompt_tokens, self.prices = caller, model, prompt_tokens, prices
        self.completion_tokens, self.open_tokens, self.open_usd, self.sealed = 0, 0, 0.0, False
        self._access, self._closed, self._once = access, False, threading.Lock()
        group = [(usage.group_account(caller.group), caller.group_limits)] if caller.group else []
        given = [(caller.id, caller.limits), *group]
        self.accounts = [account for account, _ in given]
        self.budgets = [(a, held) for a, held in given if held.budget_tokens is not None or held.budget_usd is not None]

    def wrote(self, tokens: int) -> None:
        """Count completion tokens, before they are sent. Safe from any thread; no input or output.

        Raises:
            ApiError: they do not fit the key's or its group's budget (429 insufficient_quota): send none of them. What
                did fit is counted, so that a budget is used to the last token and never overrun. Or the ticket is closed (499):
                nobody reads any more.
        """
        self._access._wrote(self, tokens)

    def settle(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Put in the numbers that another endpoint charges, instead of those counted here; they may overrun a budget."""
        self._access._settle(self, prompt_tokens, completion_tokens)

    def void(self) -> None:
        """Charge no tokens: nothing was made of the prompt. The request itself still counts."""
        self.settle(0, 0)

    def close(self) -> None:
        """Write the usage down and give the place back; once, however often it is called. Blocks for a database write."""
        with self._once:
            closed, self._closed = self._closed, True
        if not closed:
            self._access._close(self)

    async def aclose(self) -> None:
        """The same from a coroutine, to the end even where that is being cancelled."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.close)

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, Exception) and not self.completion_tokens:
            self.void()
        self.close()


def _prices(model: Model) -> tuple[float, float]:
    """USD of a prompt and of a completion token."""
    if model.alias is None:
        return 0.0, 0.0
    return model.alias.usd_per_million_prompt_tokens / 1e6, model.alias.usd_per_million_completion_tokens / 1e6


def _after(seconds: float) -> dict[str, str]:
    return {"retry-after": str(math.ceil(seconds))}


def _used_up(account: str, fits: int, wanted: int) -> ApiError:
    whose = "the group of this key" if account.startswith("group:") else "this key"
    message = (
        f"The budget of {whose} is used up: {fits} of {wanted} more tokens fit it. Please ask who gave you the key."
    )
    headers = {"x-should-retry": "false"}
    return ApiError(429, message, type="insufficient_quota", code="insufficient_quota", headers=headers)
