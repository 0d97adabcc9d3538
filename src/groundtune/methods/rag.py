"""Retrieval-augmented generation: retrieve, put the sentences that matter before the question, generate, cite.

Lewis et al., "Retrieval-Augmented Generation for Knowledge-Intensive NLP Tasks" (NeurIPS 2020), in its common form with
a frozen retriever. Departs from it by extractive compression of the retrieved chunks (as in RECOMP, Xu et al. 2023): a
small model reads a sentence well and a page badly; ``retrieval.context_sentences`` sets how many.
"""

from __future__ import annotations

from collections.abc import Sequence

from groundtune.methods._context import all_answered, find, unless_refused, with_passages
from groundtune.methods._setup import Backend, Setup
from groundtune.records import Completion, Message
from groundtune.system import System, question_of

#: what must be made first
NEEDS = ("index",)


class Rag:
    """A backend behind the retriever.

    Args:
        name: ``rag``, or ``<method>+rag``.
        setup: the project.
        backend: what generates.
    """

    def __init__(self, name: str, setup: Setup, backend: Backend) -> None:
        self.name = name
        self.description = "retrieved sentences in the prompt, then the " + (
            "model" if name == "rag" else f"{name.split('+')[0]} model"
        )
        self._setup, self._backend = setup, backend
        #: whether its model writes the answer and nothing else, and all of it is shown
        own = setup.config
        searches_alone = own.retrieval.queries == "none" and own.retrieval.reranker != "language_model"
        self.writes_once = searches_alone and own.answer.unsupported != "drop"

    def answer(self, messages: Sequence[Message]) -> Completion:
        """Answer the last user message from the documents."""
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """Many answers."""
        contexts = find(self._setup, self._backend, [question_of(c) for c in conversations])
        written = unless_refused(
            contexts,
            lambda asked: self._backend.generate_batch(
                [with_passages(self._setup, c) for c in asked], max_tokens=self._setup.config.answer.max_tokens
            ),
        )
        return all_answered(self._setup, contexts, written)


def build(setup: Setup, *, backend: Backend | None = None, name: str = "rag") -> System:
    """The System ``rag``, or another method's model behind retrieval.

    Raises:
        MissingArtifactError: no index; said before a model is loaded.
    """
    _ = setup.retriever
    return Rag(name, setup, backend or setup.backend())
