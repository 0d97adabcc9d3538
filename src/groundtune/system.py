"""The one idea: whatever answers is a System. Evaluation and serving know nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from groundtune.records import Completion, Message


@runtime_checkable
class System(Protocol):
    """Something that answers.

    Attributes:
        name: as in the config and in every table.
        description: one line for the report.
    """

    name: str
    description: str

    def answer(self, messages: Sequence[Message]) -> Completion:
        """Answer the last user message of a conversation."""
        ...

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """Answers to many conversations, in their order; the same answers as one by one, sooner."""
        ...


def timed(system: System, messages: Sequence[Message]) -> Completion:
    """One answer with its wall-clock seconds."""
    started = time.perf_counter()
    completion = system.answer(messages)
    return replace(completion, seconds=time.perf_counter() - started)


def question_of(messages: Sequence[Message]) -> str:
    """The last user message: what is being asked."""
    return next(m.content for m in reversed(messages) if m.role == "user")


def as_messages(question: str) -> list[Message]:
    """A bare question as a conversation."""
    return [Message("user", question)]
