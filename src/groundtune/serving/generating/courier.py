"""From the engines' threads to the event loop: pieces of many steps and requests in one call.

Every event that is sent costs the event loop time in which no engine gets on (one interpreter lock). So pieces wait for each other,
a few hundredths of a second at most, and those of one choice arrive as one; first and last pieces do not wait.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from groundtune.generation.engine import Piece

#: (which of a request's choices, what came of it)
Letter = tuple[int, Piece]
#: seconds that a piece may wait for others
WAIT_SECONDS = 0.03


class Courier:
    """Carries pieces to the requests that wait for them.

    Args:
        loop: the server's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._bag: dict[tuple[int, int], tuple[asyncio.Queue[Letter], Piece]] = {}
        self._lock = threading.Lock()
        self._urgent, self._went = False, 0.0

    def sink(self, to: asyncio.Queue[Letter], choice: int) -> Callable[[Piece], None]:
        """Where an engine puts the pieces of one choice; they arrive with a later :meth:`flush`."""
        key, first = (id(to), choice), True

        def put(piece: Piece) -> None:
            nonlocal first
            with self._lock:
                held = self._bag.get(key)
                self._bag[key] = (to, held[1].with_next(piece) if held else piece)
                self._urgent = self._urgent or first or piece.finish is not None or piece.error is not None
            first = False

        return put

    def flush(self) -> None:
        """Hand over what was put in, if it has waited long enough or cannot wait."""
        with self._lock:
            now = time.monotonic()
            if not self._bag or not (self._urgent or now - self._went >= WAIT_SECONDS):
                return
            bag, self._bag = list(self._bag.items()), {}
            self._urgent, self._went = False, now
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_deliver, [(to, (choice, piece)) for (_, choice), (to, piece) in bag])


def _deliver(letters: list[tuple[asyncio.Queue[Letter], Letter]]) -> None:
    for queue, letter in letters:
        queue.put_nowait(letter)
