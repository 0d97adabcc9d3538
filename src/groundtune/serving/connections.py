"""Connections of clients that are slow on purpose or forgotten: closed after a while, and kept to what the system has files for.

uvicorn itself closes only what is idle behind an answer. Here a client also has so long to send the head of a request, to send some of
its body, and to read some of its answer; a stream that nobody reads would hold its model's place for ever.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

#: seconds that a client has for the head of a request, for the next part of a body, for reading a part of its answer
HEAD_SECONDS, BODY_SECONDS, READ_SECONDS = 30.0, 60.0, 120.0
#: seconds between looks at a connection
LOOK_SECONDS = 5.0
#: files that a server opens beside its connections
_OWN_FILES = 512
_WANTED_FILES = 65_536


def raise_file_limit() -> int:
    """Allow this process as many files as the system lets it have; how many connections that leaves room for."""
    if sys.platform == "win32":
        return _WANTED_FILES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return max(most // 2, most - _OWN_FILES)


class Patient(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's HTTP protocol with an end to its patience.

    Attributes:
        most: connections at a time; what comes beyond is closed at once.
    """

    most = _WANTED_FILES
    _look: asyncio.TimerHandle | None = None
    _state: tuple[Any, ...] = ()
    _since = _heard = 0.0

    def connection_made(self, transport: Any) -> None:
        """A client is there."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
            return
        self._since = self._heard = self.loop.time()
        self._look = self.loop.call_later(LOOK_SECONDS, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """A client is gone."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A client says something."""
        self._heard = self.loop.time()
        super().data_received(data)

    def _check(self) -> None:
        now, state = self.loop.time(), self._now()
        if state != self._state:
            self._state, self._since = state, now
        since = max(self._since, self._heard) if state[0] == "body" else self._since
        patience = {"head": HEAD_SECONDS, "body": BODY_SECONDS, "reading": READ_SECONDS}.get(state[0])
        if patience is not None and now - since >= patience:
            self.transport.abort()
            return
        self._look = self.loop.call_later(LOOK_SECONDS, self._check)

    def _now(self) -> tuple[Any, ...]:
        """What the connection waits for, and what changes when it goes on."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return "head", id(cycle)
        if self.flow.write_paused:
            return "reading", self.transport.get_write_buffer_size()
        if cycle.more_body and not self.flow.read_paused:
            return "body", id(cycle)
        return "server", id(cycle)
