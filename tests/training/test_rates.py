"""Learning rates over the steps and over the model's parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.dataset.render import TokenRow
from groundtune.training.data import RowBatches
from groundtune.training.trainer import TrainSettings, train

ROWS = [TokenRow(tuple(range(5 + n, 15 + n)), (True,) * 10) for n in range(6)]


def moved(make_tiny_model: Callable[..., Any], folder: Path, steps: int, **settings: Any) -> dict[str, torch.Tensor]:
    """How far the weights are from where they were after so many steps."""
    model, start = make_tiny_model(), make_tiny_model()
    batches = RowBatches(ROWS[:1], batch_tokens=512, epochs=steps, seed=0)
    train(model, batches, TrainSettings(warmup_steps=0, weight_decay=0.0, **settings), folder)
    there = dict(start.named_parameters())
    return {name: (p.detach() - there[name].detach()).abs() for name, p in model.named_parameters()}


def test_a_part_of_the_model_has_a_rate_of_its_own(make_tiny_model: Callable[..., Any], tmp_path: Path) -> None:
    rates = (("model.layers.1.", 4.0), ("model.layers.", 0.5))
    far = moved(make_tiny_model, tmp_path, 1, learning_rate=1e-3, rates=rates)
    for name, factor in (("model.layers.1.mlp.up_proj.weight", 4.0), ("model.layers.0.mlp.up_proj.weight", 0.5), ("model.norm.weight", 1.0)):  # fmt: skip
        assert float(far[name].max()) == pytest.approx(factor * 1e-3, rel=0.02)  # Adam's first step is the rate itself


def test_the_line_goes_down_to_zero(make_tiny_model: Callable[..., Any], tmp_path: Path) -> None:
    name = "model.norm.weight"
    one = moved(make_tiny_model, tmp_path / "1", 1, learning_rate=1e-3, schedule="linear")
    assert float(one[name].max()) == pytest.approx(1e-3, rel=0.02)
    rates: list[float] = []
    model = make_tiny_model()
    before = model.model.norm.weight.detach().clone()

    def progress(*_: Any) -> None:
        rates.append(float((model.model.norm.weight.detach() - before).abs().max()))
        before.copy_(model.model.norm.weight.detach())

    batches = RowBatches(ROWS[:1], batch_tokens=512, epochs=4, seed=0)
    settings = TrainSettings(learning_rate=1e-3, warmup_steps=0, weight_decay=0.0, schedule="linear", betas=(0.0, 0.0))
    train(model, batches, settings, tmp_path / "4", progress=progress)
    assert rates == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4], rel=0.02)


def test_a_killed_run_with_rates_ends_in_the_same_weights(make_tiny_model: Callable[..., Any], tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(step: int, *_: Any) -> None:
        if step == 5:
            raise Killed

    settings = TrainSettings(warmup_steps=1, schedule="linear", rates=(("model.embed", 3.0),), save_every_steps=2)
    batches = RowBatches(ROWS, batch_tokens=30, epochs=4, seed=0)
    whole, rough = make_tiny_model(), make_tiny_model()
    train(whole, batches, settings, tmp_path / "whole")
    with pytest.raises(Killed):
        train(rough, batches, settings, tmp_path / "rough", progress=kill)
    rough = make_tiny_model()
    train(rough, batches, settings, tmp_path / "rough")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), rough.parameters(), strict=True))
