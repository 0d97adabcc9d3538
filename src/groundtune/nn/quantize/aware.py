"""Quantization-aware training: the forward pass sees quantized weights, the optimizer moves the ones behind them.

Rounding has no gradient; the straight-through estimator passes the gradient of the quantized weight to the real one as
it is (Jacob et al., CVPR 2018, section 3; LLM-QAT, Liu et al. 2023, which also leaves nothing out at the clip). Weights only, as in
:mod:`groundtune.nn.quantize.linear`; scales are not trained but follow the weights. Between :func:`prepare_qat` and
:func:`convert_qat` the model is trained like any other, and its checkpoints are plain weights under the usual names.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from groundtune.errors import ConfigError
from groundtune.nn.quantize.linear import QuantizedLinear, layer_names, weight_of
from groundtune.nn.quantize.weights import Scheme, dequantize_weight, quantize_weight


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight_OI: torch.Tensor, scheme: Scheme) -> torch.Tensor:
        return dequantize_weight(*quantize_weight(weight_OI, scheme), scheme, weight_OI.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0], None


class FakeQuantizedLinear(nn.Module):
    """A linear layer that multiplies by what its weights would be after quantization.

    Args:
        layer: the plain layer; its parameters become this one's, under the same names and in the same shape.
        scheme: what they will be quantized to.
    """

    def __init__(self, layer: nn.Module, scheme: Scheme) -> None:
        super().__init__()
        self.turned = weight_of(layer) is not layer.weight
        self.weight: nn.Parameter = layer.weight  # type: ignore[assignment]
        self.bias: nn.Parameter | None = layer.bias  # type: ignore[assignment]
        self.scheme = scheme

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(..., I) to (..., O)."""
        quantized: torch.Tensor = _FakeQuantize.apply(self.matrix(), self.scheme)  # type: ignore[no-untyped-call]
        return linear(input, quantized, self.bias)

    def matrix(self) -> torch.Tensor:
        """The weights behind the quantized ones, (O, I)."""
        return self.weight.T if self.turned else self.weight


def prepare_qat(
    model: Any, bits: int, group_size: int | None = None, *, clip: str = "max", head: bool = False
) -> list[str]:
    """Wrap a model's linear layers for quantization-aware training, in place; returns their names.

    Args: as :func:`groundtune.nn.quantize.linear.quantize`'s.

    Raises:
        ConfigError: a value that cannot be, a tied head, nothing to quantize.
    """
    scheme = Scheme.of(bits, group_size, clip)
    names = layer_names(model, head=head)
    for name in names:
        model.set_submodule(name, FakeQuantizedLinear(model.get_submodule(name), scheme))
    return names


def convert_qat(model: Any) -> list[str]:
    """Make the wrapped layers quantized ones, in place; returns their names. The model answers as it did while training.

    Raises:
        ConfigError: there is no wrapped layer.
    """
    wrapped = {name: m for name, m in model.named_modules() if isinstance(m, FakeQuantizedLinear)}
    if not wrapped:
        raise ConfigError("nothing to convert", expected="a model that went through prepare_qat")
    for name, layer in wrapped.items():
        model.set_submodule(name, QuantizedLinear.from_weight(layer.matrix(), layer.bias, layer.scheme))
    return list(wrapped)
