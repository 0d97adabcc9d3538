"""LoRA adapters that share one base model in memory: each row of a batch goes through its own.

A forward hook on every adapted layer adds ``scaling * B A x`` (Hu et al., ICLR 2022, equation 3) to the rows of each adapter;
the base's weights are never touched. Leaves out variants that are no sum of that form (DoRA, PiSSA, biases, whole modules):
those are merged into a copy of the model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from groundtune.errors import InputError
from groundtune.nn.adapters.files import PREFIX, Adapter, check_base, read_adapter
from groundtune.nn.adapters.lora import scaling, why_not

#: (A, B with the scaling in it) of a layer
Pair = tuple[torch.Tensor, torch.Tensor]


def can_share(folder: Path) -> bool:
    """Whether an adapter can stand beside its base instead of in it."""
    adapter = read_adapter(folder)
    own = adapter.config
    plain = not any(own.get(key) for key in ("use_dora", "lora_bias", "modules_to_save", "trainable_token_indices"))
    kinds = all(key.endswith((".lora_A.weight", ".lora_B.weight")) for key in adapter.weights)
    return adapter.kind == "LORA" and plain and kinds and not why_not(own) and own.get("init_lora_weights") != "pissa"


class SharedAdapters:
    """The adapters of one base model.

    Args:
        model: a transformers model; gets a hook on every adapted layer.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._layers: dict[str, dict[str, Pair]] = {}  # layer -> adapter -> its matrices
        self._groups: list[tuple[str, torch.Tensor | None]] = []

    def __contains__(self, name: str) -> bool:
        return any(name in own for own in self._layers.values())

    def add(self, name: str, folder: Path) -> None:
        """Load an adapter.

        Raises:
            InputError: none there, or none of this model.
        """
        adapter = read_adapter(folder)
        check_base(self._model, adapter)
        halves: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
        for key, tensor in adapter.weights.items():
            layer, _, half = key.removeprefix(PREFIX).removesuffix(".weight").rpartition(".")
            halves[layer][half] = tensor
        made = {layer: self._pair(adapter, layer, own) for layer, own in halves.items()}
        for layer, pair in made.items():
            if layer not in self._layers:
                self._layers[layer] = {}
                self._model.get_submodule(layer).register_forward_hook(self._hook(self._layers[layer]))
            self._layers[layer][name] = pair

    def _pair(self, adapter: Adapter, layer: str, own: dict[str, torch.Tensor]) -> Pair:
        try:
            module = self._model.get_submodule(layer)
            down_rI, up_Or = own["lora_A"], own["lora_B"]
            fits = isinstance(module, torch.nn.Linear) and tuple(module.weight.shape) == (len(up_Or), down_rI.shape[1])
        except (AttributeError, KeyError):
            fits = False
        if not fits:
            raise InputError(
                f"{adapter.folder}: the adapter of {layer} does not fit",
                expected="the model the adapter was trained on",
            )
        weight = module.weight
        scaled_Or = up_Or.float() * scaling(adapter.config, layer, down_rI.shape[0])
        return down_rI.to(weight.device, weight.dtype), scaled_Or.to(weight.device, weight.dtype)

    def remove(self, name: str) -> None:
        """Let go of an adapter."""
        for own in self._layers.values():
            own.pop(name, None)

    def use(self, rows: Sequence[str | None]) -> None:
        """Say which adapter each row of the next forward pass goes through."""
        names = {name for name in rows if name is not None}
        if len(names) == 1 and None not in rows:
            self._groups = [(next(iter(names)), None)]
        else:
            self._groups = [(n, torch.tensor([b for b, row in enumerate(rows) if row == n])) for n in sorted(names)]

    def _hook(self, own: dict[str, Pair]) -> Callable[[Any, Any, torch.Tensor], torch.Tensor]:
        def add(module: Any, inputs: Any, output_BTO: torch.Tensor) -> torch.Tensor:
            for name, rows in self._groups:
                pair = own.get(name)
                if pair is None:
                    continue
                down_rI, up_Or = pair
                if rows is None:
                    output_BTO = output_BTO + (inputs[0] @ down_rI.T) @ up_Or.T
                else:
                    output_BTO = output_BTO.index_add(0, rows, (inputs[0][rows] @ down_rI.T) @ up_Or.T)
            return output_BTO

        return add
