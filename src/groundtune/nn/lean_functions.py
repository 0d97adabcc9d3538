"""RMSNorm, rotary positions and the gated activation as single steps of the autograd graph, for float32 on a CPU.

The same results as transformers' own code in half the passes over memory, and with fewer tensors kept for the backward pass:
a norm keeps its input alone, the gate its two inputs. Leaves out which layers use them (``lean_layers``).

Legend: D width, H heads, T tokens, K head size; the dimensions before them are free.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable


def rms_norm(x: torch.Tensor, weight_D: torch.Tensor, epsilon: float) -> torch.Tensor:
    """``weight * x / sqrt(mean(x^2) + epsilon)`` over the last dimension (Zhang and Sennrich, NeurIPS 2019)."""
    out: torch.Tensor = _RMSNorm.apply(x, weight_D, epsilon)  # type: ignore[no-untyped-call]
    return out


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight_D: torch.Tensor, epsilon: float) -> torch.Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = length.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight_D, inverse)
        normed: torch.Tensor = (x * inverse).mul_(weight_D)
        return normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        # with r = inverse: dx = r (g w) - x r^3 mean(g w x), dw = sum over all rows of g x r
        x, weight_D, inverse = ctx.saved_tensors
        width = x.shape[-1]
        product: torch.Tensor = (grad * x).view(-1, width)
        of_weight = (product.T @ inverse.view(-1, 1)).view(width) if ctx.needs_input_grad[1] else None
        pull = (product @ weight_D).view(inverse.shape).mul_(inverse**3).div_(-width)
        of_x = torch.mul(grad, weight_D, out=product.view(x.shape)).mul_(inverse).addcmul_(x, pull)
        return of_x, of_weight, None


def rotate(x_HTK: torch.Tensor, cos_TK: torch.Tensor, sin_TK: torch.Tensor) -> torch.Tensor:
    """Rotary positions (Su et al., RoFormer, 2021) in the layout of Llama: the first half of a head turns with the second.

    Args:
        x_HTK: queries or keys.
        cos_TK, sin_TK: of the positions' angles, the same in both halves; what broadcasts against x will do.
    """
    out: torch.Tensor = _Rotate.apply(x_HTK, cos_TK, sin_TK)  # type: ignore[no-untyped-call]
    return out


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _turn(grad, cos, sin, -1), None, None  # a rotation's transpose turns back


def _turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, sign: int) -> torch.Tensor:
    half = x.shape[-1] // 2
    turned = x * cos
    turned[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-sign)
    turned[..., half:].addcmul_(x[..., :half], sin[..., half:], value=sign)
    return turned


def silu_gate(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """``silu(gate) * up``: the gated activation of Llama's feed-forward layer (Shazeer, "GLU Variants", 2020)."""
    out: torch.Tensor = _SiluGate.apply(gate, up)  # type: ignore[no-untyped-call]
    return out


class _SiluGate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gate, up = ctx.saved_tensors
        toward = grad * up
        of_gate: torch.Tensor = torch.ops.aten.silu_backward.grad_input(toward, gate, grad_input=toward)
        return of_gate, torch.nn.functional.silu(gate).mul_(grad)
