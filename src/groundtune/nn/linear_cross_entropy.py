"""Cross-entropy of an output head's logits without ever holding all of them: head and loss in one, chunk by chunk.

The gradient is formed in the forward pass, where a chunk's logits are at hand, so that nothing of size N x V is kept and
no product is computed twice (Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", ICLR 2025, form the
logits again in the backward pass). Leaves out heads that do more than multiply and add (capped or scaled logits): their
callers use the plain loss.

Legend: N positions, D width, V vocabulary, C positions of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable

#: bytes that a chunk's logits take in float32, on a CPU and elsewhere
CHUNK_BYTES = {"cpu": 32 * 1024 * 1024, "other": 256 * 1024 * 1024}
#: fewer positions than this make the matrix product slow
_LEAST = 64
#: is shown a chunk's scores (C, V), which rank the tokens as the logits do, and its targets (C); keeps neither
Seen = Callable[[torch.Tensor, torch.Tensor], None]


def linear_cross_entropy(
    hidden_ND: torch.Tensor,
    weight_VD: torch.Tensor,
    targets_N: torch.Tensor,
    *,
    bias_V: torch.Tensor | None = None,
    scale: float | torch.Tensor = 1.0,
    chunk_bytes: int | None = None,
    seen: Seen | None = None,
) -> torch.Tensor:
    """Sum over N of the cross-entropy of ``hidden @ weight.T + bias`` against the targets, times ``scale``, in nats.

    The same value and gradients as ``cross_entropy(linear(...).float(), targets, reduction="sum") * scale``. Under autocast the
    products are taken in its number format, the softmax in float32.

    Args:
        hidden_ND: inputs of the head.
        weight_VD, bias_V: of the head; no gradient is formed for what needs none. A weight that is tied to the embeddings
            gets both gradients, as autograd adds them up.
        targets_N: token ids.
        scale: a number, or a tensor of no dimensions that needs no gradient.
        chunk_bytes: memory for the logits of a chunk; None: :data:`CHUNK_BYTES`.
        seen: looks at each chunk's scores in passing, to count hits without forming logits twice.
    """
    size = chunk_bytes or CHUNK_BYTES["cpu" if weight_VD.device.type == "cpu" else "other"]
    chunk = max(_LEAST, size // (4 * len(weight_VD)))
    out: torch.Tensor = _LinearCrossEntropy.apply(hidden_ND, weight_VD, bias_V, targets_N, scale, chunk, seen)  # type: ignore[no-untyped-call]
    return out


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: torch.Tensor,
        weight_VD: torch.Tensor,
        bias_V: torch.Tensor | None,
        targets_N: torch.Tensor,
        scale: float | torch.Tensor,
        chunk: int,
        seen: Seen | None,
    ) -> torch.Tensor:
        of_hidden, of_weight, of_bias = ctx.needs_input_grad[:3]
        format_ = _format(hidden_ND)
        weight, bias = weight_VD.to(format_), None if bias_V is None else bias_V.to(format_)
        hidden_grad = torch.empty_like(hidden_ND) if of_hidden else None
        weight_grad: torch.Tensor | None = None
        bias_grad = torch.zeros_like(bias_V) if of_bias and bias_V is not None else None
        total = hidden_ND.new_zeros((), dtype=torch.promote_types(hidden_ND.dtype, torch.float32))
        for start in range(0, len(hidden_ND), chunk):
            part = slice(start, start + chunk)
            hidden_CD, targets_C1 = hidden_ND[part].to(format_), targets_N[part, None]
            logits_CV = torch.nn.functional.linear(hidden_CD, weight, bias).to(total.dtype)
            grad_CV = torch.log_softmax(logits_CV, dim=-1)  # becomes the gradient in place
            del logits_CV
            if seen is not None:
                seen(grad_CV, targets_C1[:, 0])
            total -= grad_CV.gather(1, targets_C1).sum()
            if not (of_hidden or of_weight or of_bias):
                continue
            grad_CV.exp_().scatter_add_(1, targets_C1, grad_CV.new_full(targets_C1.shape, -1.0))
            grad_CV = grad_CV.mul_(scale).to(format_)
            if hidden_grad is not None:
                hidden_grad[part] = grad_CV @ weight
            if of_weight:
                weight_grad = _with_product(weight_grad, grad_CV, hidden_CD, weight_VD.dtype)
            if bias_grad is not None:
                bias_grad += grad_CV.sum(0)
        if of_weight and weight_grad is None:  # no positions
            weight_grad = torch.zeros_like(weight_VD)
        ctx.save_for_backward(hidden_grad, weight_grad, bias_grad)
        return total * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        formed = ctx.saved_tensors
        if float(grad) != 1.0:  # `scale` is in already, so that as a rule nothing of size V x D has to be multiplied
            formed = tuple(None if g is None else g * grad.to(g.dtype) for g in formed)
        return (*formed, None, None, None, None)


def _format(hidden: torch.Tensor) -> torch.dtype:
    """The number format of products: autocast's, or the inputs'."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def _with_product(
    sum_VD: torch.Tensor | None, grad_CV: torch.Tensor, hidden_CD: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """``sum + grad.T @ hidden``, in place where there is a sum already."""
    if sum_VD is None:
        return (grad_CV.T @ hidden_CD).to(dtype)
    if dtype == grad_CV.dtype:
        return sum_VD.addmm_(grad_CV.T, hidden_CD)
    return sum_VD.add_(grad_CV.T @ hidden_CD)
