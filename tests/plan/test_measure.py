"""Timing two blocks: the parts of a step, how they grow, and what is said about it. How right it is: tools/plan_check.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from small_configs import bert, gpt2, llama

from groundtune.errors import ConfigError
from groundtune.plan import measure as measuring
from groundtune.plan.attach import METHODS
from groundtune.plan.measure import Speed, _extended, measure
from groundtune.plan.memory import Run, skeleton, trainable_parameters
from groundtune.plan.timed import Times, made_up, timed

SPEED = Speed(0.1, 0.2, 0.5, 0.05, layers=10, backward_layers=8, frozen_layers=0, measured_on="a clock")


def test_a_step_is_its_blocks_and_the_rest() -> None:
    assert SPEED.micro_batch_seconds() == pytest.approx(0.5 + 10 * 0.1 + 8 * 0.2)
    assert SPEED.micro_batch_seconds(checkpointing=True) == pytest.approx(0.5 + 10 * 0.1 + 8 * 0.3)


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("qlora", "llama_adapter")])
def test_every_method_is_timed(method: str) -> None:
    speed = measure(Run(gpt2(), method, 2, 64, 20), budget_seconds=0)
    assert min(speed.block_forward, speed.block_backward, speed.optimizer) > 0
    assert speed.rest >= 0
    assert (speed.layers, speed.frozen_layers) == ((2, 1) if method == "layers" else (3, 0))
    assert "50% of the tokens" not in speed.measured_on


def test_adaption_prompts_stop_the_gradient_above_the_lowest_two_layers() -> None:
    speed = measure(Run(llama(), "llama_adapter", 2, 32, 20), budget_seconds=0)
    assert (speed.layers, speed.backward_layers) == (3, 1)


def test_qlora_is_timed_in_4_bits() -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    run = Run(llama(), "qlora", 2, 32, 20)
    assert sum("Linear4bit" in type(m).__name__ for m in made_up(run).modules()) == 3 * 7
    assert measure(run, budget_seconds=0).block_forward > 0


def test_qlora_without_bitsandbytes_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="bitsandbytes"):
        measure(Run(llama(), "qlora", 2, 32, 20), budget_seconds=0)


def test_an_encoders_classifier_is_timed() -> None:
    assert measure(Run(bert(), "classifier", 2, 32, 0), budget_seconds=0).layers == 2


def test_passes_grow_to_the_whole_micro_batch_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int, int]] = []

    def watched(model: Any, run: Run) -> Times:
        seen.append((run.rows, run.tokens, run.supervised))
        return timed(model, run)

    monkeypatch.setattr(measuring, "timed", watched)
    speed = measure(Run(llama(), "full", 8, 128, 256), budget_seconds=60)
    assert seen[:4] == [(1, 32, 8), (1, 32, 8), (1, 128, 32), (4, 128, 128)]
    assert seen[4:] == [(8, 128, 256)] * measuring._PASSES
    assert "tokens" not in speed.measured_on


def test_without_time_the_rest_is_a_straight_line() -> None:
    small, large = Times(1.0, 2.0, 3.0), Times(2.0, 2.0, 7.0)
    assert _extended(small, large, 100, 200, 400) == Times(4.0, 2.0, 15.0)
    assert _extended(small, large, 100, 400, 400) == large
    assert _extended(small, Times(0.5, 1.0, 1.0), 100, 200, 400).forward == 0.5  # never less than what was seen
    assert _extended(small, small, 100, 100, 400) == Times(4.0, 8.0, 12.0)


def test_where_memory_is_short_blocks_are_narrower_and_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    from groundtune.plan.memory import peak_memory

    run = Run(llama(), "full", 1, 32, 8)
    short = measuring._short(run, 1)
    monkeypatch.setattr(measuring, "free_memory_bytes", lambda device: int((peak_memory(short).peak - 1) / 0.6))
    speed = measure(run, budget_seconds=0)
    assert "1/2 of the width" in speed.measured_on
    half = measuring._short(run, 2)
    assert half.config.hidden_size == 32
    assert half.config.num_key_value_heads == 1
    assert measuring._block_weights(run) / measuring._block_weights(half) == pytest.approx(4, rel=0.02)
    monkeypatch.setattr(measuring, "free_memory_bytes", lambda device: 1000)
    with pytest.raises(ConfigError, match="not even two narrow blocks"):
        measure(run, budget_seconds=0)


def test_two_blocks_are_timed_whatever_the_depth() -> None:
    deep = llama()
    deep.num_hidden_layers = 40
    run = measuring._short(Run(deep, "layers", 1, 8, 4), 1)
    assert trainable_parameters(skeleton(replace(run, method="full"))) < 1e6
    assert run.config.num_hidden_layers == run.sizes.top == 2
    assert measure(Run(deep, "full", 1, 8, 4), budget_seconds=0).layers == 40
