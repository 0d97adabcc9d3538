"""Models in memory: opened when first asked for, shared by all requests, let go when others need the room.

Adapters that can stand beside their base share one copy of it (``generation.shared_adapters``). A request holds a model by a
lease while it is answered; what nobody holds and nobody asked for longest goes first.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from groundtune.config import ServeConfig
from groundtune.errors import InputError
from groundtune.generation.engine import Engine, Writing
from groundtune.generation.shared_adapters import can_share
from groundtune.generation.vllm import RemoteWriting, VllmEngine
from groundtune.nn.checkpoints import model_path, open_for_answering
from groundtune.serving.catalog import Model

#: what writes with a model's weights
AnyEngine = Engine | VllmEngine
AnyWriting = Writing | RemoteWriting
#: (folder or name, adapter to merge) -> what writes
OpenEngine = Callable[[str, str | None], AnyEngine]


def opener(config: ServeConfig, folder: Path) -> OpenEngine:
    """How the models of a server are opened.

    Args:
        folder: of the server, for logs.
    """

    def local(path: str, adapter: str | None) -> AnyEngine:
        model, tokenizer = open_for_answering(path, adapter=adapter)
        return Engine(model, tokenizer, sequences=config.concurrency)

    def vllm(path: str, adapter: str | None) -> AnyEngine:
        if adapter is not None:
            raise InputError(f"{adapter}: vLLM loads LoRA adapters only", next_step="serve it with --backend local")
        log = folder / f"vllm-{Path(path).name}.log"
        return VllmEngine(path, sequences=config.concurrency, log=log, arguments=config.vllm_arguments)

    return vllm if config.backend == "vllm" else local


@dataclass(slots=True)
class _Loaded:
    engine: AnyEngine
    used: float = 0.0
    leases: Counter[str] = field(default_factory=Counter)  # of each adapter; "": of the base itself


@dataclass(frozen=True, slots=True)
class Lease:
    """A model that stays in memory while this is held.

    Attributes:
        engine: what writes.
        adapter: the adapter's name in it, or None: the base itself, or weights that the adapter is merged into.
    """

    engine: AnyEngine
    adapter: str | None


class Engines:
    """The models in memory.

    Args:
        most: how many are kept; more only while requests hold them.
        open_engine: opens the weights of a folder or name, with an adapter merged into them or None.
        after_step: told after every step of any of them.
    """

    def __init__(self, *, most: int, open_engine: OpenEngine, after_step: Callable[[], None]) -> None:
        self._most, self._open_engine, self._after_step = most, open_engine, after_step
        self._loaded: dict[tuple[str, str | None], _Loaded] = {}
        self._forgotten: set[str] = set()
        self._lock, self._opening = threading.Lock(), threading.Lock()

    @contextmanager
    def lease(self, model: Model) -> Iterator[Lease]:
        """Hold a model of the kind ``weights``, opening it if need be.

        Raises:
            InputError: it cannot be opened.
        """
        loaded, adapter = self._hold(model)
        try:
            yield Lease(loaded.engine, adapter)
        finally:
            with self._lock:
                loaded.leases[adapter or ""] -= 1
                loaded.used = time.monotonic()
                left = bool(self._forgotten) or len(self._loaded) > self._most
            if left and self._opening.acquire(blocking=False):  # else whoever opens or ends next does it
                try:
                    self._let_go()
                finally:
                    self._opening.release()

    def _hold(self, model: Model) -> tuple[_Loaded, str | None]:
        base, shared = model_path(model.target), None
        if model.adapter and can_share(Path(model.adapter)):
            shared = model.adapter
        key = (base, None if shared else model.adapter)
        with self._opening:  # one at a time: two that open the same would both take its memory
            with self._lock:
                found = self._loaded.get(key)
                if found:
                    found.leases[shared or ""] += 1
            if found is None:
                self._let_go(coming=1)
                found = _Loaded(self._open_engine(base, key[1]), leases=Counter({shared or "": 1}))
                found.engine.after_step.append(self._after_step)
                with self._lock:
                    self._loaded[key] = found
            if shared:
                try:
                    found.engine.add_adapter(shared, Path(shared))
                except BaseException:
                    with self._lock:
                        found.leases[shared] -= 1
                    raise
        return found, shared

    def forget(self, folder: str) -> None:
        """Let go of weights or an adapter that was deleted, as soon as no request holds them."""
        with self._lock:
            self._forgotten.add(folder)
        with self._opening:
            self._let_go()

    def _let_go(self, *, coming: int = 0) -> None:
        """Close what was deleted or is one too many, as far as nobody holds it; ``_opening`` is held, so nobody can begin to.

        Args:
            coming: models that room is made for, besides those that are there.
        """
        with self._lock:
            idle = sorted((own.used, str(key), key) for key, own in self._loaded.items() if not own.leases.total())
            over = len(self._loaded) + coming - self._most
            gone = [key for n, (_, _, key) in enumerate(idle) if n < over or self._forgotten & {*key}]
            closing = [self._loaded.pop(key) for key in gone]
            adapters = [
                (own.engine, name) for own in self._loaded.values() for name in self._forgotten if not own.leases[name]
            ]
            held = {name for own in self._loaded.values() for name in own.leases if own.leases[name]}
            self._forgotten &= held | {part for key in self._loaded for part in key if part}
        for loaded in closing:
            loaded.engine.close()
        for engine, name in adapters:
            engine.remove_adapter(name)

    @property
    def load(self) -> tuple[int, int, int]:
        """Models in memory, sequences that are written now, sequences that wait."""
        with self._lock:
            loads = [own.engine.load for own in self._loaded.values()]
        return len(loads), sum(active for active, _ in loads), sum(waiting for _, waiting in loads)

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            gone, self._loaded = list(self._loaded.values()), {}
        for loaded in gone:
            loaded.engine.close()
