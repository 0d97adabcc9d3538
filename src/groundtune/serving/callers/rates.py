"""How much came in the last minute."""

from __future__ import annotations

from collections import deque

SECONDS = 60.0


class LastMinute:
    """Sums of what came in the last 60 seconds, kept by tenths of a second: never more than 601 numbers.

    Not safe across threads by itself; callers hold a lock.
    """

    def __init__(self) -> None:
        self._parts: deque[tuple[float, int]] = deque()
        self.total = 0

    def add(self, amount: int, now: float) -> None:
        """Count something at a time of the monotonic clock, in seconds."""
        tenth = round(now, 1)
        self.total += amount
        if self._parts and self._parts[-1][0] >= tenth:
            at, held = self._parts.pop()
            self._parts.append((at, held + amount))
        else:
            self._parts.append((tenth, amount))

    def wait(self, amount: int, limit: int, now: float) -> float:
        """Seconds until an amount more fits under a limit; 0: now; infinite: never."""
        while self._parts and self._parts[0][0] <= now - SECONDS:
            self.total -= self._parts.popleft()[1]
        over = self.total + amount - limit
        if over <= 0:
            return 0.0
        for at, held in self._parts:
            over -= held
            if over <= 0:
                return max(at + SECONDS - now, 0.1)
        return float("inf")
