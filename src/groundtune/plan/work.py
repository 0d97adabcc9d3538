"""What there is to train on, in micro-batches: how many, how large the largest is, and a typical one.

Made from the real rows and the real order of training where there is a project, else from a number of tokens. Leaves out
tokenizing and the order itself (``dataset.pack``), which are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: tokens of a micro-batch in pretraining (16 windows of 256 in a recipe's defaults)
PRETRAINING_TOKENS = 4096
#: longest window of pretraining
WINDOW_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """One forward pass: B rows of T tokens, padding included, of which N are supervised."""

    rows: int
    tokens: int
    supervised: int


@dataclass(frozen=True, slots=True)
class Work:
    """A run's material.

    Attributes:
        micro_batches: of all epochs.
        largest: the one with most tokens, with the most supervised positions of any.
        typical: the mean one.
        tokens: of all rows once, without padding.
        longest_row: in tokens.
        epochs: passes over the rows.
        accumulation: micro-batches an optimizer step.
    """

    micro_batches: int
    largest: MicroBatch
    typical: MicroBatch
    tokens: int
    longest_row: int
    epochs: int = 1
    accumulation: int = 1

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return -(-self.micro_batches // self.accumulation)


#: (batch_tokens, epochs, most tokens of a row or None) -> the work: what a plan may change
Material = Callable[[int, int, int | None], Work]


def work_of_rows(
    lengths: Sequence[int],
    supervised: Sequence[int],
    plan: Sequence[Sequence[int]],
    *,
    epochs: int,
    accumulation: int = 1,
    packed: bool = False,
) -> Work:
    """The work of tokenized rows.

    Args:
        lengths, supervised: tokens of each row, and those the loss counts.
        plan: row numbers of each micro-batch of all epochs, as ``dataset.pack`` lays them out.
        epochs: passes the plan makes.
        accumulation: micro-batches an optimizer step.
        packed: rows stand one behind the other without padding.
    """
    shapes = []
    for numbers in plan:
        sizes = [lengths[n] for n in numbers]
        rows, width = (1, sum(sizes)) if packed else (len(sizes), max(sizes))
        shapes.append((rows * width, rows, width, sum(supervised[n] for n in numbers)))
    _, rows, width, _ = max(shapes)
    padded, counted = sum(s[0] for s in shapes), sum(s[3] for s in shapes)
    mean_width = max(1, round(padded / sum(s[1] for s in shapes)))
    mean_rows = max(1, round(padded / len(shapes) / mean_width))
    return Work(
        micro_batches=len(shapes),
        largest=MicroBatch(rows, width, max(1, *(s[3] for s in shapes))),
        typical=MicroBatch(mean_rows, mean_width, max(1, round(counted / len(shapes)))),
        tokens=sum(lengths),
        longest_row=max(lengths),
        epochs=epochs,
        accumulation=accumulation,
    )


def work_of_tokens(
    tokens: int, *, row_tokens: int, batch_tokens: int, epochs: int = 1, accumulation: int = 1, share: float = 1.0
) -> Work:
    """The work of so many tokens in rows of one length.

    Args:
        tokens: of all rows once.
        row_tokens: of each.
        batch_tokens: budget of a micro-batch; a longer row stands alone.
        epochs, accumulation: as :class:`Work`'s.
        share: of the tokens that the loss counts.
    """
    all_rows = max(1, -(-tokens // row_tokens))
    rows = min(all_rows, max(1, batch_tokens // row_tokens))
    batch = MicroBatch(rows, row_tokens, max(1, round(rows * (row_tokens - 1) * share)))
    return Work(epochs * -(-all_rows // rows), batch, batch, tokens, row_tokens, epochs, accumulation)


def pretraining_work(tokens: int, *, context_tokens: int, batch_tokens: int | None) -> Work:
    """The work of pretraining: windows of the context, every position supervised.

    Args:
        tokens: of the run.
        context_tokens: of the model.
        batch_tokens: tokens an optimizer step, where the shape has a published number.
    """
    window = min(context_tokens, WINDOW_TOKENS)
    each = max(window, PRETRAINING_TOKENS // window * window)
    accumulation = max(1, round((batch_tokens or each) / each))
    return work_of_tokens(tokens, row_tokens=window, batch_tokens=each, accumulation=accumulation)
