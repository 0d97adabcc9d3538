"""The memory of the processes that a test starts."""

from __future__ import annotations

import threading

import psutil


class MemoryWatch:
    """The largest resident size of one of this process's descendants, while it is entered.

    Others are not counted: a database, a server that a test file keeps, this process's own copy between a fork and
    the program it starts.

    Args:
        naming: what the command line of a descendant that counts holds.
        every_seconds: how often it looks.

    Attributes:
        peak_bytes: the largest so far.
    """

    def __init__(self, naming: str, every_seconds: float = 0.05) -> None:
        self.peak_bytes = 0
        self._naming = naming
        self._every_seconds = every_seconds
        self._over = threading.Event()

    def __enter__(self) -> MemoryWatch:
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _look(self) -> None:
        me = psutil.Process()
        while not self._over.wait(self._every_seconds):
            for child in me.children(recursive=True):
                try:
                    if any(self._naming in argument for argument in child.cmdline()):
                        self.peak_bytes = max(self.peak_bytes, child.memory_info().rss)
                except psutil.Error:
                    continue
