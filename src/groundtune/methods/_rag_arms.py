"""Combinations of settings as Systems: a project with some settings changed, its index in a scratch folder.

An arm whose index settings are the project's uses the project's index; every other has one of its own beside it, made from
the same documents with vectors remembered by text, so that cutting anew costs the new texts only. Leaves out which
combinations there are and how they are compared (``evaluation``).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from groundtune.config import Config, IndexConfig
from groundtune.errors import GroundtuneError
from groundtune.ingest.ingest import read_result, read_sections
from groundtune.methods._search import search
from groundtune.methods._setup import Setup
from groundtune.methods._systems import build_system, check_system
from groundtune.prompt_files import literal, prompt_names
from groundtune.records import Completion, Message
from groundtune.retrieval.embedding import identity, open_embedder
from groundtune.retrieval.index import build_index
from groundtune.retrieval.kept_vectors import KeptVectors
from groundtune.retrieval.retriever import to_source
from groundtune.system import System, question_of
from groundtune.workspace import Workspace, digest

#: folder of the searches, and within it of the indexes that a search makes
FOLDER, INDEXES = "optimize", "indexes"
#: choices that are no setting of the file: what answers, and the instruction of a prompt (``prompt.NAME``)
SYSTEM, PROMPT = "system", "prompt."
#: texts embedded to estimate a first index, and how often the index embeds each character: in its chunk, alone, behind headings
SAMPLE, TIMES = 24, 3.2


class ArmWorkspace(Workspace):
    """The project's workspace with another index.

    Args:
        project: whose documents, runs and models these are.
        place: artifact name of the other index.
    """

    def __init__(self, project: Workspace, place: str) -> None:
        super().__init__(project.root)
        self.folder, self._place = project.folder, place

    def path(self, name: str) -> Path:
        """As in :class:`Workspace`; ``index`` is the other one."""
        head, slash, rest = name.partition("/")
        return super().path(f"{self._place}{slash}{rest}" if head == "index" else name)


class Found:
    """A System that says nothing and shows what it found: for scoring retrieval without a model.

    Args:
        setup: of the arm.
    """

    name, description = "found", "what is retrieved, without an answer"

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def answer(self, messages: Sequence[Message]) -> Completion:
        """What is found for the last user message."""
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """Many; the questions are embedded together."""
        found = search(self._setup, self._setup.backend(), [question_of(c) for c in conversations])
        return [Completion("", retrieved=tuple(to_source(h, "") for h in hits)) for hits in found]


def _scratch(config: IndexConfig) -> IndexConfig:
    """The settings of an arm's own index: kept on this disk, whatever store the project has."""
    fields = IndexConfig.model_fields
    plain: dict[str, Any] = {name: fields[name].default for name in ("store", "database") if name in fields}
    return config.model_copy(update=plain)


