"""Question to context to cited answer: what the systems that search share besides the search itself.

A :class:`Context` is what one question found and what of it a model reads; :func:`answered` makes the Completion of an
answer that rests on it, or refuses where the retriever does. Sentences and their budget are ``rag``'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from groundtune.dataset.prompts import ABSTENTION
from groundtune.methods._search import search
from groundtune.methods._setup import Backend, Setup
from groundtune.methods._sources import Written, completed
from groundtune.methods.rag import SENTENCES, SENTENCES_BUNDLED, render_context, select_context
from groundtune.nn.checkpoints import BUNDLED
from groundtune.records import Completion, Generation, Message, Usage
from groundtune.retrieval.retriever import Hit, Sentence, rank_sentences, to_source, valid_versions


@dataclass(frozen=True, slots=True)
class Context:
    """What was found for a question.

    Attributes:
        question: what was asked.
        hits: the chunks, best first.
        sentences: those that a model reads, in the prompt's order.
        refused: whether the retriever holds that nothing it found answers the question.
    """

    question: str
    hits: tuple[Hit, ...]
    sentences: tuple[Sentence, ...]
    refused: bool = False

    @property
    def passages(self) -> list[str]:
        """As they stand in a prompt: a number, file and page, the sentences."""
        return render_context(list(self.sentences))

    @property
    def text(self) -> str:
        """The passages, one below the other."""
        return "\n\n".join(self.passages)


def find(setup: Setup, backend: Backend, questions: Sequence[str], *, plain: bool = False) -> list[Context]:
    """The context of each question; ``plain``: searched with its own words alone."""
    found = search(setup, backend, questions, plain=plain)
    return [context_of(setup, backend, q, hits) for q, hits in zip(questions, found, strict=True)]


def context_of(setup: Setup, backend: Backend, question: str, hits: Sequence[Hit]) -> Context:
    """What a model reads of the hits: as many of the best sentences as the settings allow and the model can hold."""
    config = setup.config.retrieval
    sentences = config.context_sentences or (SENTENCES_BUNDLED if setup.config.model == BUNDLED else SENTENCES)
    ranked = valid_versions(rank_sentences(list(hits)), question)
    chosen = select_context(ranked, config.model_copy(update={"context_sentences": sentences}), backend)
    return Context(question, tuple(hits), tuple(chosen), setup.retriever.refuses(question, hits))


def answered(
    setup: Setup, context: Context, text: str, generation: Generation | None = None, *, usage: Usage | None = None
) -> Completion:
    """An answer with its sources (:mod:`groundtune.methods._sources`); an abstention cites nothing.

    Where the retriever refuses, what is said is the abstention.

    Args:
        text: the answer.
        generation: what the model wrote for it, for log-probabilities and usage.
        usage: where it took several generations.
    """
    text = ABSTENTION if context.refused else text
    made = Completion(
        text,
        retrieved=tuple(to_source(h, "") for h in context.hits),
        logprobs=generation.logprobs if generation and not context.refused else (),
        usage=usage or (generation.usage if generation else Usage()),
    )
    return completed(made, Written(text, context.question, context.sentences, context.hits), setup)


def merged(question: str, contexts: Sequence[Context]) -> Context:
    """Several searches for one question as one context: each chunk and each sentence once, the first search's first.

    Refused where every one of them is.
    """
    hits: dict[str, Hit] = {}
    sentences: dict[str, Sentence] = {}
    for context in contexts:
        for hit in context.hits:
            hits.setdefault(hit.chunk.id, hit)
        for sentence in context.sentences:
            sentences.setdefault(sentence.text, sentence)
    of_chunk: dict[str, list[Sentence]] = {}
    for sentence in sentences.values():  # a chunk that two searches found is one passage
        of_chunk.setdefault(sentence.chunk.id, []).append(sentence)
    refused = bool(contexts) and all(c.refused for c in contexts)
    return Context(question, tuple(hits.values()), tuple(s for found in of_chunk.values() for s in found), refused)


def together(usages: Sequence[Usage]) -> Usage:
    """Tokens of several generations."""
    return Usage(sum(u.prompt_tokens for u in usages), sum(u.completion_tokens for u in usages))


def with_passages(setup: Setup, context: Context) -> list[Message]:
    """The question with its passages, as the project's prompt puts it."""
    return setup.prompt("with_passages").messages(question=context.question, passages=context.text)
