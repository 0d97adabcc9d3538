"""Steps fixed beforehand: the rows of each, however they are laid out; the same weights however they are laid out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from groundtune.dataset.render import TokenRow
from groundtune.errors import ConfigError
from groundtune.training.packing import prepare
from groundtune.training.steps import StepPacks
from groundtune.training.trainer import TrainSettings, train


def some_rows(lengths: list[int]) -> list[TokenRow]:
    return [TokenRow(tuple((7 * n + i) % 390 + 5 for i in range(length)), tuple(i > length // 2 for i in range(length)))
            for n, length in enumerate(lengths)]  # fmt: skip


def test_every_step_has_its_rows() -> None:
    rows = some_rows([10, 90, 30, 40, 20, 20, 20, 21])
    batches = StepPacks(rows, rows_per_step=4, pack_tokens=100)
    assert batches.packs_per_step == 2 and len(batches) == 4
    assert [sorted(batches.plan[2 * n] + batches.plan[2 * n + 1]) for n in (0, 1)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [batches.tokens_of(n) for n in range(4)] == [90, 80, 41, 40]


def test_no_pack_is_empty() -> None:
    batches = StepPacks(some_rows([300, 10, 10, 10]), rows_per_step=4, pack_tokens=100)
    assert batches.packs_per_step == 4 and all(batches.plan)
    assert StepPacks(some_rows([300, 300]), rows_per_step=2, pack_tokens=50).packs_per_step == 2


def test_part_of_a_step_is_refused() -> None:
    with pytest.raises(ConfigError, match="5 rows are no whole steps"):
        StepPacks(some_rows([10] * 5), rows_per_step=4, pack_tokens=100)


def test_packs_of_a_step_do_not_change_the_weights(make_tiny_model: Callable[..., Any], tmp_path: Path) -> None:
    rows = some_rows([30, 12, 25, 60, 9, 41, 33, 18])
    losses = []
    for size in (1000, 70):
        model = make_tiny_model()
        prepare(model, rows)
        batches = StepPacks(rows, rows_per_step=4, pack_tokens=size)
        settings = TrainSettings(warmup_steps=0, accumulation=batches.packs_per_step)
        losses.append([loss for _, loss in train(model, batches, settings, tmp_path / str(size)).losses])
    assert len(losses[0]) == 2 and losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][0] != pytest.approx(losses[0][1], rel=1e-4)
