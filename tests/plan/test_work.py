"""Rows and tokens as micro-batches."""

from __future__ import annotations

import pytest

from groundtune.dataset.pack import plan_batches, plan_packs
from groundtune.plan.work import MicroBatch, Work, pretraining_work, work_of_rows, work_of_tokens

LENGTHS = [10, 30, 20, 40]
SUPERVISED = [2, 3, 4, 5]


def test_the_largest_and_the_typical_micro_batch_of_rows() -> None:
    work = work_of_rows(LENGTHS, SUPERVISED, [[0, 2], [1, 3]], epochs=1)
    assert work.largest == MicroBatch(2, 40, 8)
    assert work.typical == MicroBatch(2, 30, 7)  # (2 x 20 + 2 x 40) / 4 wide
    assert (work.micro_batches, work.tokens, work.longest_row, work.steps) == (2, 100, 40, 2)


def test_the_most_supervised_positions_need_not_be_in_the_largest() -> None:
    work = work_of_rows([50, 10, 10], [1, 9, 9], [[0], [1, 2]], epochs=1)
    assert work.largest == MicroBatch(1, 50, 18)


def test_packed_rows_are_one_row() -> None:
    work = work_of_rows(LENGTHS, SUPERVISED, [[0, 2, 1], [3]], epochs=1, packed=True)
    assert work.largest == MicroBatch(1, 60, 9)


@pytest.mark.parametrize("packed", [False, True])
def test_real_plans(packed: bool) -> None:
    lengths = [5 + n * 7 % 60 for n in range(200)]
    plan = (
        plan_packs(lengths, pack_tokens=256, epochs=2, seed=0)
        if packed
        else plan_batches(lengths, batch_tokens=256, epochs=2, seed=0)
    )
    work = work_of_rows(lengths, [1] * 200, plan, epochs=2, accumulation=4, packed=packed)
    assert work.micro_batches == len(plan)
    assert work.steps == -(-len(plan) // 4)
    assert work.largest.rows * work.largest.tokens <= 256
    padded = work.micro_batches * work.typical.rows * work.typical.tokens
    assert 2 * sum(lengths) * 0.8 < padded < 2 * sum(lengths) * 1.4


def test_tokens_in_rows_of_one_length() -> None:
    work = work_of_tokens(10_000, row_tokens=100, batch_tokens=1024, epochs=3, share=0.25)
    assert work.largest == work.typical == MicroBatch(10, 100, 248)  # 10 x 99 x 0.25
    assert work.micro_batches == 3 * 10
    assert work_of_tokens(10, row_tokens=100, batch_tokens=1024).largest.rows == 1
    assert work_of_tokens(10_000, row_tokens=100, batch_tokens=32).largest == MicroBatch(1, 100, 99)


def test_pretraining_in_windows_of_the_context() -> None:
    work = pretraining_work(10_000_000, context_tokens=2048, batch_tokens=500_000)
    assert work.largest == MicroBatch(4, 1024, 4 * 1023)
    assert work.accumulation == 122  # 500,000 / 4,096
    assert work.steps == -(-work.micro_batches // 122)
    assert pretraining_work(1_000_000, context_tokens=512, batch_tokens=None) == Work(
        micro_batches=245,
        largest=MicroBatch(8, 512, 8 * 511),
        typical=MicroBatch(8, 512, 8 * 511),
        tokens=1_000_000,
        longest_row=512,
    )
