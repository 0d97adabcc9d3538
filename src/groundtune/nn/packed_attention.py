"""Attention within each document of a packed row: a transformers attention function named ``per_document``.

Many rows stand one behind the other in one sequence; each attends to itself alone. One scaled-dot-product call a
document, so that no mask of the whole square is ever formed. A batch that names no bounds holds one document a row, padded
on the right: that is how a model trained on packed rows is validated. Leaves out which rows are packed (``dataset.pack``) and the check that a model's
packed logits are its unpacked ones (``training.packing``).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

NAME = "per_document"


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
    """Causal attention inside each document (B batch, 1 where packed, H query heads, G key heads, T tokens, D head size)."""
    if attention_mask is not None or query_BHTD.shape[2] != key_BGTD.shape[2]:
        raise ValueError(f"attention {NAME!r} takes no mask and no cache")
    grouped = query_BHTD.shape[1] != key_BGTD.shape[1]
    bounds = [0, query_BHTD.shape[2]] if cu_seq_lens_q is None else cu_seq_lens_q.tolist()
    parts = [
        torch.nn.functional.scaled_dot_product_attention(
            query_BHTD[:, :, a:b],
            key_BGTD[:, :, a:b],
            value_BGTD[:, :, a:b],
            dropout_p=dropout if module.training else 0.0,
            scale=scaling,
            is_causal=True,
            enable_gqa=grouped,
        )
        for a, b in pairwise(bounds)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, _no_mask)
