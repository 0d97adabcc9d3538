"""Which models there are, and what a name stands for: Systems of the project, tuned models, the bundled one, aliases.

A name is looked up in this order: tuned models (``ft:...``), the project's Systems, its model and the bundled one, embedders,
``serve.aliases``, OpenAI's own names (``serve.openai_names``). What answers is opened elsewhere (``engines``, ``embeddings``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from groundtune import registry
from groundtune.config import AliasConfig
from groundtune.errors import GroundtuneError
from groundtune.methods._setup import ELSEWHERE, Setup
from groundtune.methods._systems import check_system, untrained_systems
from groundtune.methods._tuning import LAST, artifact, read_last
from groundtune.nn.checkpoints import BUNDLED
from groundtune.serving.errors import ApiError, no_such_model
from groundtune.serving.storage.store import Body, Store

Kind = Literal["weights", "system", "embedder", "moderation", "remote"]
#: letters of a model's name; names with wildcards would let any through, and usage is written down by name
LONGEST_NAME = 255
#: what moderates, under its own name
MODERATION = "word-lists"
#: OpenAI's names -> what answers in their place; the first that fits holds
OPENAI_NAMES: tuple[tuple[str, str], ...] = (
    ("text-embedding-*", "embedder"), ("omni-moderation-*", "moderation"), ("text-moderation-*", "moderation"),
    *((name, "model") for name in ("gpt-*", "chatgpt-*", "o1*", "o3*", "o4*", "davinci-*", "babbage-*", "curie*", "ada*")),
)  # fmt: skip
#: short names -> the snapshot that OpenAI resolves them to (observed: jobs echo it)
SNAPSHOTS = {
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18", "gpt-4o": "gpt-4o-2024-08-06", "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
    "gpt-4.1": "gpt-4.1-2025-04-14", "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14", "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Model:
    """What answers to a name.

    Attributes:
        name: as a client says it.
        kind: weights (a causal model), system, embedder, moderation, or remote (another endpoint).
        target: model name or folder, System, embedder, or the remote's name for it.
        adapter: folder of an adapter on the model ``target``.
        alias: its settings, where the name is one of ``serve.aliases``.
    """

    name: str
    kind: Kind
    target: str
    adapter: str | None = None
    alias: AliasConfig | None = None


class Catalog:
    """The models of a server.

    Args:
        setup: the project.
        store: holds tuned models (kind ``model``): ``base`` (name or folder), ``folder`` (relative to ``folder`` here),
            ``adapter`` (whether the folder is one), ``job``.
        folder: of the server; tuned weights are below it.
    """

    def __init__(self, setup: Setup, store: Store, folder: Path) -> None:
        self.setup, self.store, self.folder = setup, store, folder
        self.started = int(time.time())
        self._systems: list[Any] = [None, []]  # what was made when they were looked for, their names; shared by views

    def of(self, store: Store) -> Catalog:
        """The same as a view of the store sees it."""
        view = copy(self)
        view.store = store
        return view

    # ---------------------------------------------------------------- one

    def resolve(self, name: str, *kinds: Kind) -> Model:
        """What a name stands for.

        Args:
            kinds: what can do what is asked, such as "embedder"; none: anything.

        Raises:
            ApiError: no such model (404), or one that cannot do that (400).
        """
        found = self._find(name)
        if found is None:
            raise no_such_model(name)
        if kinds and found.kind not in (*kinds, "remote"):
            message = f"The model `{name}` cannot be used here: it is no {' or '.join(kinds)}."
            raise ApiError(400, message, param="model", code="model_not_supported")
        return found

    def trainable(self, name: str) -> tuple[str, str]:
        """The snapshot that a name stands for in jobs and ``ft:`` names, and the model it is here.

        A tuned model can be trained on: its weights are the model then, and the first part of its name the snapshot.

        Raises:
            ApiError: no such model (404: LlamaIndex asks again forever after a 400), or one that cannot be trained here.
        """
        body = self.store.get("model", name)
        if body is not None:
            if body["adapter"]:
                raise ApiError(404, f"Model {name} is an adapter, which cannot be trained on.", param="model", code="model_not_available")  # fmt: skip
            return name.split(":")[1], str(self.folder / body["folder"])
        found = self._find(name)
        if found is None or found.kind != "weights" or found.target.startswith(ELSEWHERE):
            message = f"Model {name} is not available for fine-tuning or does not exist."
            raise ApiError(404, message, param="model", code="model_not_available")
        return SNAPSHOTS.get(name, name), found.target

    def _find(self, name: str) -> Model | None:
        if len(name) > LONGEST_NAME or not name.isprintable():
            return None
        tuned = self.store.get("model", name)
        if tuned is not None:
            folder = str(self.folder / tuned["folder"])
            return Model(name, "weights", tuned["base"], folder) if tuned["adapter"] else Model(name, "weights", folder)
        own = self._own(name)
        if own is not None:
            return own
        for pattern, given in self.setup.config.serve.aliases.items():
            if fnmatchcase(name, pattern):
                alias = given if isinstance(given, AliasConfig) else AliasConfig(model=given)
                return self._aliased(name, alias)
        if self.setup.config.serve.openai_names:
            base = name.split(":")[1] if name.startswith("ft:") and name.count(":") > 1 else name
            kind = next((kind for pattern, kind in OPENAI_NAMES if fnmatchcase(base, pattern)), None)
            if kind and base == name:
                return self._standing_for(name, kind)
        return None

    def _own(self, name: str) -> Model | None:
        if name in (self.setup.config.model, BUNDLED):
            return self._weights(name, name)
        if name in self.systems():
            return Model(name, "system", name)
        if name in (*registry.names("embedders"), self.setup.config.index.embedder):
            return Model(name, "embedder", name)
        return Model(name, "moderation", name) if name == MODERATION else None

    def _weights(self, name: str, model: str) -> Model:
        """A model by folder or name; one whose weights are not on this machine answers as the System ``prompt``."""
        if model.startswith(ELSEWHERE):
            return Model(name, "system", "prompt")
        return Model(name, "weights", self.setup.resolve(model))

    def _aliased(self, name: str, alias: AliasConfig) -> Model | None:
        if alias.base_url:
            return Model(name, "remote", alias.model, alias=alias)
        whole = self.of(self.store.server)  # the config's aliases are for everybody, whosever the model is
        tuned = whole.store.get("model", alias.model)
        found = whole._find(alias.model) if tuned is not None else self._own(alias.model)
        if found is None and Path(self.setup.resolve(alias.model)).is_dir():
            found = Model(name, "weights", self.setup.resolve(alias.model))
        return Model(name, found.kind, found.target, found.adapter, alias) if found else None

    def _standing_for(self, name: str, kind: str) -> Model:
        if kind == "embedder":
            return Model(name, "embedder", self.setup.config.index.embedder)
        if kind == "moderation":
            return Model(name, "moderation", MODERATION)
        return self._weights(name, self.setup.config.model)

    # ---------------------------------------------------------------- all

    def systems(self) -> list[str]:
        """Names of the project's Systems that can answer now: what they need is made."""
        made = self.setup.workspace
        stamps = tuple(
            _stamp(path)
            for path in (
                made.path("index"),
                made.path("documents"),
                made.path("runs"),
                made.path(LAST),
                self.setup.questions_path,
            )
        )
        if self._systems[0] != stamps:
            self._systems[:] = [stamps, self._made_systems()]
        found: list[str] = self._systems[1]
        return found

    def _made_systems(self) -> list[str]:
        made = self.setup.workspace
        indexed = made.manifest("index") is not None
        tuned = read_last(made)
        there = {"questions": self.setup.questions_path.exists(), "index": indexed}
        there["documents"] = made.manifest("documents") is not None
        names = untrained_systems(lambda part: there[part])
        trained = [n for n in registry.names("methods") if made.manifest(artifact(n)) is not None]
        if tuned and tuned in trained:
            trained.append("tuned")
        for name in trained:
            names += [part for part in (name, f"{name}+rag") if _answers(part) and (indexed or "+" not in part)]
        return names

    def all(self) -> Iterator[Body]:
        """Every model by its own name, as ``/models`` lists it, aliases without ``*`` too."""
        serve = self.setup.config.serve
        for name in dict.fromkeys(
            [*self.systems(), self.setup.config.model, BUNDLED, self.setup.config.index.embedder]
        ):
            yield shown(name, self.started, serve.organization)
        yield shown(MODERATION, self.started, serve.organization)
        for name in serve.aliases:
            if "*" not in name and self._find(name) is not None:
                yield shown(name, self.started, serve.organization)
        for body in self.store.all("model"):
            yield shown(body["id"], body["created_at"], serve.organization)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _answers(name: str) -> bool:
    try:
        check_system(name)
    except GroundtuneError:
        return False
    return True


def shown(name: str, created: int, owner: str) -> dict[str, Any]:
    """A model's object."""
    return {"id": name, "object": "model", "created": created, "owned_by": owner}
