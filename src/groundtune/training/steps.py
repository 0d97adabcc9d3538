"""Batches whose optimizer steps are fixed beforehand: rows 0 to n-1 are the first step, the next n the second.

Where the rows of a step must be the same for two trainers (`groundtune bench tune`), or the same as in an earlier run;
how a step's rows are laid out in packs does not change what is learnt, since the loss is a sum over all of them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from groundtune.dataset.render import TokenRow
from groundtune.errors import ConfigError
from groundtune.training.data import IGNORED, PackedBatches, PlannedBatches, RowBatches


class StepPacks(PackedBatches):
    """Rows in the order given, ``rows_per_step`` of them a step, in packs of about equal size.

    Args:
        rows: their number must be a multiple of ``rows_per_step``.
        rows_per_step: rows of an optimizer step.
        pack_tokens: what a pack is to hold at most; a single longer row stands alone.

    Attributes:
        packs_per_step: micro-batches of a step, the same for all: the accumulation to train with.

    Raises:
        ConfigError: the last step would have fewer rows than the others.
    """

    def __init__(self, rows: Sequence[TokenRow], *, rows_per_step: int, pack_tokens: int) -> None:
        if len(rows) % rows_per_step:
            raise ConfigError(f"{len(rows)} rows are no whole steps", expected=f"a multiple of {rows_per_step}")
        self.rows = rows
        lengths = [len(r.ids) for r in rows]
        steps = [range(start, start + rows_per_step) for start in range(0, len(rows), rows_per_step)]
        tokens = [sum(lengths[n] for n in step) for step in steps]
        self.packs_per_step = min(rows_per_step, -(-max(tokens, default=1) // pack_tokens))
        plan = [pack for step in steps for pack in _share(step, lengths, self.packs_per_step)]
        PlannedBatches.__init__(self, plan, lengths)


def _share(rows: Sequence[int], lengths: Sequence[int], packs: int) -> list[list[int]]:
    """Rows in so many packs, the longest first, each into the pack with the fewest tokens (Graham, 1969)."""
    out: list[list[int]] = [[] for _ in range(packs)]
    for row in sorted(rows, key=lambda n: -lengths[n]):
        min(out, key=lambda pack: (len(pack) > 0, sum(lengths[n] for n in pack))).append(row)
    return out


class ExampleSteps(RowBatches):
    """So many examples an optimizer step, in another order each epoch; an epoch's last step has those that are left.

    A step of more tokens than a micro-batch may hold goes in several; where another step needs fewer, the rest of its
    micro-batches are blank, with nothing in them that counts.

    Args:
        rows: the examples.
        rows_per_step: examples of an optimizer step.
        batch_tokens: upper bound on rows x longest row of a micro-batch; a single longer row stands alone.
        epochs: passes over the rows.
        seed: of the orders.

    Attributes:
        steps_per_epoch: optimizer steps of an epoch.
        batches_per_step: micro-batches of a step: the accumulation to train with.
    """

    def __init__(
        self, rows: Sequence[TokenRow], *, rows_per_step: int, batch_tokens: int, epochs: int, seed: int
    ) -> None:
        self.rows = rows
        lengths = [len(r.ids) for r in rows]
        steps = shuffled_steps(len(rows), rows_per_step=rows_per_step, epochs=epochs, seed=seed)
        self.steps_per_epoch = len(steps) // epochs
        self.batches_per_step, plan = divided(steps, lengths, batch_tokens)
        PlannedBatches.__init__(self, plan, lengths)

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        if self.plan[step]:
            return super().__getitem__(step)
        return {"input_ids": torch.zeros((1, 2), dtype=torch.long), "labels": torch.full((1, 2), IGNORED)}


def shuffled_steps(rows: int, *, rows_per_step: int, epochs: int, seed: int) -> list[list[int]]:
    """Row numbers of every step of every epoch, each epoch in an order of its own."""
    rng = random.Random(seed)
    steps = []
    for _ in range(epochs):
        order = list(range(rows))
        rng.shuffle(order)
        steps += [order[start : start + rows_per_step] for start in range(0, rows, rows_per_step)]
    return steps


def divided(steps: Sequence[Sequence[int]], lengths: Sequence[int], batch_tokens: int) -> tuple[int, list[list[int]]]:
    """Steps cut into micro-batches under a budget, the same number for all; that number, and the micro-batches' rows."""
    cut: list[list[list[int]]] = []
    for step in steps:
        batches: list[list[int]] = []
        for row in sorted(step, key=lambda n: lengths[n]):
            if batches and (len(batches[-1]) + 1) * lengths[row] <= batch_tokens:
                batches[-1].append(row)
            else:
                batches.append([row])
        cut.append(batches)
    most = max(map(len, cut), default=1)
    return most, [batch for batches in cut for batch in (*batches, *([] for _ in range(most - len(batches))))]
