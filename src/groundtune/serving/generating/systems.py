"""The project's Systems as models: built once, asked in threads, generating through the shared engines.

How a request wants tokens to be chosen reaches the backend through a context variable, since a System's ``answer`` knows only
messages. A System is built anew when what it is made of (index, trained weights) was made anew.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from groundtune.dataset.render import render_prompt
from groundtune.generation.engine import Piece
from groundtune.generation.sampling import Sampling
from groundtune.generation.writing import Token
from groundtune.methods._setup import Backend, SamplingBackend, Setup
from groundtune.methods._systems import build_system
from groundtune.nn.adapters.files import read_adapter
from groundtune.prompt_files import FOLDER
from groundtune.records import Generation, Message, Usage
from groundtune.retrieval.calibrated import ARTIFACT as CALIBRATION
from groundtune.serving.catalog import Model
from groundtune.serving.generating.engines import AnyWriting, Engines
from groundtune.system import System

_ELSEWHERE = ("echo:", "openai:")
#: adapters that are no part of the weights: models with them write through their own backend
_BESIDE = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT", "BOTTLENECK")


@dataclass
class Asked:
    """What a request wants of every generation while a System answers it.

    Attributes:
        changes: fields of ``Sampling`` that it names.
        gone: set when nobody waits any more.
        live: gets each piece as it is written.
        generated: the tokens of every generation so far.
        ignored: whether a backend wrote that cannot heed ``changes``.
        finish: why the last generation ended.
    """

    changes: dict[str, Any]
    gone: threading.Event = field(default_factory=threading.Event)
    live: Callable[[Piece], None] | None = None
    generated: list[tuple[Token, ...]] = field(default_factory=list)
    ignored: bool = False
    finish: str = "stop"


ASKED: ContextVar[Asked | None] = ContextVar("asked", default=None)


class Gone(Exception):
    """Nobody waits for this answer any more."""


class EngineBackend:
    """A backend (:class:`groundtune.methods._setup.Backend`) that writes through a shared engine; greedy unless asked otherwise."""

    def __init__(self, engines: Engines, model: Model) -> None:
        self._engines, self._model, self.name = engines, model, model.target
        with engines.lease(model) as held:
            self.tokenizer, self.context_tokens = held.engine.tokenizer, held.engine.context_tokens

    def generate(self, messages: Sequence[Message], *, max_tokens: int = 32) -> Generation:
        """One answer."""
        return self.generate_batch([messages], max_tokens=max_tokens)[0]

    def count_tokens(self, text: str) -> int:
        """Tokens of a text in this model's vocabulary."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def generate_batch(
        self, conversations: Sequence[Sequence[Message]], *, max_tokens: int = 32, batch_size: int = 16
    ) -> list[Generation]:
        """Answers to many conversations, in their order."""
        return self._written(conversations, max_tokens, [{}] * len(conversations))

    def sample_batch(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        temperature: float,
        seeds: Sequence[int],
        max_tokens: int = 32,
    ) -> list[Generation]:
        """Answers drawn at a temperature, whatever the request asked: it is the System's way to one answer."""
        return self._written(conversations, max_tokens, [{"temperature": temperature, "seed": s} for s in seeds])

    def _written(
        self, conversations: Sequence[Sequence[Message]], max_tokens: int, changes: Sequence[dict[str, Any]]
    ) -> list[Generation]:
        asked = ASKED.get() or Asked({})
        with self._engines.lease(self._model) as held:
            under_way = [
                _Generating(held.engine, held.adapter, self._prompt(c, max_tokens), max_tokens, asked, own)
                for c, own in zip(conversations, changes, strict=True)
            ]
            try:
                return [one.wait(asked) for one in under_way]
            except Gone:
                for one in under_way:
                    one.writing.cancel()
                raise

    def _prompt(self, messages: Sequence[Message], max_tokens: int) -> list[int]:
        prompt = render_prompt(self.tokenizer, messages)
        limit = self.context_tokens - max_tokens
        return prompt if len(prompt) <= limit else [*prompt[: limit // 2], *prompt[-(limit - limit // 2) :]]


class _Generating:
    """One generation under way."""

    def __init__(
        self,
        engine: Any,
        adapter: str | None,
        prompt: list[int],
        max_tokens: int,
        asked: Asked,
        own: dict[str, Any],
    ) -> None:
        self._pieces: queue.SimpleQueue[Piece] = queue.SimpleQueue()
        wanted = int(asked.changes.get("max_tokens", max_tokens))
        room = {"max_tokens": min(wanted, engine.context_tokens - len(prompt))}
        sampling = Sampling(**{"temperature": 0.0, **asked.changes, **own, **room})
        self._prompt = prompt
        self.writing: AnyWriting = engine.submit(prompt, sampling, self._pieces.put, adapter=adapter)

    def wait(self, asked: Asked) -> Generation:
        """The answer, when it is there."""
        text = ""
        tokens: list[Token] = []
        while True:
            try:
                piece = self._pieces.get(timeout=0.1)
            except queue.Empty:
                if asked.gone.is_set():
                    raise Gone from None
                continue
            if piece.error is not None:
                raise piece.error
            text, tokens = text + piece.text, [*tokens, *piece.tokens]
            if asked.live and piece.text:
                asked.live(piece)
            if asked.gone.is_set():
                raise Gone
            if piece.finish:
                break
        asked.generated.append(tuple(tokens))
        asked.finish = piece.finish
        usage = Usage(len(self._prompt), len(self.writing.written))
        return Generation(text.strip(), tuple(token.logprob for token in tokens), usage)


class _SlowBackend:
    """A backend of another kind, which writes greedily whatever was asked; says so."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def generate_batch(self, *args: Any, **kwargs: Any) -> list[Generation]:
        """Answers; see :class:`groundtune.methods._setup.Backend`."""
        asked = ASKED.get()
        if asked is not None:
            asked.ignored = True
            kwargs["max_tokens"] = asked.changes.get("max_tokens", kwargs.get("max_tokens", 32))
        return self._backend.generate_batch(*args, **kwargs)


class ServedSetup(Setup):
    """A project whose models are the server's engines."""

    engines: Engines

    def backend(self, model: str | None = None, adapter: str | None = None) -> SamplingBackend:
        """The backend of a model, opened once."""
        model = self.resolve(model or self.config.model)
        if model.startswith(_ELSEWHERE) or (adapter and read_adapter_kind(adapter) in _BESIDE):
            slow: Any = _SlowBackend(super().backend(model, adapter))
            return slow  # type: ignore[no-any-return]
        made: SamplingBackend = EngineBackend(self.engines, Model(model, "weights", model, adapter))
        return made


def read_adapter_kind(folder: str) -> str:
    """PEFT's name for the kind of an adapter."""
    from pathlib import Path

    return read_adapter(Path(folder)).kind


class Systems:
    """The project's Systems, each built once for what it is made of."""

    def __init__(self, setup: Setup, engines: Engines) -> None:
        self._setup, self._engines = setup, engines
        self._built: dict[str, tuple[Any, System]] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> System:
        """A System.

        Raises:
            UnknownNameError, MissingArtifactError: as :func:`groundtune.methods._systems.build_system`.
        """
        with self._lock:
            made_of = self._made_of()
            found = self._built.get(name)
            if found is None or found[0] != made_of:
                setup = ServedSetup(self._setup.workspace, self._setup.config)
                setup.engines = self._engines
                found = (made_of, build_system(name, setup))
                self._built[name] = found
            return found[1]

    def _made_of(self) -> Any:
        """When the documents, the index, its calibration and every run were made."""
        workspace = self._setup.workspace
        manifests = [workspace.path(name) / "manifest.json" for name in ("documents", "index", CALIBRATION)]
        manifests.append(workspace.path("tuned.json"))
        manifests += sorted(workspace.path("runs").glob("*/manifest.json"))
        manifests += sorted((workspace.root / FOLDER).glob("*.txt"))  # prompts, read when a System is built
        return [(str(m), m.stat().st_mtime_ns) for m in manifests if m.exists()]
