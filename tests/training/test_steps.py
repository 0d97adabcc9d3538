"""Steps fixed beforehand: the rows of each, however they are laid out; the same weights however they are laid out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.dataset.render import TokenRow
from groundtune.errors import ConfigError
from groundtune.training.objectives import CAUSAL, TokenHits, causal_with, mean_loss
from groundtune.training.packing import prepare
from groundtune.training.steps import ExampleSteps, StepPacks
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


# ---------------------------------------------------------------- steps of examples


@pytest.mark.parametrize(("rows", "size", "epochs", "steps"), [(101, 1, 3, 303), (101, 4, 3, 78), (10, 256, 2, 2)])
def test_an_epoch_has_as_many_steps_as_its_examples_need(rows: int, size: int, epochs: int, steps: int) -> None:
    batches = ExampleSteps(some_rows([5] * rows), rows_per_step=size, batch_tokens=10_000, epochs=epochs, seed=0)
    assert batches.batches_per_step == 1 and len(batches) == steps == epochs * batches.steps_per_epoch
    for epoch in range(epochs):
        own = batches.plan[epoch * batches.steps_per_epoch : (epoch + 1) * batches.steps_per_epoch]
        assert sorted(n for step in own for n in step) == list(range(rows))
        assert all(len(step) == size for step in own[:-1])
    if rows > size:
        assert (
            batches.plan[: batches.steps_per_epoch]
            != batches.plan[batches.steps_per_epoch : 2 * batches.steps_per_epoch]
        )


def test_micro_batches_of_examples_do_not_change_the_weights(
    make_tiny_model: Callable[..., Any], tmp_path: Path
) -> None:
    rows, losses = some_rows([30, 12, 25, 60, 9, 41, 33]), []
    for size in (1000, 70):
        model = make_tiny_model()
        batches = ExampleSteps(rows, rows_per_step=4, batch_tokens=size, epochs=2, seed=3)
        settings = TrainSettings(warmup_steps=0, accumulation=batches.batches_per_step)
        result = train(model, batches, settings, tmp_path / str(size))
        assert result.steps == 4 and result.tokens == 2 * sum(len(r.ids) for r in rows)
        losses.append([loss for _, loss in result.losses])
    assert [] in batches.plan  # the last step of an epoch needs fewer micro-batches than the others
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_hits_are_counted_in_passing(make_tiny_model: Callable[..., Any]) -> None:
    rows, model, hits = some_rows([30, 12, 25]), make_tiny_model(), TokenHits()
    batches = ExampleSteps(rows, rows_per_step=3, batch_tokens=1000, epochs=1, seed=0)
    plain, counted = mean_loss(model, batches), mean_loss(model, batches, causal_with(hits))
    assert plain == counted and causal_with(hits).name == CAUSAL.name
    right = total = 0
    for row in rows:
        best = model(torch.tensor([row.ids])).logits[0].argmax(-1)
        wanted = [t for t in range(1, len(row.ids)) if row.trained[t]]
        right, total = right + sum(int(best[t - 1]) == row.ids[t] for t in wanted), total + len(wanted)
    assert hits.take() == pytest.approx(right / total) and hits.take() is None


def test_counting_hits_changes_no_gradient(make_tiny_model: Callable[..., Any]) -> None:
    batch = ExampleSteps(some_rows([30, 12, 25]), rows_per_step=3, batch_tokens=1000, epochs=1, seed=0)[0]
    grads = []
    for objective in (CAUSAL, causal_with(TokenHits())):
        model = make_tiny_model()
        objective.loss(model, batch, None).backward()
        grads.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
