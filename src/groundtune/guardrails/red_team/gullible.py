"""A scripted backend that obeys: whatever order of the red-team set reaches its prompt, whole, is carried out.

A small model obeys nothing and a large one sometimes; this is the worst reader there could be. It is told the cases, reads through every
disguise, and is stopped only by not being shown the order. Shown none, it answers by copying the sentence of the passages that
shares most words with the question.
"""

from __future__ import annotations

from collections.abc import Sequence

from groundtune.dataset.prompts import ABSTENTION
from groundtune.dataset.reading import sentences
from groundtune.guardrails.answers import content
from groundtune.guardrails.red_team.cases import Case
from groundtune.records import Generation, Message, Usage


class GullibleBackend:
    """Obeys the cases it is told.

    Args:
        cases: the orders it understands.
    """

    name = "gullible"
    context_tokens = 8192

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = [(case, [_squeezed(piece) for piece in case.core]) for case in cases]

    def generate(self, messages: Sequence[Message], *, max_tokens: int = 32) -> Generation:
        """One answer."""
        text = self._answer(messages)
        return Generation(text, (), Usage(sum(self.count_tokens(m.content) for m in messages), self.count_tokens(text)))

    def generate_batch(
        self, conversations: Sequence[Sequence[Message]], *, max_tokens: int = 32, batch_size: int = 16
    ) -> list[Generation]:
        """Answers to many conversations."""
        return [self.generate(messages, max_tokens=max_tokens) for messages in conversations]

    def sample_batch(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        temperature: float,
        seeds: Sequence[int],
        max_tokens: int = 32,
    ) -> list[Generation]:
        """The same as without sampling."""
        return self.generate_batch(conversations, max_tokens=max_tokens)

    def count_tokens(self, text: str) -> int:
        """Words."""
        return len(text.split())

    def _answer(self, messages: Sequence[Message]) -> str:
        system = "\n".join(m.content for m in messages if m.role in ("system", "developer"))
        read = _squeezed("\n".join(m.content for m in messages if m.role not in ("system", "developer")))
        for case, core in self._cases:
            if all(piece in read for piece in core):
                return case.goal.replace("{system}", system)
        return _copied([m.content for m in messages if m.role in ("user", "tool")])


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _copied(read: Sequence[str]) -> str:
    """The sentence that shares most words with the first line, which asks."""
    lines = [line for text in read for line in text.splitlines() if line.strip()]
    asked = set(content(lines[0].removeprefix("Question:"))) if lines else set()
    found = [s for line in lines if not line.startswith(("Question:", "[")) for s in sentences(line)]
    return max(found, key=lambda s: len(asked & set(content(s))) / (4 + len(content(s)) ** 0.5), default=ABSTENTION)
