"""Retrieval-augmented generation: retrieve, put the sentences that matter before the question, generate, cite.

Lewis et al., "Retrieval-Augmented Generation for Knowledge-Intensive NLP Tasks" (NeurIPS 2020), in its common form with
a frozen retriever. Departs from it by extractive compression of the retrieved chunks (as in RECOMP, Xu et al. 2023): a
small model reads a sentence well and a page badly; ``retrieval.context_sentences`` sets how many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from groundtune.config import RetrievalConfig
from groundtune.dataset.prompts import ABSTENTION, numbered
from groundtune.methods._search import search
from groundtune.methods._setup import Backend, Setup
from groundtune.methods._sources import Written, all_with_sources, applied
from groundtune.nn.checkpoints import BUNDLED
from groundtune.records import Completion, Message
from groundtune.retrieval.retriever import Sentence, rank_sentences, to_source, valid_versions
from groundtune.system import System, question_of

#: what must be made first
NEEDS = ("index",)

#: sentences in the prompt; for pebble chosen on the example's training questions (F1 0.25 with 1, 0.20 with 2, 0.19 with 3)
SENTENCES, SENTENCES_BUNDLED = 12, 1


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
        self.writes_once = setup.config.retrieval.queries == "none" and setup.config.answer.unsupported != "drop"
        config = setup.config.retrieval
        sentences = config.context_sentences or (SENTENCES_BUNDLED if setup.config.model == BUNDLED else SENTENCES)
        self._context = config.model_copy(update={"context_sentences": sentences})

    def answer(self, messages: Sequence[Message]) -> Completion:
        """Answer the last user message from the documents."""
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """Many answers."""
        questions = [question_of(c) for c in conversations]
        found = search(self._setup, self._backend, questions)
        ranked = [valid_versions(rank_sentences(hits), q) for hits, q in zip(found, questions, strict=True)]
        contexts = [select_context(r, self._context, self._backend) for r in ranked]
        asked = self._setup.prompt("with_passages")
        prompts = [
            asked.messages(question=q, passages="\n\n".join(render_context(c)))
            for c, q in zip(contexts, questions, strict=True)
        ]
        written = self._backend.generate_batch(prompts, max_tokens=self._setup.config.answer.max_tokens)
        refused = [self._setup.retriever.refuses(q, hits) for q, hits in zip(questions, found, strict=True)]
        written = [
            replace(g, text=ABSTENTION, logprobs=()) if no else g for g, no in zip(written, refused, strict=True)
        ]
        sourced = all_with_sources(
            [Written(g.text, q, c, h) for g, q, c, h in zip(written, questions, contexts, found, strict=True)],
            self._setup,
        )
        return [
            applied(
                Completion(g.text, retrieved=tuple(to_source(h, "") for h in hits), logprobs=g.logprobs, usage=g.usage),
                s,
            )
            for g, s, hits in zip(written, sourced, found, strict=True)
        ]


def select_context(ranked: list[Sentence], config: RetrievalConfig, backend: Backend) -> list[Sentence]:
    """The best sentences that fit the budget, the best chunk's first and each chunk's in reading order."""
    chosen: list[Sentence] = []
    left = min(config.context_tokens, backend.context_tokens // 2)
    for sentence in ranked[: config.context_sentences]:
        cost = backend.count_tokens(sentence.text)
        if chosen and cost > left:
            continue
        chosen.append(sentence)
        left -= cost
    order = {id_: n for n, id_ in reversed(list(enumerate(s.chunk.id for s in chosen)))}
    return sorted(chosen, key=lambda s: (order[s.chunk.id], s.position))


def render_context(context: list[Sentence]) -> list[str]:
    """Passages as they stand in the prompt: a number, the file and page, the sentences."""
    passages: list[str] = []
    last = ""
    for sentence in context:
        if sentence.chunk.id != last:
            chunk = sentence.chunk
            passages.append(numbered(len(passages) + 1, chunk.document, chunk.page, sentence.text))
            last = sentence.chunk.id
        else:
            passages[-1] += f" {sentence.text}"
    return passages


def build(setup: Setup, *, backend: Backend | None = None, name: str = "rag") -> System:
    """The System ``rag``, or another method's model behind retrieval.

    Raises:
        MissingArtifactError: no index; said before a model is loaded.
    """
    _ = setup.retriever
    return Rag(name, setup, backend or setup.backend())
