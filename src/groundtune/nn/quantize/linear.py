"""Quantizing the linear layers of any transformers model, in place, after training.

What is quantized: every ``torch.nn.Linear`` (and GPT-2's ``Conv1D``) of the backbone (``model.base_model``). What is not:
embeddings, norms and biases; task heads; the output head, unless asked for, and never where it is tied to the embeddings,
since it is then the embedding matrix; layers that the architecture wants in float32; experts that are kept as
three-dimensional parameters (mixtures of experts). Names of the tensors are GPTQ's and AWQ's: ``qweight``, ``scales``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from groundtune.errors import ConfigError
from groundtune.nn.quantize.weights import Scheme, dequantize_weight, pack, quantize_weight, unpack


class QuantizedLinear(nn.Module):
    """``y = x W^T + b`` with W kept as integers and scales, made into the input's dtype at each call.

    Saves memory and disk, not time. Buffers: ``qweight`` (O, I) int8, or (O, ceil(I / 2)) uint8 with two values a byte;
    ``scales`` (O, G) float16, which stays float16 whatever the model is cast to.

    Args:
        in_features, out_features: as :class:`torch.nn.Linear`'s.
        scheme: bits and groups.
        bias: the bias (O,), or None.
        device: where the buffers lie, ``meta`` included.
    """

    qweight: torch.Tensor
    scales: torch.Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        scheme: Scheme,
        bias: nn.Parameter | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.scheme = in_features, out_features, scheme
        stored, dtype = (-(-in_features // 2), torch.uint8) if scheme.bits == 4 else (in_features, torch.int8)
        groups, _ = scheme.groups(in_features)
        self.register_buffer("qweight", torch.zeros(out_features, stored, dtype=dtype, device=device))
        self.register_buffer("scales", torch.zeros(out_features, groups, dtype=torch.float16, device=device))
        self.bias = bias

    @classmethod
    def from_weight(cls, weight_OI: torch.Tensor, bias: nn.Parameter | None, scheme: Scheme) -> QuantizedLinear:
        """The layer of a matrix.

        Raises:
            InputError: a weight is not a number.
        """
        layer = cls(weight_OI.shape[1], weight_OI.shape[0], scheme, bias, device="meta")
        values_OI, layer.scales = quantize_weight(weight_OI, scheme)
        layer.qweight = pack(values_OI) if scheme.bits == 4 else values_OI
        return layer

    def dequantized(self, dtype: torch.dtype) -> torch.Tensor:
        """The matrix (O, I) that the layer multiplies by."""
        values_OI = unpack(self.qweight, self.in_features) if self.scheme.bits == 4 else self.qweight
        return dequantize_weight(values_OI, self.scales, self.scheme, dtype)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(..., I) to (..., O)."""
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return linear(input, self.dequantized(input.dtype), bias)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> QuantizedLinear:
        """Moved as everything else is, but ``model.to(dtype)`` does not cast the scales."""
        scales = self.scales
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.scales.dtype != scales.dtype:
            self.scales = scales.to(self.scales.device)
        return self

    def extra_repr(self) -> str:
        """Shape and scheme, for ``print(model)``."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, {self.scheme}"


def weight_of(layer: nn.Module) -> torch.Tensor:
    """A plain layer's matrix (O, I), whichever way the layer keeps it."""
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]
    return weight.T if isinstance(layer, Conv1D) else weight


def is_plain(layer: nn.Module) -> bool:
    """Whether a module is a linear layer that can be quantized; subclasses do things of their own with their weight."""
    return type(layer) in (nn.Linear, Conv1D)


def layer_names(model: Any, *, head: bool = False) -> list[str]:
    """Names of the layers that are quantized; see the module's head.

    Raises:
        ConfigError: the output head is asked for and is tied or not there, or there is no layer to quantize.
    """
    inside = {id(module) for module in model.base_model.modules()}
    others = {
        id(p) for m in model.modules() if not is_plain(m) for p in m.parameters(recurse=False)
    }  # of embeddings, above all
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if head:
        if output is None or not is_plain(output):
            raise ConfigError("the model has no plain output head to quantize", next_step="leave head=True out")
        if id(output.weight) in others:
            raise ConfigError(
                "the output head cannot be quantized: it is tied, one matrix with the embeddings",
                next_step="leave head=True out; or untie them (tie_word_embeddings=False) and train on",
            )
    unrounded = set(getattr(model, "_keep_in_fp32_modules", None) or ())
    names = [
        name
        for name, module in model.named_modules()
        if is_plain(module)
        and id(module.weight) not in others
        and not unrounded.intersection(name.split("."))
        and (head if module is output else id(module) in inside)
    ]
    if not names:
        raise ConfigError(
            "the model has no linear layer to quantize", expected="a model in 16 or 32 bits, not quantized already"
        )
    return names


def quantize(
    model: Any, bits: int, group_size: int | None = None, *, clip: str = "max", head: bool = False
) -> list[str]:
    """Replace a model's linear layers by quantized ones, in place; returns their names.

    Args:
        model: a transformers model on any device, in any floating dtype.
        bits: 8 or 4.
        group_size: inputs that share a scale; default 64 for int4, the whole output channel for int8.
        clip: ``max`` or ``mse``; see :class:`Scheme`.
        head: quantize the output head, too.

    Raises:
        ConfigError: a value that cannot be, a tied head, nothing to quantize. InputError: weights that are not numbers.
    """
    scheme = Scheme.of(bits, group_size, clip)
    names = layer_names(model, head=head)
    for name in names:
        layer = model.get_submodule(name)
        model.set_submodule(name, QuantizedLinear.from_weight(weight_of(layer), layer.bias, scheme))
    return names


def quantized_layers(model: nn.Module) -> dict[str, QuantizedLinear]:
    """The quantized layers of a model by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, QuantizedLinear)}