class RagArms:
    """Builds the arms of one project.

    Args:
        setup: the project, with documents and index.
        configured: arm -> the config with its changes.
        system: what answers, where an arm does not change it.
        index_progress: (chunks done, chunks in all) while an index is made, or None.
    """

    def __init__(
        self,
        setup: Setup,
        configured: Callable[[Any], Config],
        system: str,
        index_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._setup, self._configured, self._system = setup, configured, system
        self._progress = index_progress
        self._kept: dict[str, KeptVectors] = {}
        self._per_character: dict[str, float] = {}  # embedder -> seconds

    def index_seconds(self, arm: Any) -> float:
        """About how long making the arm's index would take: an upper bound, for vectors may be known; 0 where it is there."""
        config: IndexConfig = self._configured(arm).index
        if config == self._setup.config.index or self._workspace(config).manifest("index") is not None:
            return 0.0
        if config.embedder not in self._per_character:
            self._per_character[config.embedder] = self._measured(config.embedder)
        return max(0.01, self._per_character[config.embedder] * self._characters())

    def make_index(self, arm: Any) -> Mapping[str, float]:
        """Make the arm's index; returns its chunks, the texts that had no vector yet, and seconds."""
        config: IndexConfig = self._configured(arm).index
        kept, workspace = self._vectors(config.embedder), self._workspace(config)
        before, started = kept.embedded, time.perf_counter()
        build_index(workspace, _scratch(config), progress=self._progress, embedder=kept)
        seconds = time.perf_counter() - started
        figures = (workspace.manifest("index") or {"figures": {}})["figures"]
        # the next one is no dearer: the sentences have their vectors now
        self._per_character[config.embedder] = seconds / max(1, self._characters())
        return {"chunks": figures.get("chunks", 0), "texts": kept.embedded - before, "seconds": seconds}

    def finder(self, arm: Any) -> System:
        """The arm's retrieval alone."""
        return Found(self._open(arm, remember=True))

    def answerer(self, arm: Any) -> System:
        """The arm's system, its questions embedded once for all arms."""
        return build_system(self._name(arm), self._open(arm, remember=True))

    def plain(self, arm: Any) -> System:
        """The arm's system as a user would have it."""
        return build_system(self._name(arm), self._open(arm, remember=False))

    def beside(self) -> dict[str, Any]:
        """The current values of the choices that are no settings: the system, and each prompt's instruction."""
        out: dict[str, Any] = {SYSTEM: self._system}
        for name in prompt_names():
            turns = dict(self._setup.prompt(name).turns)
            if "system" in turns:
                out[f"{PROMPT}{name}"] = turns["system"]
        return out

    def usable(self, setting: str, value: Any) -> bool:
        """Whether a value can be tried here: an embedder may not be trained or need a package, a system may not be there.

        Where no training question is without an answer, refusing can only lose, and is not tried.
        """
        if setting == "retrieval.refuse_below":
            return any(e.split == "train" and not e.answerable for e in self._setup.examples)
        try:
            if setting == "index.embedder":
                open_embedder(self._setup.workspace, value)
            if setting == SYSTEM:
                check_system(value)
        except (GroundtuneError, ImportError):
            return False
        return setting != SYSTEM or self._system == "rag"

    def clear(self) -> None:
        """Take the scratch indexes away; the vectors stay, for a search that goes on."""
        shutil.rmtree(self._setup.workspace.path(f"{FOLDER}/{INDEXES}"), ignore_errors=True)

    def _name(self, arm: Any) -> str:
        return str(arm.changes.get(SYSTEM, self._system))

    def _open(self, arm: Any, *, remember: bool) -> Setup:
        config, mine = self._configured(arm), self._setup
        workspace = self._workspace(config.index)
        if workspace is not mine.workspace:
            config = config.model_copy(update={"index": _scratch(config.index)})
        told = {n.removeprefix(PROMPT): literal(v) for n, v in arm.items if n.startswith(PROMPT)}
        setup = Setup(
            workspace,
            config,
            document=mine.document,
            passage_filter=mine.passage_filter,
            tries_settings=True,
            prompts={**mine.prompts, **{name: mine.prompt(name).told(text) for name, text in told.items()}},
            _backends=mine._backends,
        )
        if remember:
            retriever: Any = setup.retriever
            getattr(retriever, "unguarded", retriever).embedder = self._vectors(config.index.embedder)
        return setup

    def _workspace(self, config: IndexConfig) -> Workspace:
        if config == self._setup.config.index:
            return self._setup.workspace
        documents = (self._setup.workspace.manifest("documents") or {"key": ""})["key"]
        known_by = identity(self._setup.workspace, config.embedder)
        place = digest([config.model_dump(), documents, known_by])[:16]
        return ArmWorkspace(self._setup.workspace, f"{FOLDER}/{INDEXES}/{place}")

    def _vectors(self, embedder: str) -> KeptVectors:
        if embedder not in self._kept:
            name = digest(identity(self._setup.workspace, embedder))[:16]
            path = self._setup.workspace.path(f"{FOLDER}/vectors-{name}.sqlite")
            self._kept[embedder] = KeptVectors(open_embedder(self._setup.workspace, embedder), path)
        return self._kept[embedder]

    def _sections(self) -> list[str]:
        if not hasattr(self, "_texts"):
            folder = self._setup.workspace.path("documents")
            documents = read_result(self._setup.workspace).documents
            self._texts = [s.text for d in documents for s in read_sections(folder, d)]
        return self._texts

    def _characters(self) -> int:
        return sum(map(len, self._sections()))

    def _measured(self, embedder: str) -> float:
        """Seconds a character of the documents, from a sample of them."""
        opened = open_embedder(self._setup.workspace, embedder)
        texts = self._sections()
        sample = [t[:600] for t in texts[:: max(1, len(texts) // SAMPLE)] if t][:SAMPLE]
        if not sample:
            return 0.0
        opened.embed(sample[:1])  # opening is no part of it
        started = time.perf_counter()
        opened.embed(sample)
        return TIMES * (time.perf_counter() - started) / sum(map(len, sample))
