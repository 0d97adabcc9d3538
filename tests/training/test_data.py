"""Windows of a token stream: every token trained on, each pass in its own order, the same again by seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from groundtune.dataset.render import TokenRow
from groundtune.training.data import CompactRows, StreamBatches

TOKENS = np.arange(1000, dtype=np.uint16)


def windows(steps: int, seed: int = 0) -> list[list[int]]:
    batches = StreamBatches(TOKENS, sequence_tokens=50, rows_per_batch=3, steps=steps, seed=seed)
    assert len(batches) == steps
    assert all(torch.equal(b["input_ids"], b["labels"]) for b in map(batches.__getitem__, range(steps)))
    return [row for step in range(steps) for row in batches[step]["input_ids"].tolist()]


def test_windows_are_runs_of_the_stream() -> None:
    for row in windows(6):
        assert row == list(range(row[0], row[0] + 50))


def test_a_pass_reads_each_window_once() -> None:
    # (1000 - 50) // 50 = 19 windows; 18 rows are one pass
    starts = [row[0] for row in windows(6)]
    assert len(set(starts)) == 18
    assert len({s % 50 for s in starts}) == 1
    assert starts != sorted(starts)


def test_passes_differ_and_the_seed_decides() -> None:
    starts = [row[0] for row in windows(18)]
    assert len({s % 50 for s in starts}) > 1  # each pass begins elsewhere
    assert windows(18) == windows(18) != windows(18, seed=1)


def test_a_stream_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer than two windows"):
        StreamBatches(TOKENS[:99], sequence_tokens=50, rows_per_batch=1, steps=1, seed=0)


def test_compact_rows_give_back_what_they_were_given() -> None:
    rows = [TokenRow((1, 65535, 3), (False, True, True)), TokenRow((7,), (True,)), TokenRow((2, 4), (False, False))]
    compact = CompactRows(iter(rows))
    assert list(compact) == rows
    assert compact[-1] == rows[-1]
    assert compact[1:] == rows[1:]
    assert (len(compact), compact.tokens) == (3, 6)
    with pytest.raises(IndexError):
        compact[3]
