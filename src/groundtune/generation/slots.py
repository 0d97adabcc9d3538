"""Keys and values of many sequences side by side, so that one forward pass reads and writes all of them.

Slot s holds one sequence's keys and values from its first token on. The sequences that are being written stand in the first
slots, one behind the other: attention reads them without copying. What a finished sequence leaves behind stays in its slot
until that is needed, and a prompt that begins alike takes it over (as in vLLM's and SGLang's prefix caches, by slot instead of
by block). Behind the last token of every slot there is a place that nobody reads, for padding. Legend: S slots, L tokens, H key heads, D width of a head, B rows, T new tokens of each.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Cache


class SlotCache(Cache):
    """The cache that a transformers model reads and writes; allocated when the first tokens come, grown when needed.

    Attributes:
        slots, length: how many sequences and tokens there is room for now.
        bytes_per_token: of one token of one slot, over all layers; 0 before the first tokens.
    """

    def __init__(self, layers: int) -> None:
        self.slots, self.length = 0, 0
        self._keys: list[torch.Tensor | None] = [None] * layers
        self._values: list[torch.Tensor | None] = [None] * layers
        self.layers: list[Any] = []
        self._rows_B1 = self._places_BT = torch.zeros(1, 1, dtype=torch.long)
        self._low = self._high = self._read = 0

    @property
    def bytes_per_token(self) -> int:
        """Of one token of one slot, over all layers."""
        own = [t for t in (*self._keys, *self._values) if t is not None]
        return sum(t[0, 0].numel() * t.element_size() for t in own)

    def room(self, slots: int, length: int) -> None:
        """Make room for exactly so many sequences of so many tokens; what was there stays as far as it fits."""
        if (slots, length) == (self.slots, self.length):
            return
        for tensors in (self._keys, self._values):
            for layer, old_SLHD in enumerate(tensors):
                if old_SLHD is not None:
                    new_SLHD = old_SLHD.new_zeros(slots, length + 1, *old_SLHD.shape[2:])
                    kept = (min(slots, self.slots), min(length, self.length))
                    new_SLHD[: kept[0], : kept[1]] = old_SLHD[: kept[0], : kept[1]]
                    tensors[layer] = new_SLHD
        self.slots, self.length = slots, length

    def at(self, low: int, high: int, places_BT: torch.Tensor, read: int) -> None:
        """Say which slots the next forward pass is about (low to high), where its tokens go (padding: ``length``), how many it reads."""
        self._low, self._high, self._read, self._places_BT = low, high, read, places_BT
        self._rows_B1 = torch.arange(low, high)[:, None]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new keys and values (B, H, T, D); those of the slots from the first token on (B, H, L, D)."""
        return self._written(self._keys, layer_idx, key_states), self._written(self._values, layer_idx, value_states)

    def _written(self, tensors: list[torch.Tensor | None], layer: int, new_BHTD: torch.Tensor) -> torch.Tensor:
        own_SLHD = tensors[layer]
        if own_SLHD is None:
            _, heads, _, width = new_BHTD.shape
            own_SLHD = new_BHTD.new_zeros(self.slots, self.length + 1, heads, width)
            tensors[layer] = own_SLHD
        own_SLHD[self._rows_B1, self._places_BT] = new_BHTD.transpose(1, 2)
        return own_SLHD[self._low : self._high, : self._read].transpose(1, 2)

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy a slot's first tokens to another."""
        for own_SLHD in (*self._keys, *self._values):
            if own_SLHD is not None:
                own_SLHD[target, :length] = own_SLHD[source, :length]

    def swap(self, left: int, right: int, length: int) -> None:
        """Let two slots change places, with their first tokens."""
        for own_SLHD in (*self._keys, *self._values):
            if own_SLHD is not None:
                kept = own_SLHD[left, :length].clone()
                own_SLHD[left, :length] = own_SLHD[right, :length]
                own_SLHD[right, :length] = kept

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens before the new ones; positions are always given, so nobody counts with it."""
        return 0

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Keys, and where they begin."""
        return self._read, 0

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """Masks are always given."""
        return 0

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        """Tokens there is room for."""
        return self.length

    @property
    def is_sliding(self) -> list[bool]:
        """No layer forgets."""
        return [False] * len(self._keys)

    @property
    def is_compileable(self) -> bool:
        """Not by torch.compile."""
        return False
