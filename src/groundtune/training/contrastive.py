"""Contrastive training of a sentence encoder: a question nearer to its passage than to every other passage of the batch.

Multiple negatives ranking (Henderson et al., "Efficient Natural Language Response Suggestion", 2017; InfoNCE of van den
Oord et al. 2018) over cosines times a scale, with a mined hard negative a pair beside the batch's own passages
(Karpukhin et al., DPR, EMNLP 2020). Departs from them by leaving a passage that answers a question, too, out of its
negatives: with few documents a batch holds such ones often.

Legend: B pairs, C passages of a batch (B positives, then the hard negatives), T tokens, D width.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from groundtune.nn.encoders import Pooling, padded, unit_vectors
from groundtune.training.data import PlannedBatches
from groundtune.training.objectives import Batch, Objective

#: passages in one forward pass, of like length: little padding
FORWARD = 16


@dataclass(frozen=True, slots=True)
class PairRow:
    """A question with its passage, as token ids.

    Attributes:
        anchor: the question.
        positive: the passage that answers it.
        group: what the passage is part of (a chunk).
        answers: groups that answer the question; passages of these are none of its negatives.
        negative: a passage that does not, though it looks so; empty: none.
        negative_group: the negative's group.
    """

    anchor: tuple[int, ...]
    positive: tuple[int, ...]
    group: int
    answers: frozenset[int]
    negative: tuple[int, ...] = ()
    negative_group: int = -1


class PairBatches(PlannedBatches):
    """Micro-batches of pairs, shuffled anew each epoch.

    An item has ``anchor_ids`` and ``anchor_mask`` (B, T), ``passage_ids`` and ``passage_mask`` (C, T), and ``hidden``
    (B, C), True where a passage answers the question but is not the one it is paired with.

    Args:
        rows: the pairs.
        batch_pairs: B; the last batch of an epoch is smaller, and never of a single pair.
        pad: padding token's id.
    """

    def __init__(self, rows: Sequence[PairRow], *, batch_pairs: int, epochs: int, seed: int, pad: int = 0) -> None:
        self.rows, self.pad = rows, pad
        rng = np.random.default_rng(seed)
        plan: list[list[int]] = []
        for _ in range(epochs):
            order = rng.permutation(len(rows)).tolist()
            batches = [order[n : n + batch_pairs] for n in range(0, len(order), batch_pairs)]
            if len(batches) > 1 and len(batches[-1]) == 1:  # alone it has nothing to be told from
                batches[-2:] = [batches[-2] + batches[-1]]
            plan += batches
        super().__init__(plan, [len(r.anchor) + len(r.positive) + len(r.negative) for r in rows])

    def row_bytes(self, number: int) -> bytes:
        """Everything the loss depends on."""
        row = self.rows[number]
        parts = (row.anchor, row.positive, row.negative, (row.group, row.negative_group), sorted(row.answers))
        return b"".join(array("q", [len(part), *part]).tobytes() for part in parts)

    def __getitem__(self, step: int) -> Batch:
        rows = [self.rows[i] for i in self.plan[step]]
        hard = [r for r in rows if r.negative]
        passages = [r.positive for r in rows] + [r.negative for r in hard]
        groups = [r.group for r in rows] + [r.negative_group for r in hard]
        hidden_BC = torch.tensor([[group in row.answers for group in groups] for row in rows])
        hidden_BC[torch.arange(len(rows)), torch.arange(len(rows))] = False
        anchor_ids, anchor_mask = padded([r.anchor for r in rows], self.pad)
        passage_ids, passage_mask = padded(passages, self.pad)
        return {
            "anchor_ids": anchor_ids,
            "anchor_mask": anchor_mask,
            "passage_ids": passage_ids,
            "passage_mask": passage_mask,
            "hidden": hidden_BC,
        }


def ranking_loss(
    anchors_BD: torch.Tensor, passages_CD: torch.Tensor, hidden_BC: torch.Tensor, scale: float
) -> torch.Tensor:
    """Sum over pairs of the cross-entropy, in nats, of choosing the own passage: row b's is passage b.

    Args:
        anchors_BD, passages_CD: unit vectors.
        hidden_BC: True where a passage does not count for a question.
        scale: of the cosines; 1 / temperature.
    """
    scores_BC = (scale * anchors_BD @ passages_CD.T).masked_fill(hidden_BC, float("-inf"))
    own_B = torch.arange(len(anchors_BD), device=scores_BC.device)
    return torch.nn.functional.cross_entropy(scores_BC, own_B, reduction="sum")


def contrastive(pooling: Pooling, scale: float) -> Objective:
    """The objective of a sentence encoder with that pooling; counts pairs."""

    def loss(model: torch.nn.Module, batch: Batch, pairs_in_step: torch.Tensor | int | None) -> torch.Tensor:
        anchors_BD = _vectors(model, batch["anchor_ids"], batch["anchor_mask"], pooling)
        passages_CD = _vectors(model, batch["passage_ids"], batch["passage_mask"], pooling)
        total = ranking_loss(anchors_BD, passages_CD, batch["hidden"], scale)
        return total / (len(anchors_BD) if pairs_in_step is None else pairs_in_step)

    return Objective("contrastive", loss, lambda batch: len(batch["anchor_ids"]))


def _vectors(model: torch.nn.Module, ids_CT: torch.Tensor, mask_CT: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Unit vectors (C, D), computed in parts of like length, each cut to its own width."""
    lengths_C = mask_CT.sum(1)
    order_C = torch.argsort(lengths_C, stable=True)
    parts = []
    for rows in order_C.split(FORWARD):
        width = int(lengths_C[rows].max())
        parts.append(unit_vectors(model, ids_CT[rows, :width], mask_CT[rows, :width], pooling))
    return torch.cat(parts)[torch.argsort(order_C)]
