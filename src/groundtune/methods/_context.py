"""Question to context to cited answer: what the systems that search share besides the search itself.

A :class:`Context` is what one question found and what of it a model reads; :func:`answered` makes the Completion of an
answer that rests on it, or refuses where the retriever does. A refused
question is put to no model (:func:`unless_refused`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from groundtune.config import RetrievalConfig
from groundtune.dataset.prompts import ABSTENTION, numbered
from groundtune.methods._search import search
from groundtune.methods._setup import Backend, Setup
from groundtune.methods._sources import Written, all_with_sources, applied
from groundtune.nn.checkpoints import BUNDLED
from groundtune.records import Completion, Generation, Message, Usage
from groundtune.retrieval.retriever import Hit, Sentence, rank_sentences, to_source, valid_versions

#: sentences in the prompt; for pebble chosen on the example's training questions (F1 0.25 with 1, 0.20 with 2, 0.19 with 3)
SENTENCES, SENTENCES_BUNDLED = 12, 1


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
    return _sourced(setup, [context], [_bare(context, text, generation, usage)])[0]


def _bare(context: Context, text: str, generation: Generation | None, usage: Usage | None) -> Completion:
    """An answer without its sources, or the abstention."""
    return Completion(
        ABSTENTION if context.refused else text,
        retrieved=tuple(to_source(h, "") for h in context.hits),
        logprobs=generation.logprobs if generation and not context.refused else (),
        usage=usage or (generation.usage if generation else Usage()),
    )


def _sourced(setup: Setup, contexts: Sequence[Context], made: Sequence[Completion]) -> list[Completion]:
    answers = [Written(m.text, c.question, c.sentences, c.hits) for c, m in zip(contexts, made, strict=True)]
    return [applied(m, s) for m, s in zip(made, all_with_sources(answers, setup), strict=True)]


def all_answered(setup: Setup, contexts: Sequence[Context], written: Sequence[Generation]) -> list[Completion]:
    """As :func:`answered`, of many answers that are what a model wrote: their sources are looked for together."""
    return _sourced(setup, contexts, [_bare(c, g.text, g, None) for c, g in zip(contexts, written, strict=True)])


def unless_refused(
    contexts: Sequence[Context], generate: Callable[[list[Context]], list[Generation]]
) -> list[Generation]:
    """What a model writes for each context: it is not asked where the retriever refuses.

    Args:
        generate: the model, for the contexts that are left.
    """
    asked = [c for c in contexts if not c.refused]
    written = iter(generate(asked) if asked else [])
    return [Generation(ABSTENTION) if c.refused else next(written) for c in contexts]


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
