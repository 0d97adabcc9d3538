"""Who may call; replaced by sv-b."""

from __future__ import annotations

from types import TracebackType

from fastapi import Request

from groundtune.serving.catalog import Model


class Ticket:
    """A request that was let in."""

    def wrote(self, tokens: int) -> None:
        """Count."""

    def __enter__(self) -> Ticket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def admit(request: Request, model: Model, prompt_tokens: int) -> Ticket:
    """Let in."""
    return Ticket()
