"""Packed batches whose optimizer steps are fixed beforehand: rows 0 to n-1 are the first step, the next n the second.

Where the rows of a step must be the same for two trainers (`groundtune bench tune`), or the same as in an earlier run;
how a step's rows are laid out in packs does not change what is learnt, since the loss is a sum over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from groundtune.dataset.render import TokenRow
from groundtune.errors import ConfigError
from groundtune.training.data import PackedBatches, PlannedBatches


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
