"""What methods are built from: the workspace, the config, and the parts they share, each opened on first use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

from groundtune import registry
from groundtune.config import Config
from groundtune.dataset.examples import read_examples
from groundtune.dataset.prompts import abstains, closed_book
from groundtune.methods._guards import guarded_retriever
from groundtune.records import Completion, Example, Generation, Message
from groundtune.retrieval.embedding import embedder_of_index
from groundtune.retrieval.retriever import Retriever
from groundtune.system import question_of
from groundtune.workspace import Workspace

#: beginnings of names that are no model of this machine
ELSEWHERE = ("echo:", "openai:")


class Backend(Protocol):
    """What generates (:mod:`groundtune.backends`)."""

    name: str
    context_tokens: int

    def generate(self, messages: Any, *, max_tokens: int = 32) -> Generation:
        """One answer."""
        ...

    def generate_batch(self, conversations: Any, *, max_tokens: int = 32, batch_size: int = 16) -> list[Generation]:
        """Answers to many conversations."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text."""
        ...


@dataclass
class Setup:
    """The parts of one project."""

    workspace: Workspace
    config: Config
    document: str | None = None
    _backends: dict[tuple[str, str | None], Backend] = field(default_factory=dict)

    @cached_property
    def retriever(self) -> Retriever:
        """The retriever over the built index, behind the project's guard."""
        folder = self.workspace.need("index", next_step="groundtune index")
        embedder = embedder_of_index(self.workspace, self.config.index)
        made = Retriever(folder, self.config.index, self.config.retrieval, embedder)
        return cast(Retriever, guarded_retriever(self, made))

    @cached_property
    def examples(self) -> list[Example]:
        """Every example of the questions file."""
        return read_examples(self.questions_path)

    @property
    def questions_path(self) -> Path:
        """Where the questions are; where there is no file of the default name, a CSV of that name will do."""
        path = self.workspace.root / self.config.questions
        table = path.with_suffix(".csv")
        return table if path.name == "questions.jsonl" and table.exists() and not path.exists() else path

    def training_examples(self) -> list[Example]:
        """The examples of the split ``train`` that have an answer."""
        return [e for e in self.examples if e.split == "train" and e.references]

    def backend(self, model: str | None = None, adapter: str | None = None) -> Backend:
        """The backend of a model (default: the config's), opened once."""
        model = self.resolve(model or self.config.model)
        key = (model, adapter)
        if key not in self._backends:
            kind = {"echo": "echo", "openai": "openai_compatible"}.get(model.partition(":")[0], "local")
            self._backends[key] = registry.get("backends", kind).open_backend(model, adapter)
        return self._backends[key]

    def resolve(self, model: str) -> str:
        """A model folder relative to the project becomes absolute; names stay."""
        folder = self.workspace.root / model
        return str(folder) if not model.startswith(ELSEWHERE) and folder.is_dir() else model


class ClosedBook:
    """A backend asked without passages: base of ``prompt``, ``few_shot``, ``tuned`` and ``scratch``.

    Args:
        name, description: as every System's.
        backend: what generates.
        max_tokens: most tokens of an answer.
        shots: worked (question, answer) turns before the question.
        ask: how a question is put; default: as every method puts it, ``shots`` before it.
    """

    def __init__(
        self,
        name: str,
        description: str,
        backend: Backend,
        *,
        max_tokens: int,
        shots: tuple[tuple[str, str], ...] = (),
        ask: Callable[[str], list[Message]] | None = None,
    ) -> None:
        self.name, self.description = name, description
        self._backend, self._max_tokens = backend, max_tokens
        self._ask = ask or (lambda question: closed_book(question, shots))

    def answer(self, messages: Any) -> Any:
        """Answer the last user message."""
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Any) -> Any:
        """Answer many."""
        prompts = [self._ask(question_of(c)) for c in conversations]
        written = self._backend.generate_batch(prompts, max_tokens=self._max_tokens)
        return [Completion(g.text, abstains(g.text), logprobs=g.logprobs, usage=g.usage) for g in written]
