"""Forward passes for the engine: of many sequences over one slot cache, or, where a model cannot, of one after the other.

Whether a model can is tried when it is loaded: its logits over the slots are compared with those of its own forward pass.
Legend: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any, Protocol

import torch
from transformers import DynamicCache

from groundtune.generation.shared_adapters import SharedAdapters
from groundtune.generation.slots import SlotCache

#: largest difference of a logit, in standard deviations of the logits, that is rounding
TOLERANCE = 1e-3
#: a slot's room grows by so many tokens
_STEP = 128


class Runner(Protocol):
    """What the engine asks for logits."""

    adapters: SharedAdapters

    @property
    def can_reuse(self) -> bool:
        """Whether what one slot holds can be given to another."""
        ...

    @property
    def bytes_per_token(self) -> int:
        """Of one slot's cache; 0 where nobody knows, or not yet."""
        ...

    def room(self, slots: int, length: int) -> None:
        """Make room for so many sequences of so many tokens."""
        ...

    def prompt(self, slot: int, ids: Sequence[int], start: int, adapter: str | None, *, every: bool) -> torch.Tensor:
        """Read tokens into a slot from place ``start`` on; logits (T or 1, V) after them, all or the last."""
        ...

    def prompts(
        self, first: int, rows: Sequence[Sequence[int]], starts: Sequence[int], adapters: Sequence[str | None]
    ) -> torch.Tensor:
        """Read tokens into slots from the ``first`` on, each from its own place on; logits (B, V) after the last of each."""
        ...

    def step(self, ids: Sequence[int], places: Sequence[int], adapters: Sequence[str | None]) -> torch.Tensor:
        """One token into each of the first slots; logits (B, V)."""
        ...

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy a slot's first tokens to another."""
        ...

    def swap(self, left: int, right: int, length: int) -> None:
        """Let two slots change places."""
        ...


