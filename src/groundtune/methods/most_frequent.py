"""A control that reads nothing: always the most frequent training answer. What a tuned model must beat to have learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from groundtune.methods._setup import Setup
from groundtune.records import Completion, Message
from groundtune.system import System


class MostFrequent:
    """Answers every question alike.

    Args:
        text: the answer.
    """

    name = "most_frequent"
    description = "control: always the most frequent training answer"

    def __init__(self, text: str) -> None:
        self.text = text

    def answer(self, messages: Sequence[Message]) -> Completion:
        """The answer."""
        return Completion(self.text)

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """The answer, many times."""
        return [self.answer(c) for c in conversations]


def build(setup: Setup) -> System:
    """The System ``most_frequent``; ties go to the answer that comes first in the file."""
    counts = Counter(e.references[0] for e in setup.training_examples())
    return MostFrequent(counts.most_common(1)[0][0] if counts else "")
