"""Attention within each document: what separate calls give, in value and gradient, for short and for long documents."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from groundtune.nn import packed_attention
from groundtune.nn.packed_attention import KEPT_TOKENS, attend

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def random_parts(tokens: int, heads: int = 4, groups: int = 4, dtype: torch.dtype = torch.float32) -> Tensors:
    torch.manual_seed(0)
    shapes = [(1, tokens, n, 8) for n in (heads, groups, groups)]  # as projections leave them
    q, k, v = (torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes)
    return q, k, v


def one_by_one(parts: Tensors, bounds: list[int], scaling: float | None) -> torch.Tensor:
    q, k, v = (x.transpose(1, 2) for x in parts)
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    rows = []
    for a, b in pairwise(bounds):
        scores = q[:, :, a:b] @ k[:, :, a:b].transpose(2, 3) * (8**-0.5 if scaling is None else scaling)
        scores = scores.masked_fill(torch.ones(b - a, b - a).triu(1).bool(), float("-inf"))
        rows.append(scores.softmax(-1) @ v[:, :, a:b])
    return torch.cat(rows, dim=2).transpose(1, 2)


def packed(parts: Tensors, bounds: list[int], scaling: float | None = None) -> torch.Tensor:
    q, k, v = (x.transpose(1, 2) for x in parts)
    return attend(q, k, v, bounds, scaling=scaling)


@pytest.mark.parametrize("bounds", [[0, 9, 10, 60], [0, KEPT_TOKENS, 2 * KEPT_TOKENS + 1], [0, 5, 400, 423]])
@pytest.mark.parametrize(("groups", "scaling"), [(4, None), (2, 0.3)])
def test_values_and_gradients(bounds: list[int], groups: int, scaling: float | None) -> None:
    ours, theirs = (random_parts(bounds[-1], groups=groups) for _ in range(2))
    found, expected = packed(ours, bounds, scaling), one_by_one(theirs, bounds, scaling)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    weights = torch.randn_like(expected)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-5)


def test_other_formats_and_dropout_take_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_attention._PerDocument, "apply", lambda *_: pytest.fail("the float32 way was taken"))
    parts = random_parts(40, dtype=torch.float64)
    torch.testing.assert_close(packed(parts, [0, 9, 40]), one_by_one(parts, [0, 9, 40], None))
    q, k, v = (x.transpose(1, 2) for x in random_parts(40))
    assert attend(q, k, v, [0, 9, 40], dropout=0.5).shape == (1, 40, 4, 8)


def test_no_document_sees_another() -> None:
    parts = random_parts(40)
    packed(parts, [0, 9, 40])[:, :9].sum().backward()
    for part in parts:
        assert part.grad is not None and part.grad[:, :9].any() and not part.grad[:, 9:].any()
