"""Training the top layers of a model over hidden states that its frozen lower layers wrote once.

While embeddings and lower layers are frozen and nothing in them is dropped out, a row's hidden states below the first trained
layer are the same in every epoch: they are computed once, kept in memory or in a file, and only the top layers, the last norm
and the head run again. Leaves out where the states are kept (``prefix_states``), the loss and the loop (:mod:`groundtune.training`).

Legend: B rows, T tokens, D width of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from groundtune.errors import ConfigError
from groundtune.nn.adapters.files import first_line
from groundtune.nn.bottleneck import layer_names
from groundtune.nn.packed_attention import NAME as PER_DOCUMENT

#: the batch key, and the decoder's keyword, under which cached hidden states travel
STATES = "prefix_states"
#: a short row on which an architecture is tried, and how far it may be off, in standard deviations
_TRIED_IDS, _TOLERANCE = [[1, 2, 3, 1, 4]], 1e-4


class FrozenPrefix:
    """A model whose embeddings and lower layers are frozen, and whose decoder also takes what they wrote.

    Made last, when adapters are in the model (:func:`linear_names` says where LoRA should stand).
    From now on ``decoder(prefix_states=states_BTD, **places)`` runs the top layers alone, wherever it is called from: through
    ``model(...)`` and through ``model.get_decoder()(...)``, with ``input_ids`` beside it or without. Calls without
    ``prefix_states`` run the whole model. In both, dropout is off in the frozen part.

    Args:
        model: a transformers model, or PEFT's around one, with one list of layers, decoder or encoder; changed in place.
            Everything below the top layers is frozen, adapters there included; what is above stays as trainable as it is.
        top_layers: number of layers, from the top, that are not frozen.

    Attributes:
        first_layer: index of the lowest layer that is not frozen.
        width: D.

    Raises:
        ConfigError: too many or too few top layers, virtual tokens in front of the text, or an architecture whose top
            layers cannot run alone; it is tried here on a short row.
    """

    def __init__(self, model: Any, *, top_layers: int) -> None:
        if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
            raise ConfigError("virtual tokens go through every layer", next_step="train all layers, or choose LoRA")
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        names = layer_names(base)
        if not 1 <= top_layers < len(names):
            raise ConfigError(
                f"{top_layers} top layers of {len(names)}",
                expected=f"from 1 to {len(names) - 1}: some layers are frozen, some are not",
            )
        self.first_layer = len(names) - top_layers
        holder, _, self._list = names[0].rpartition(".")[0].rpartition(".")
        self._holder, self._decoder = base.get_submodule(holder), base.get_decoder()
        self.width = int(self._decoder.config.get_text_config().hidden_size)
        layers = getattr(self._holder, self._list)
        self._lower, self._top = layers[: self.first_layer], layers[self.first_layer :]
        self._given = [_Given(layer) for layer in self._lower]
        self._skipping = torch.nn.ModuleList([*self._given, *self._top])
        self._layers = layers
        self._hooks = [
            self._decoder.register_forward_pre_hook(self._begin, with_kwargs=True),
            self._decoder.register_forward_hook(self._end, always_call=True),
        ]
        self._below: list[torch.nn.Module] = []
        try:
            self._freeze()
            self._try()
        except (ValueError, TypeError, RuntimeError, AttributeError, LookupError) as error:
            self.close()
            raise ConfigError(
                f"the top layers of {type(base).__name__} cannot be trained alone: {first_line(error)}",
                expected="a decoder or encoder built like Llama, GPT-2 or BERT",
                next_step="train all layers",
            ) from None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device(self._decoder.device)

    def run(self, input_ids: torch.Tensor, **places: Any) -> torch.Tensor:
        """Hidden states (B, T, D), detached, of token ids (B, T) below the first trained layer.

        Args:
            places: what else the decoder is told: ``position_ids``, ``cu_seq_lens_q``, ``attention_mask``.
        """
        places = {**self._places(input_ids), **places}
        seen: list[Any] = []
        hook = self._lower[-1].register_forward_hook(lambda module, inputs, output: seen.append(output))
        try:
            with torch.no_grad(), self._with_layers(self._lower):
                self._decoder(input_ids=input_ids, use_cache=False, **places)
        finally:
            hook.remove()
        states_BTD: torch.Tensor = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
        return states_BTD.detach()

    def forward_from(self, states_BTD: torch.Tensor, **places: Any) -> torch.Tensor:
        """The decoder's last hidden state (B, T, D), after its last norm, of hidden states that :meth:`run` gave."""
        last_BTD: torch.Tensor = self._decoder(**{STATES: states_BTD}, use_cache=False, **places).last_hidden_state
        return last_BTD

    def close(self) -> None:
        """Make the model as it was, but for what is frozen."""
        for hook in self._hooks:
            hook.remove()

    @contextmanager
    def _with_layers(self, layers: Any) -> Iterator[None]:
        setattr(self._holder, self._list, layers)
        try:
            yield
        finally:
            setattr(self._holder, self._list, self._layers)

    def _begin(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Before the decoder: with cached states, its lower layers are such as return these."""
        for module in self._below:
            module.training = False
        states_BTD = kwargs.pop(STATES, None)
        if states_BTD is None:
            return args, kwargs
        states_BTD = states_BTD.to(device=self._decoder.device, dtype=self._decoder.dtype)
        for layer in self._given:
            layer.states_BTD = states_BTD
        setattr(self._holder, self._list, self._skipping)
        # the decoder asks for some embeddings; what it makes of them goes into the first lower layer, and no further
        args, kwargs = (None, *args[1:]) if args else (), {**kwargs, "inputs_embeds": states_BTD}
        return args, (kwargs if args else {**kwargs, "input_ids": None})

    def _end(self, *_: Any) -> None:
        for layer in self._given:
            layer.states_BTD = None
        if getattr(self._holder, self._list) is self._skipping:
            setattr(self._holder, self._list, self._layers)

    def _freeze(self) -> None:
        """Freeze whatever runs before the first of the top layers, and what never runs."""
        above: set[int] = set()

        def note(module: torch.nn.Module, _: Any) -> None:
            if above or module is self._top[0]:
                above.add(id(module))

        hooks = [module.register_forward_pre_hook(note) for module in self._decoder.modules()]
        try:
            self._whole()
        finally:
            for hook in hooks:
                hook.remove()
        for module in self._decoder.modules():
            if id(module) not in above:
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(False)
                if self._top[0] not in module.modules():
                    self._below.append(module)

    def _places(self, ids_BT: torch.Tensor) -> dict[str, torch.Tensor]:
        """What attention within each document must be told of one row."""
        if self._decoder.config._attn_implementation != PER_DOCUMENT or len(ids_BT) != 1:
            return {}
        return {"cu_seq_lens_q": torch.tensor([0, ids_BT.shape[1]], dtype=torch.int32)}

    @torch.no_grad()
    def _whole(self) -> torch.Tensor:
        ids_BT = torch.tensor(_TRIED_IDS, device=self._decoder.device)
        last_BTD: torch.Tensor = self._decoder(
            input_ids=ids_BT, use_cache=False, **self._places(ids_BT)
        ).last_hidden_state
        return last_BTD

    @torch.no_grad()
    def _try(self) -> None:
        was_training = [(module, module.training) for module in self._decoder.modules()]
        self._decoder.eval()
        ids_BT = torch.tensor(_TRIED_IDS, device=self._decoder.device)
        whole_BTD, parts_BTD = self._whole(), self.forward_from(self.run(ids_BT), **self._places(ids_BT))
        for module, training in was_training:
            module.training = training
        difference = float((whole_BTD - parts_BTD).abs().max() / whole_BTD.std())
        if not difference <= _TOLERANCE:
            raise ValueError(f"run alone they are off by {difference:.2g} standard deviations")


def linear_names(model: Any, *, top_layers: int) -> list[str]:
    """Names of the linear modules in a model's top layers: LoRA's ``target_modules`` for training these alone.

    PEFT's ``layers_to_transform`` does not go with ``all-linear``.
    """
    return [
        f"{layer}.{name}"
        for layer in layer_names(model)[-top_layers:]
        for name, module in model.get_submodule(layer).named_modules()
        if isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"
    ]


class _Given(torch.nn.Module):
    """Stands in for a frozen layer: answers with states it was given, whatever it is asked; has the layer's attributes."""

    states_BTD: torch.Tensor | None = None

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        object.__setattr__(self, "_instead_of", layer)  # not as a part: its parameters are counted where it stands

    def __getattr__(self, name: str) -> Any:
        if "_instead_of" not in self.__dict__:  # a copy in the making
            raise AttributeError(name)
        return getattr(self.__dict__["_instead_of"], name)

    def forward(self, *_: Any, **__: Any) -> Any:
        return self.states_BTD
