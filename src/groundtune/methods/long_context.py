"""Every document in the prompt, where they fit, with what that costs: no retrieval, so nothing can be missed, at a price.

Liu et al., "Lost in the Middle: How Language Models Use Long Contexts" (TACL 2024), found that models read the ends of a
long prompt best; the question therefore stands on both sides of the documents. Where the documents do not fit it answers
that they do not, with both figures, instead of leaving something out. ``--document`` puts in a single one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from groundtune.ingest.ingest import read_result, read_sections
from groundtune.methods._setup import Setup
from groundtune.methods._sources import Written, completed
from groundtune.records import Chunk, Completion, Message
from groundtune.retrieval.filters import parse_filter
from groundtune.retrieval.index import chunk_sentences
from groundtune.retrieval.retriever import Hit, Sentence
from groundtune.system import System, question_of

#: what must be made first
NEEDS = ("documents",)

#: sentences that are held against an answer, to find its sources: every document was read
NEAR = 24
#: tokens that a chat template puts around a turn, at most
_AROUND = 8


class LongContext:
    """Reads everything before it answers.

    Args:
        setup: the project.
    """

    name = "long_context"

    def __init__(self, setup: Setup) -> None:
        self._setup, self._backend = setup, setup.backend()
        what = setup.document or f"all {len(self._documents)} documents"
        self.description = f"{what} in the prompt: {self.tokens:,} tokens a question"
        if self.tokens > self._room:
            self.description += f", more than the {self._room:,} that fit"

    @cached_property
    def _documents(self) -> dict[str, list[Chunk]]:
        """Every document's sections that fit ``retrieval.where``, past the guards."""
        result, only = read_result(self._setup.workspace), self._setup.document
        where = self._setup.config.retrieval.where
        wanted = parse_filter(where) if where else None
        out: dict[str, list[Chunk]] = {}
        for document in result.documents:
            if only in (None, document.path):
                chunks = [
                    Chunk(
                        f"{document.id}-section-{n}", document.id, document.path, s.text, s.page, s.row, s.heading,
                        document.media_type, document.language,
                    )
                    for n, s in enumerate(read_sections(result.folder, document))
                ]  # fmt: skip
                fitting = [c for c in chunks if wanted is None or wanted.fits(c)]
                out[document.path] = self._setup.passage_filter(fitting)
        return out

    @cached_property
    def _text(self) -> str:
        return "\n\n".join(rendered(path, chunks) for path, chunks in self._documents.items() if chunks)

    @cached_property
    def tokens(self) -> int:
        """Tokens of all documents, as the model counts."""
        return self._backend.count_tokens(self._text)

    @property
    def _room(self) -> int:
        """Tokens that the model can read beside the answer."""
        return self._backend.context_tokens - self._setup.config.answer.max_tokens

    def answer(self, messages: Sequence[Message]) -> Completion:
        """Answer the last user message."""
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """Many answers, each with the whole of the documents before it."""
        prompt = self._setup.prompt("long_context")
        questions = [question_of(c) for c in conversations]
        sizes = [self._size(prompt.messages(question=q, documents="")) + self.tokens for q in questions]
        fitting = [n for n, size in enumerate(sizes) if size <= self._room]
        asked = [prompt.messages(question=questions[n], documents=self._text) for n in fitting]
        written = self._backend.generate_batch(asked, max_tokens=self._setup.config.answer.max_tokens, batch_size=1)
        done = dict(zip(fitting, written, strict=True))
        out = []
        for n, size in enumerate(sizes):
            if n not in done:
                out.append(Completion(self._too_long(size), abstained=True))
                continue
            g = done[n]
            made = Completion(g.text, logprobs=g.logprobs, usage=g.usage)
            out.append(
                completed(
                    made, Written(g.text, questions[n], self._near(g.text, questions[n]), self._hits), self._setup
                )
            )
        return out

    def _size(self, messages: Sequence[Message]) -> int:
        return sum(self._backend.count_tokens(m.content) + _AROUND for m in messages)

    def _too_long(self, size: int) -> str:
        return (
            f"The documents do not fit: with the question they are {size:,} tokens, and {self._setup.config.model} reads "
            f"{self._room:,}. Ask about one of them (--document), or use a system that searches, such as rag."
        )

    def _near(self, answer: str, question: str) -> list[Sentence]:
        """The sentences that an answer may rest on: those that share most of its words, then of the question's."""
        said, asked = (set(re.findall(r"\w+", text.lower())) for text in (answer, question))

        def shared(sentence: Sentence) -> tuple[int, int]:
            own = set(re.findall(r"\w+", sentence.text.lower()))
            return len(own & said), len(own & asked)

        return sorted(self._sentences, key=shared, reverse=True)[:NEAR]

    @cached_property
    def _hits(self) -> list[Hit]:
        return [Hit(c, 0.0, ()) for chunks in self._documents.values() for c in chunks]

    @cached_property
    def _sentences(self) -> list[Sentence]:
        return [
            Sentence(text, hit.chunk, 0.0, rank, position)
            for rank, hit in enumerate(self._hits)
            for position, text in enumerate(chunk_sentences(hit.chunk))
        ]


def rendered(path: str, chunks: Sequence[Chunk]) -> str:
    """A document as it stands in the prompt: its name, then its sections behind their headings."""
    parts, heading = [f"# {path}"], ""
    for chunk in chunks:
        if chunk.heading and chunk.heading != heading:
            parts.append(f"## {chunk.heading}")
        heading = chunk.heading
        parts.append(chunk.text)
    return "\n".join(parts)


def build(setup: Setup) -> System:
    """The System ``long_context``.

    Raises:
        MissingArtifactError: nothing was ingested; said before a model is loaded.
    """
    setup.workspace.need("documents", next_step="groundtune ingest")
    return LongContext(setup)
