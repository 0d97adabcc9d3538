"""A backend that follows a script and keeps its prompts, and a retriever over a few chunks, for tests of prompting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from groundtune.backends.echo import EchoBackend
from groundtune.config import Config
from groundtune.dataset.examples import write_examples
from groundtune.methods._setup import Setup
from groundtune.records import Chunk, Example, Generation, Message, Usage
from groundtune.retrieval.retriever import Hit
from groundtune.workspace import Workspace

#: (chunk id, document, page, row, sentences)
CHUNKS = (
    ("d1-0", "fees.pdf", 4, None, ("A yearly card costs 48 crowns.", "It is valid for a year.")),
    ("d2-0", "hours.txt", None, None, ("The hall opens at 9:30.", "The hall is shut on Friday.")),
    ("d3-0", "boats.csv", None, 1, ("item: kayak; price: 17 crowns; deposit: 80 crowns",)),
    ("d3-1", "boats.csv", None, 2, ("item: canoe; price: 31 crowns; deposit: 60 crowns",)),
    ("d3-2", "boats.csv", None, 3, ("item: rowing boat; price: 23 crowns; deposit: 95 crowns",)),
)
EXAMPLES = (
    Example("1", "card", "train", "What does a yearly card cost?", ("48 crowns",)),
    Example("2", "hall", "train", "When does the hall open?", ("9:30",)),
    Example("3", "shut", "train", "On which day is the hall shut?", ("Friday",)),
    Example("4", "moon", "train", "How far is the moon?", ("very far",)),
    Example("5", "kayak", "held_out_facts", "How much is a kayak?", ("17 crowns",)),
)


class Scripted(EchoBackend):
    """Says what it is told to.

    Args:
        says: replies in their order, the last one over and over; or (prompt) -> reply.
    """

    def __init__(self, says: Sequence[str] | Callable[[list[Message]], str]) -> None:
        super().__init__("")
        self.name = "scripted"
        self._says = says
        self.prompts: list[list[Message]] = []
        self.sampled: list[tuple[float, int]] = []

    def generate_batch(self, conversations: Any, *, max_tokens: int = 32, batch_size: int = 16) -> list[Generation]:
        out = []
        for messages in conversations:
            self.prompts.append(list(messages))
            if callable(self._says):
                text = self._says(list(messages))
            else:
                text = self._says[min(len(self.prompts), len(self._says)) - 1]
            out.append(Generation(text, (-0.5,), Usage(10, 2)))
        return out

    def sample_batch(
        self, conversations: Any, *, temperature: float, seeds: Sequence[int], max_tokens: int = 32
    ) -> list[Generation]:
        self.sampled += [(temperature, seed) for seed in seeds]
        return self.generate_batch(conversations, max_tokens=max_tokens)

    def said(self, number: int = -1) -> str:
        """A prompt as text, its turns one below the other."""
        return "\n".join(f"[{m.role}] {m.content}" for m in self.prompts[number])


class WordRetriever:
    """Finds the chunks that share most words with what is asked; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refused: set[str] = set()
        self.store = self

    def chunks(self) -> list[Chunk]:
        return [
            Chunk(id_, id_.partition("-")[0], document, " ".join(sentences), page, row)
            for id_, document, page, row, sentences in CHUNKS
        ]

    def embed_all(self, texts: list[str]) -> None:
        """Nothing to embed."""

    def refuses(self, question: str, hits: Any) -> bool:
        return question in self.refused

    def retrieve(self, question: str, *, document: str | None = None, also: Sequence[str] = ()) -> list[Hit]:
        self.asked += [question, *also]
        hits = []
        for chunk, (*_, sentences) in zip(self.chunks(), CHUNKS, strict=True):
            wanted = set().union(*map(words, (question, *also)))
            shares = tuple((s, len(words(s) & wanted) / 10) for s in sentences)
            if any(share for _, share in shares) and document in (None, chunk.document):
                hits.append(Hit(chunk, max(share for _, share in shares), shares))
        return sorted(hits, key=lambda h: (-h.score, h.chunk.id))[:3]


def words(text: str) -> set[str]:
    return set(text.lower().replace(";", " ").replace(":", " ").strip("?.").split()) - {"the", "is", "a", "it"}


def scripted_setup(folder: Path, says: Any, **config: Any) -> tuple[Setup, Scripted]:
    """A project whose model follows a script."""
    write_examples(folder / "questions.jsonl", EXAMPLES)
    # guards look at answers of their own: tests/guardrails
    setup = Setup(Workspace(folder), Config(**{"model": "echo:scripted", "guards": False, **config}))
    backend = Scripted(says)
    setup._backends[("echo:scripted", None)] = backend
    setup.retriever = WordRetriever()  # type: ignore[assignment]
    return setup, backend
