"""What methods are built from: the workspace, the config, and the parts they share, each opened on first use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

from groundtune import registry
from groundtune.config import Config
from groundtune.dataset.examples import read_examples
from groundtune.dataset.prompts import abstains, closed_book
from groundtune.methods._guards import guarded_retriever
from groundtune.prompt_files import PromptFile, read_prompt_file
from groundtune.records import Chunk, Completion, Example, Generation, Message
from groundtune.retrieval.calibrated import stored
from groundtune.retrieval.embedding import embedder_of_index
from groundtune.retrieval.reranking import open_reranker
from groundtune.retrieval.retriever import Retriever
from groundtune.system import question_of
from groundtune.workspace import Workspace

#: beginnings of names that are no model of this machine
ELSEWHERE = ("echo:", "openai:")
#: of a language model's order of ten passages
RERANK_TOKENS = 64


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


class SamplingBackend(Backend, Protocol):
    """A backend that can draw its answers, too."""

    def sample_batch(
        self, conversations: Any, *, temperature: float, seeds: Sequence[int], max_tokens: int = 32
    ) -> list[Generation]:
        """Answers drawn at a temperature, one for each conversation and its seed; the same in any batch."""
        ...


@dataclass
class Setup:
    """The parts of one project.

    Attributes:
        document: the only document that may be looked at; None: all.
        passage_filter: what every text of the documents passes that reaches a model by another way than the retriever
            (table rows, whole documents): chunks in, chunks out, fewer or with other text.
        prompts: used instead of the files of these names: how a prompt is tried.
        tries_settings: the settings are not the project's own: a calibration that was made for those does not count.
    """

    workspace: Workspace
    config: Config
    document: str | None = None
    passage_filter: Callable[[list[Chunk]], list[Chunk]] = lambda chunks: chunks
    prompts: dict[str, PromptFile] = field(default_factory=dict)
    tries_settings: bool = False
    _backends: dict[tuple[str, str | None], SamplingBackend] = field(default_factory=dict)

    @cached_property
    def retriever(self) -> Retriever:
        """The retriever over the built index, behind the project's guard."""
        folder = self.workspace.need("index", next_step="groundtune index")
        embedder = embedder_of_index(self.workspace, self.config.index)
        settings = self.config.retrieval
        reranker = None
        if settings.reranker:
            reranker = open_reranker(settings.reranker, root=self.workspace.root, generate=self._generate)
        known = stored(self.workspace, settings, must_fit=not self.tries_settings)
        made = Retriever(folder, self.config.index, settings, embedder, reranker=reranker, calibration=known)
        return cast(Retriever, guarded_retriever(self, made))

    def _generate(self, prompts: Sequence[str]) -> list[str]:
        """What the project's model writes for prompts: for a reranker that asks one."""
        asked = [[Message("user", p)] for p in prompts]
        written = self.backend().generate_batch(asked, max_tokens=RERANK_TOKENS)
        return [g.text for g in written]

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

    def prompt(self, name: str) -> PromptFile:
        """A prompt, in the project's own wording where it has one.

        Raises:
            InputError: the project's file cannot be used.
        """
        return self.prompts.get(name) or read_prompt_file(self.workspace.root, name)

    def training_examples(self) -> list[Example]:
        """The examples of the split ``train`` that have an answer."""
        return [e for e in self.examples if e.split == "train" and e.references]

    def backend(self, model: str | None = None, adapter: str | None = None) -> SamplingBackend:
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
