"""Attention within each document of a packed row: a transformers attention function named ``per_document``.

Many rows stand one behind the other in one sequence; each attends to itself alone, so that no mask of the whole square is
ever formed. On a CPU in float32 all documents are one step of the autograd graph, which writes each document's part into
one tensor: slices of their own would each be added up over the whole row in the backward pass. Elsewhere, one
scaled-dot-product call a document. A batch that names no bounds holds one document a row, padded on the right: that is how
a model trained on packed rows is validated. Leaves out which rows are packed (``dataset.pack``) and the check that a model's packed
logits are its unpacked ones (``training.packing``).

Legend: B batch of 1, H query heads, G key heads, T tokens, D head size, S tokens of one document.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface

NAME = "per_document"
#: documents of up to so many tokens keep their attention weights (H x S x S floats) for the backward pass, which is then
#: a third faster than forming them again; longer ones go through the flash kernel, which keeps none
KEPT_TOKENS = 256

_FLASH: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
_FLASH_BACKWARD: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward", None)


def attend(
    query_BHTD: torch.Tensor,
    key_BGTD: torch.Tensor,
    value_BGTD: torch.Tensor,
    bounds: list[int],
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Causal attention inside each document; (B, T, H, D).

    Args:
        bounds: where each document begins, and the last ends.
        scaling: of the products; None: 1 / sqrt(D).
        dropout: share of the attention weights that is dropped.
    """
    if query_BHTD.shape[1] != key_BGTD.shape[1]:
        groups = query_BHTD.shape[1] // key_BGTD.shape[1]
        key_BGTD, value_BGTD = (x.repeat_interleave(groups, dim=1) for x in (key_BGTD, value_BGTD))
    plain = query_BHTD.device.type == "cpu" and query_BHTD.dtype == torch.float32 and not dropout and _FLASH
    if plain and len(query_BHTD) == 1:
        scale = query_BHTD.shape[-1] ** -0.5 if scaling is None else scaling
        out_BTHD: torch.Tensor = _PerDocument.apply(query_BHTD, key_BGTD, value_BGTD, bounds, scale)  # type: ignore[no-untyped-call]
        return out_BTHD
    parts = [
        torch.nn.functional.scaled_dot_product_attention(
            query_BHTD[:, :, a:b],
            key_BGTD[:, :, a:b],
            value_BGTD[:, :, a:b],
            dropout_p=dropout,
            scale=scaling,
            is_causal=True,
        )
        for a, b in pairwise(bounds)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous()


class _PerDocument(torch.autograd.Function):
    """All documents of a row at once, in float32 on a CPU."""

    @staticmethod
    def forward(
        ctx: Any, q_BHTD: torch.Tensor, k_BHTD: torch.Tensor, v_BHTD: torch.Tensor, bounds: list[int], scale: float
    ) -> torch.Tensor:
        out_BTHD = torch.empty_like(q_BHTD.transpose(1, 2), memory_format=torch.contiguous_format)
        out_BHTD, kept = out_BTHD.transpose(1, 2), []
        for a, b in pairwise(bounds):
            q, k, v = (x[:, :, a:b] for x in (q_BHTD, k_BHTD, v_BHTD))
            if b - a > KEPT_TOKENS:
                part, statistics = _FLASH(q, k, v, 0.0, True, scale=scale)
            else:
                part, statistics = _weigh(q[0], k[0], v[0], scale)
            out_BHTD[:, :, a:b] = part
            kept.append(statistics)
        ctx.save_for_backward(q_BHTD, k_BHTD, v_BHTD, out_BTHD, *kept)
        ctx.bounds, ctx.scale = bounds, scale
        return out_BTHD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BTHD: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q_BHTD, k_BHTD, v_BHTD, out_BTHD, *kept = ctx.saved_tensors
        grad_BHTD, out_BHTD = grad_BTHD.transpose(1, 2), out_BTHD.transpose(1, 2)
        grads = [torch.empty_like(out_BTHD).transpose(1, 2) for _ in range(3)]
        for (a, b), statistics in zip(pairwise(ctx.bounds), kept, strict=True):
            g, q, k, v, out = (x[:, :, a:b] for x in (grad_BHTD, q_BHTD, k_BHTD, v_BHTD, out_BHTD))
            if b - a > KEPT_TOKENS:
                parts = _FLASH_BACKWARD(g, q, k, v, out, statistics, 0.0, True, scale=ctx.scale)
            else:
                parts = _weigh_backward(g[0], q[0], k[0], v[0], statistics, ctx.scale)
            for grad, part in zip(grads, parts, strict=True):
                grad[:, :, a:b] = part
        return (*grads, None, None)


def _weigh(
    q_HSD: torch.Tensor, k_HSD: torch.Tensor, v_HSD: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """One document's output (H, S, D) and its attention weights (H, S, S)."""
    size = q_HSD.shape[1]
    mask_SS = _future()[:size, :size]
    scores_HSS = torch.baddbmm(mask_SS.expand(len(q_HSD), -1, -1), q_HSD, k_HSD.transpose(1, 2), alpha=scale)
    weights_HSS = torch.softmax(scores_HSS, dim=-1)
    return torch.bmm(weights_HSS, v_HSD), weights_HSS


def _weigh_backward(
    g_HSD: torch.Tensor,
    q_HSD: torch.Tensor,
    k_HSD: torch.Tensor,
    v_HSD: torch.Tensor,
    weights_HSS: torch.Tensor,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of one document's queries, keys and values, from that of its output."""
    value_HSD = torch.bmm(weights_HSS.transpose(1, 2), g_HSD)
    toward_HSS = torch.bmm(g_HSD, v_HSD.transpose(1, 2))
    scores_HSS: torch.Tensor = torch.ops.aten._softmax_backward_data(toward_HSS, weights_HSS, -1, weights_HSS.dtype)
    scores_HSS.mul_(scale)
    return torch.bmm(scores_HSS, k_HSD), torch.bmm(scores_HSS.transpose(1, 2), q_HSD), value_HSD


@lru_cache(maxsize=1)
def _future() -> torch.Tensor:
    """Minus infinity above the diagonal, else 0."""
    return torch.full((KEPT_TOKENS, KEPT_TOKENS), float("-inf")).triu_(1)


def _attention(
    module: torch.nn.Module,
    query_BHTD: torch.Tensor,
    key_BGTD: torch.Tensor,
    value_BGTD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The signature that transformers calls attention by."""
    if attention_mask is not None or query_BHTD.shape[2] != key_BGTD.shape[2]:
        raise ValueError(f"attention {NAME!r} takes no mask and no cache")
    dropout = dropout if module.training else 0.0
    if cu_seq_lens_q is None:
        out_BHTD = torch.nn.functional.scaled_dot_product_attention(
            query_BHTD,
            key_BGTD,
            value_BGTD,
            dropout_p=dropout,
            scale=scaling,
            is_causal=True,
            enable_gqa=query_BHTD.shape[1] != key_BGTD.shape[1],
        )
        return out_BHTD.transpose(1, 2).contiguous(), None
    return attend(query_BHTD, key_BGTD, value_BGTD, cu_seq_lens_q.tolist(), scaling=scaling, dropout=dropout), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, _no_mask)
