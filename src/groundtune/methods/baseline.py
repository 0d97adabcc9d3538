"""The stupid model first: the best-matching sentence of the documents, word for word. No language model.

Simple, interpretable, cannot invent; whatever generates has to beat it.
"""

from __future__ import annotations

from collections.abc import Sequence

from groundtune.dataset.prompts import ABSTENTION
from groundtune.methods._setup import Setup
from groundtune.records import Completion, Message
from groundtune.retrieval.retriever import rank_sentences, to_source, valid_versions
from groundtune.system import System, question_of

#: what must be made first
NEEDS = ("index",)


class Baseline:
    """Quotes the sentence that fits best.

    Args:
        setup: the project.
    """

    name = "baseline"
    description = "the best-matching sentence, no language model"

    def __init__(self, setup: Setup) -> None:
        self._setup, self._retriever = setup, setup.retriever

    def answer(self, messages: Sequence[Message]) -> Completion:
        """The best sentence of the retrieved chunks."""
        question = question_of(messages)
        hits = self._retriever.retrieve(question, document=self._setup.document)
        ranked = valid_versions(rank_sentences(hits), question)
        retrieved = tuple(to_source(h, "") for h in hits)
        if not ranked or self._retriever.refuses(question, hits):
            return Completion(ABSTENTION, abstained=True, retrieved=retrieved)
        best = ranked[0]
        return Completion(best.text, sources=(to_source(hits[best.rank], best.text),), retrieved=retrieved)

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """Many answers; the questions are embedded together."""
        self._retriever.embed_all([question_of(c) for c in conversations])
        return [self.answer(c) for c in conversations]


def build(setup: Setup) -> System:
    """The System ``baseline``."""
    return Baseline(setup)
