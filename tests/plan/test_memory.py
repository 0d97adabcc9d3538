"""Peak memory by part: what each method needs, against sums by hand, and what changes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from small_configs import CONFIGS, bert, llama

from groundtune.plan.machine import Device
from groundtune.plan.memory import BASE_BYTES, Run, least_bytes, peak_memory, skeleton
from groundtune.plan.sizes import _packed, tensors

GPU = Device("cuda", bf16=True)


def run(method: str = "full", **changes: Any) -> Run:
    return replace(Run(llama(), method, 4, 64, 100), **changes)


@pytest.mark.parametrize("method", ["full", "lora", "qlora", "prompt_tuning", "adapter", "layers", "classifier", "pretraining"])  # fmt: skip
def test_parts_add_up_and_the_known_ones_are_right(method: str) -> None:
    planned = peak_memory(run(method))
    assert sum(planned.parts.values()) == planned.peak == planned.step_bytes
    assert planned.parts["optimizer"] == 8 * planned.trainable_parameters
    assert planned.parts["base"] == BASE_BYTES
    if method != "qlora":
        assert planned.parts["weights"] == pytest.approx(4 * planned.parameters, abs=4096)
    assert planned.stage == "step"


def test_frozen_weights_need_neither_gradients_nor_optimizer() -> None:
    full, lora, prompt = (peak_memory(run(m, rows=1, tokens=2, supervised=1)) for m in ("full", "lora", "prompt_tuning"))  # fmt: skip
    assert full.parts["gradients"] >= 4 * full.parameters
    assert lora.parts["gradients"] == 4 * lora.trainable_parameters
    assert full.peak > lora.peak > prompt.peak


@pytest.mark.parametrize("name", CONFIGS)
def test_more_tokens_take_more_and_checkpointing_takes_less(name: str) -> None:
    base = replace(run(), config=CONFIGS[name]())
    few, many = peak_memory(base), peak_memory(replace(base, rows=16, supervised=400))
    assert many.peak > few.peak
    assert peak_memory(replace(base, rows=16, supervised=400, checkpointing=True)).peak < many.peak


def test_qlora_weighs_what_bitsandbytes_keeps_of_the_linear_layers() -> None:
    plain = skeleton(run())
    four_bits = sum(_packed(t, "nf4") if t.role in ("value", "down", "linear") else 4 * t.count for t in tensors(plain))
    lora, qlora = peak_memory(run("lora")), peak_memory(run("qlora"))
    adapters = 4 * lora.trainable_parameters
    assert qlora.parts["weights"] == pytest.approx(four_bits + adapters, abs=4096)
    assert qlora.parts["activations"] == lora.parts["activations"] + 4 * 64 * 128  # one matrix made whole


def test_layers_keep_the_states_of_all_rows_once() -> None:
    without, kept = peak_memory(run("layers")), peak_memory(run("layers", kept_tokens=10_000))
    assert kept.parts["kept states"] == 10_000 * 64 * 4
    assert kept.peak == without.peak + 10_000 * 64 * 4
    assert without.parts["activations"] < peak_memory(run("full")).parts["activations"]


def test_a_second_copy_of_the_weights_can_be_the_peak() -> None:
    tiny = run("prompt_tuning", rows=1, tokens=2, supervised=1)
    read = peak_memory(replace(tiny, read_back=True))
    assert peak_memory(tiny).stage == "step"
    assert read.stage == "reading back"
    assert read.parts["second copy"] == 4 * read.parameters
    assert read.peak == sum(read.parts.values()) > read.step_bytes


def test_on_a_gpu_only_tensors_are_counted() -> None:
    planned = peak_memory(run(device=GPU))
    assert planned.parts.keys() == {"weights", "gradients", "activations", "logits", "optimizer"}
    assert planned.parts["weights"] == pytest.approx(4 * planned.parameters, abs=4096)


def test_the_least_is_less_than_any_peak_and_counts_what_never_goes() -> None:
    for method in ("full", "lora", "qlora", "layers"):
        small = run(method, rows=1, tokens=2, supervised=1)
        assert least_bytes(small) < peak_memory(small).peak
    full = least_bytes(run())
    assert full == 12 * sum(p.numel() for p in skeleton(run()).parameters()) + BASE_BYTES


def test_a_methods_own_attach_is_taken() -> None:
    def freeze_all_but_the_last_norm(model: Any) -> Any:
        model.requires_grad_(False)
        model.model.norm.requires_grad_(True)
        return model

    planned = peak_memory(run("lora", attach=freeze_all_but_the_last_norm))
    assert planned.trainable_parameters == 64


def test_an_encoder_as_a_classifier() -> None:
    planned = peak_memory(Run(bert(), "classifier", 8, 32, 0))
    assert planned.parts["logits"] < 1000  # two classes a row; no words
    assert planned.trainable_parameters == planned.parameters


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_against_the_gpus_own_count() -> None:
    from groundtune.plan.loss import loss_of
    from groundtune.plan.timed import made_up

    wanted = replace(run(rows=16, tokens=128, supervised=500), device=GPU)
    model = made_up(wanted)
    loss = loss_of(model, "full", 16, 128, 500, top=2)
    for _ in range(2):
        model.zero_grad(set_to_none=True)
        torch.cuda.reset_peak_memory_stats()
        with torch.autocast("cuda", torch.bfloat16):
            total = loss()
        total.backward()
    planned = peak_memory(wanted)
    assert planned.peak - planned.parts["optimizer"] == pytest.approx(torch.cuda.max_memory_allocated(), rel=0.15)
