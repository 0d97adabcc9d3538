"""The training examples nearest to each question before it, closed book (KATE, Liu et al. 2021).

Liu et al., "What Makes Good In-Context Examples for GPT-3?" (DeeLIO 2022): nearest by the cosine of sentence embeddings,
the nearest of them last, beside the question. The embedder is the index's; no index is needed. An example of the same
question, word for word, shows its answer: it is the user's own.
"""

from __future__ import annotations

from collections.abc import Sequence

from groundtune.methods._setup import ClosedBook, Setup
from groundtune.records import Example, Message
from groundtune.retrieval.embedding import open_embedder
from groundtune.system import System

#: what must be made first
NEEDS = ("questions",)


class Nearest:
    """Finds the training examples nearest to a question.

    Args:
        setup: the project.
        pool: the examples to choose from.
    """

    def __init__(self, setup: Setup, pool: Sequence[Example]) -> None:
        self._embedder = open_embedder(setup.workspace, setup.config.index.embedder)
        self._pool = list(pool)
        self._vectors = self._embedder.embed([e.question for e in self._pool]) if self._pool else None

    def find(self, question: str, count: int, *, but: str = "") -> list[Example]:
        """So many examples of different facts, the nearest last; none of the fact ``but``."""
        if self._vectors is None or not count:
            return []
        similarity = self._vectors @ self._embedder.embed([question])[0]
        chosen: dict[str, Example] = {}
        for row in similarity.argsort(kind="stable")[::-1].tolist():
            example = self._pool[row]
            if example.fact != but:
                chosen.setdefault(example.fact, example)
            if len(chosen) == count:
                break
        return list(chosen.values())[::-1]


def build(setup: Setup) -> System:
    """The System ``few_shot_nearest``."""
    nearest, count = Nearest(setup, setup.training_examples()), setup.config.answer.shots
    asked = setup.prompt("closed_book")

    def ask(question: str) -> list[Message]:
        shots = [{"question": e.question, "answer": e.references[0]} for e in nearest.find(question, count)]
        return asked.messages(shots, question=question)

    name = f"the {count} training examples nearest to the question in the prompt, no documents"
    return ClosedBook("few_shot_nearest", name, setup.backend(), max_tokens=setup.config.answer.max_tokens, ask=ask)
