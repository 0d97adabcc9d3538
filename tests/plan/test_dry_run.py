"""The dry step against a real one: what torch's own allocator is asked for on a CPU, to the percent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_configs import VOCABULARY, gemma2, gpt2, llama, qwen3
from torch.profiler import ProfilerActivity, profile

from groundtune.plan.dry_run import dry_step
from groundtune.plan.loss import loss_of
from groundtune.plan.machine import Device
from groundtune.plan.memory import Run, skeleton
from groundtune.plan.timed import made_up


def planned(run: Run) -> dict[str, int]:
    model = skeleton(run)
    loss = loss_of(model, run.method, run.rows, run.tokens, run.supervised, top=run.sizes.top)
    return dry_step(model, loss, vocabulary=VOCABULARY, accumulation=run.accumulation, autocast=run.device.bf16).parts


def real_peak(run: Run) -> int:
    """Most bytes that a second step holds beside weights, by the allocator's events."""
    model = made_up(replace(run, checkpointing=False))
    if run.checkpointing:
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        base.gradient_checkpointing_enable({"use_reentrant": False})
        base.enable_input_require_grads()
    loss = loss_of(model, run.method, run.rows, run.tokens, run.supervised, top=run.sizes.top)

    def step() -> None:
        for _ in range(run.accumulation):
            with torch.autocast("cpu", torch.bfloat16, enabled=run.device.bf16):
                total = loss()
            total.backward()
            del total

    step()
    model.zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    changes: list[tuple[int, int]] = []
    walk(seen.profiler.kineto_results.experimental_event_tree(), changes)
    held = peak = 0
    for _, change in sorted(changes):
        held += change
        peak = max(peak, held)
    return peak


def walk(events: Any, changes: list[tuple[int, int]]) -> None:
    for event in events:
        if str(event.tag).endswith("Allocation"):
            changes.append((event.start_time_ns, event.extra_fields.alloc_size))
        walk(event.children, changes)


def off(run: Run) -> float:
    parts = planned(run)
    return abs(sum(n for part, n in parts.items() if part != "weights") / real_peak(run) - 1)


METHODS = ("full", "lora", "prefix_tuning", "prompt_tuning", "p_tuning", "ia3", "llama_adapter", "adapter", "layers", "classifier")  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("config", [llama, lambda: gpt2(0.1)], ids=["llama", "gpt2-dropout"])
def test_a_step_holds_what_the_allocator_is_asked_for(config: Callable[[], Any], method: str) -> None:
    assert off(Run(config(), method, 4, 64, 100)) < 0.01


@pytest.mark.parametrize("config", [gpt2, qwen3], ids=["gpt2", "qwen3"])
def test_other_architectures(config: Callable[[], Any]) -> None:
    assert off(Run(config(), "full", 4, 64, 100)) < 0.01


def test_an_architecture_without_fused_attention() -> None:
    assert off(Run(gemma2(), "full", 4, 64, 100)) < 0.05


@pytest.mark.parametrize("supervised", [1, 240])
def test_few_and_many_supervised_positions(supervised: int) -> None:
    assert off(Run(llama(), "full", 4, 64, supervised)) < 0.01


def test_gradients_stay_while_micro_batches_add_up() -> None:
    run = Run(llama(), "full", 4, 64, 100, accumulation=2)
    assert off(run) < 0.01
    once = planned(Run(llama(), "full", 4, 64, 100))
    trained = 4 * sum(p.numel() for p in skeleton(run).parameters())
    assert sum(planned(run).values()) >= sum(once.values()) + 0.8 * trained


@pytest.mark.parametrize("method", ["full", "lora"])
def test_checkpointing(method: str) -> None:
    run = Run(llama(), method, 4, 64, 100, checkpointing=True)
    assert off(run) < 0.02
    assert planned(run)["activations"] < 0.5 * planned(Run(llama(), method, 4, 64, 100))["activations"]


def test_parts_are_what_they_say() -> None:
    parts = planned(Run(llama(), "full", 4, 64, 100))
    weights = sum(p.numel() for p in skeleton(Run(llama(), "full", 1, 1, 1)).parameters())
    assert parts["weights"] - 4 * weights < 4096  # rotary frequencies
    assert parts["logits"] == 3 * 100 * VOCABULARY * 4  # log-probabilities, their gradient, the logits' gradient
    lone = planned(Run(llama(), "full", 1, 2, 1))  # hardly any activation: the peak is where all gradients are there
    assert lone["gradients"] >= 4 * weights


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("config", [llama, gpt2], ids=["llama", "gpt2"])
def test_autocast(config: Callable[[], Any], method: str) -> None:
    """On a CPU, where it can be compared; a GPU's also keeps norms in 32 bits."""
    low = Run(config(), method, 4, 64, 100, device=Device("cpu", bf16=True))
    assert off(low) < 0.02
    assert planned(low)["weights"] == planned(Run(config(), method, 4, 64, 100))["weights"]
