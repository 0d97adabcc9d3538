"""Micro-batches of input-output pairs for encoder-decoders.

Legend: B rows, S input tokens, T target tokens. Inputs are padded on the right behind an attention mask, targets with
-100 by their length: a padding token that is also the end token still counts where it ends a target.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from groundtune.dataset.pack import plan_batches
from groundtune.training.data import IGNORED, PlannedBatches


@dataclass(frozen=True, slots=True)
class PairRow:
    """One tokenized pair.

    Attributes:
        input_ids: what the encoder reads.
        target_ids: what the decoder is to write, the end token included.
    """

    input_ids: tuple[int, ...]
    target_ids: tuple[int, ...]


class PairBatches(PlannedBatches):
    """Micro-batches of pairs under a budget of input and target tokens; see :func:`groundtune.dataset.pack.plan_batches`.

    An item has ``input_ids`` (B, S), ``attention_mask`` (B, S), 1 where there is a token, and ``labels`` (B, T).

    Args:
        rows: the pairs.
        batch_tokens: upper bound on rows x longest pair.
        epochs, seed: as in ``plan_batches``.
        pad: id that fills inputs up.
    """

    def __init__(self, rows: Sequence[PairRow], *, batch_tokens: int, epochs: int, seed: int, pad: int) -> None:
        self.rows, self.pad = rows, pad
        lengths = [len(r.input_ids) + len(r.target_ids) for r in rows]
        super().__init__(plan_batches(lengths, batch_tokens=batch_tokens, epochs=epochs, seed=seed), lengths)

    def trained_of(self, step: int) -> int:
        """Target tokens of a micro-batch."""
        return sum(len(self.rows[i].target_ids) for i in self.plan[step])

    def row_bytes(self, number: int) -> bytes:
        """What a pair is told apart by."""
        row = self.rows[number]
        return array("q", [*row.input_ids, -1, *row.target_ids, -1]).tobytes()

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        rows = [self.rows[i] for i in self.plan[step]]
        ids_BS, mask_BS = padded([r.input_ids for r in rows], self.pad)
        labels_BT, _ = padded([r.target_ids for r in rows], IGNORED)
        return {"input_ids": ids_BS, "attention_mask": mask_BS, "labels": labels_BT}


def padded(rows: Sequence[Sequence[int]], fill: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of ids filled up on the right, and the mask (1 where there is an id), both (rows, longest)."""
    width = max(map(len, rows))
    ids_BS = torch.full((len(rows), width), fill, dtype=torch.long)
    mask_BS = torch.zeros((len(rows), width), dtype=torch.long)
    for b, row in enumerate(rows):
        ids_BS[b, : len(row)] = torch.tensor(row)
        mask_BS[b, : len(row)] = 1
    return ids_BS, mask_BS