class SlotRunner:
    """All sequences in one forward pass."""

    can_reuse = True

    def __init__(self, model: Any) -> None:
        self.model, self.adapters = model, SharedAdapters(model)
        self.cache = SlotCache(model.config.get_text_config().num_hidden_layers)

    @property
    def bytes_per_token(self) -> int:
        """Of one slot's cache."""
        return self.cache.bytes_per_token

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy a slot's first tokens to another."""
        self.cache.copy(source, target, length)

    def swap(self, left: int, right: int, length: int) -> None:
        """Let two slots change places."""
        self.cache.swap(left, right, length)

    def room(self, slots: int, length: int) -> None:
        """Make room for so many sequences of so many tokens."""
        self.cache.room(slots, -(-length // _STEP) * _STEP)

    def prompt(self, slot: int, ids: Sequence[int], start: int, adapter: str | None, *, every: bool) -> torch.Tensor:
        """See :class:`Runner`."""
        places_1T = torch.arange(start, start + len(ids))[None]
        self.adapters.use([adapter])
        return self._forward(slot, slot + 1, torch.tensor([list(ids)]), places_1T, places_1T, 0 if every else 1)[0]

    def prompts(
        self, first: int, rows: Sequence[Sequence[int]], starts: Sequence[int], adapters: Sequence[str | None]
    ) -> torch.Tensor:
        """See :class:`Runner`; shorter rows have padding on the left."""
        self.adapters.use(adapters)
        width, nowhere = max(map(len, rows)), self.cache.length
        ids, places, positions = [], [], []
        for row, start in zip(rows, starts, strict=True):
            padding, own = width - len(row), range(start, start + len(row))
            ids.append([*[0] * padding, *row])
            places.append([*[nowhere] * padding, *own])
            positions.append([*[start] * padding, *own])
        ids_BT, places_BT, positions_BT = map(torch.tensor, (ids, places, positions))
        return self._forward(first, first + len(rows), ids_BT, places_BT, positions_BT, 1)[:, 0]

    def step(self, ids: Sequence[int], places: Sequence[int], adapters: Sequence[str | None]) -> torch.Tensor:
        """See :class:`Runner`."""
        self.adapters.use(adapters)
        places_B1 = torch.tensor(places)[:, None]
        return self._forward(0, len(ids), torch.tensor(ids)[:, None], places_B1, places_B1, 1)[:, 0]

    @torch.inference_mode()
    def _forward(
        self,
        low: int,
        high: int,
        ids_BT: torch.Tensor,
        places_BT: torch.Tensor,
        positions_BT: torch.Tensor,
        keep: int,
    ) -> torch.Tensor:
        read, device = int(positions_BT.max()) + 1, self.model.device
        self.cache.at(low, high, places_BT.to(device), read)
        mask_B1TL = (torch.arange(read) <= positions_BT[:, :, None])[:, None]
        logits: torch.Tensor = self.model(
            input_ids=ids_BT.to(device),
            attention_mask=mask_B1TL.to(device),
            position_ids=positions_BT.to(device),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits
        return logits.float().cpu()


class SingleRunner:
    """Each sequence with a cache of its own, one forward pass after the other: any architecture.

    Where a model takes no cache of transformers' own, what a slot holds is its text, which is read again for every token.
    """

    can_reuse = False
    bytes_per_token = 0

    def __init__(self, model: Any) -> None:
        self.model, self.adapters = model, SharedAdapters(model)
        known = signature(model.forward).parameters
        self._keeps = "logits_to_keep" in known
        self._cache_name = next((name for name in ("past_key_values", "cache_params") if name in known), None)
        self._caches: dict[int, Any] = {}

    def room(self, slots: int, length: int) -> None:
        """Nothing to do: each cache grows by itself."""

    def copy(self, source: int, target: int, length: int) -> None:
        """Not to be asked for: prefixes are not shared."""
        raise NotImplementedError

    def swap(self, left: int, right: int, length: int) -> None:
        """Let two slots change places."""
        mine, other = self._caches.pop(left, None), self._caches.pop(right, None)
        for slot, cache in ((right, mine), (left, other)):
            if cache is not None:
                self._caches[slot] = cache

    @torch.inference_mode()
    def prompt(self, slot: int, ids: Sequence[int], start: int, adapter: str | None, *, every: bool) -> torch.Tensor:
        """See :class:`Runner`."""
        self.adapters.use([adapter])
        if start == 0:
            self._caches[slot] = DynamicCache(config=self.model.config) if self._cache_name else []
        return self._forward(slot, ids, 0 if every else 1)

    def prompts(
        self, first: int, rows: Sequence[Sequence[int]], starts: Sequence[int], adapters: Sequence[str | None]
    ) -> torch.Tensor:
        """See :class:`Runner`."""
        own = enumerate(zip(rows, starts, adapters, strict=True), first)
        return torch.cat([self.prompt(n, row, start, adapter, every=False) for n, (row, start, adapter) in own])

    @torch.inference_mode()
    def step(self, ids: Sequence[int], places: Sequence[int], adapters: Sequence[str | None]) -> torch.Tensor:
        """See :class:`Runner`."""
        rows = []
        for slot, (id, adapter) in enumerate(zip(ids, adapters, strict=True)):
            self.adapters.use([adapter])
            rows.append(self._forward(slot, [id], 1))
        return torch.cat(rows)

    def _forward(self, slot: int, ids: Sequence[int], keep: int) -> torch.Tensor:
        how: dict[str, Any] = {"use_cache": False}
        if self._cache_name:
            how = {self._cache_name: self._caches[slot], "use_cache": True}
        else:
            self._caches[slot] += ids
        if self._keeps:
            how["logits_to_keep"] = keep or len(ids)
        read = list(ids if self._cache_name else self._caches[slot])
        logits: torch.Tensor = self.model(input_ids=torch.tensor([read], device=self.model.device), **how).logits[0]
        return logits[-(keep or len(ids)) :].float().cpu()


def open_runner(model: Any) -> Runner:
    """The faster way that this model can go."""
    try:
        runner = SlotRunner(model)
        agrees = _agrees(runner)
    except (AttributeError, TypeError, ValueError, NotImplementedError, IndexError, RuntimeError, KeyError):
        agrees = False  # how architectures say that their caches are of another kind
    return SlotRunner(model) if agrees else SingleRunner(model)


@torch.inference_mode()
def _agrees(runner: SlotRunner) -> bool:
    """Whether two sequences of different length over the slots give the model's own logits."""
    model, size = runner.model, runner.model.config.get_text_config().vocab_size
    draws = torch.Generator().manual_seed(0)
    texts = [torch.randint(0, size, (length,), generator=draws).tolist() for length in (9, 6)]
    runner.room(2, 16)
    runner.prompt(1, texts[1][:2], 0, None, every=False)
    runner.prompts(0, [texts[0][:-1], texts[1][2:-1]], [0, 2], [None, None])
    found_BV = runner.step([t[-1] for t in texts], [len(t) - 1 for t in texts], [None, None])
    own = [model(input_ids=torch.tensor([t], device=model.device), use_cache=False).logits[0, -1] for t in texts]
    own_BV = torch.stack(own).float().cpu()
    return bool(
        (found_BV - own_BV).abs().max() <= TOLERANCE * own_BV.std() * (1 if model.dtype == torch.float32 else 50)
    )
