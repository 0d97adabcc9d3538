"""From the engines' threads to the event loop: all pieces of a step in one call, whatever number of requests they are for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from groundtune.generation.engine import Piece

#: (which of a request's choices, what came of it)
Letter = tuple[int, Piece]


class Courier:
    """Carries pieces to the requests that wait for them.

    Args:
        loop: the server's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._bag: list[tuple[asyncio.Queue[Letter], Letter]] = []
        self._lock = threading.Lock()

    def sink(self, to: asyncio.Queue[Letter], choice: int) -> Callable[[Piece], None]:
        """Where an engine puts the pieces of one choice; they arrive with :meth:`flush`."""

        def put(piece: Piece) -> None:
            with self._lock:
                self._bag.append((to, (choice, piece)))

        return put

    def flush(self) -> None:
        """Hand over what was put in."""
        with self._lock:
            bag, self._bag = self._bag, []
        if bag and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_deliver, bag)


def _deliver(bag: list[tuple[asyncio.Queue[Letter], Letter]]) -> None:
    for queue, letter in bag:
        queue.put_nowait(letter)
