"""What each method trains: counted without memory, the same as on a real model, and as computed by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from small_configs import CONFIGS, bert, llama
from transformers import AutoModelForCausalLM

from groundtune.errors import ConfigError, UnknownNameError
from groundtune.plan.attach import METHODS, Sizes, attach, blocks_of, bottleneck_parameters
from groundtune.plan.memory import Run, skeleton, trainable_parameters

CAUSAL = [name for name in METHODS if name != "classifier"]


def real(config: Any, method: str, sizes: Sizes | None = None) -> Any:
    return attach(AutoModelForCausalLM.from_config(copy.deepcopy(config)), method, sizes)


@pytest.mark.parametrize("method", CAUSAL)
@pytest.mark.parametrize("name", CONFIGS)
def test_counted_on_the_meta_device_as_on_a_real_model(name: str, method: str) -> None:
    config = CONFIGS[name]()
    if (name, method) == ("qwen3", "llama_adapter"):
        with pytest.raises(ConfigError, match="llama_adapter on Qwen3"):
            skeleton(Run(config, method, 1, 8, 4))
        return
    counted = skeleton(Run(config, method, 1, 8, 4))
    assert {p.device.type for p in counted.parameters()} == {"meta"}
    assert trainable_parameters(counted) == trainable_parameters(real(config, method)) > 0


def test_by_hand_on_a_small_llama() -> None:
    """3 layers, width 64, feed-forward 128, 4 heads and 2 key-value heads of 16, 500 tokens, tied."""
    matrices = [(64, 64), (64, 32), (64, 32), (64, 64), (64, 128), (64, 128), (128, 64)]
    whole = 500 * 64 + 3 * (sum(a * b for a, b in matrices) + 2 * 64) + 64
    sizes = Sizes(rank=4, virtual_tokens=5, encoder_width=7, adapter_tokens=3, reduction=16, top=2)
    expected = {
        "full": whole,
        "pretraining": whole,
        "lora": 3 * sum(4 * (a + b) for a, b in matrices),
        "qlora": 3 * sum(4 * (a + b) for a, b in matrices),
        "prefix_tuning": 5 * 3 * 2 * 32,
        "prompt_tuning": 5 * 64,
        "p_tuning": 5 * 64 + (64 * 7 + 7) + (7 * 7 + 7) + (7 * 64 + 64),
        "ia3": 3 * (32 + 32 + 128),
        "llama_adapter": 1 * (3 * 64 + 1),
        "adapter": 3 * 2 * (2 * 4 * 64 + 64 + 4),
        "layers": 2 * (sum(a * b for a, b in matrices) + 2 * 64) + 64,
    }
    assert expected.keys() == set(CAUSAL)
    for method, count in expected.items():
        assert trainable_parameters(real(llama(), method, sizes)) == count, method


def test_the_bottlenecks_formula_and_that_they_are_in_the_forward_pass() -> None:
    model = real(llama(), "adapter", Sizes(reduction=8))
    assert trainable_parameters(model) == bottleneck_parameters(3, 64, 8)
    ids = torch.arange(6)[None]
    before = model(ids).logits
    for name, parameter in model.named_parameters():
        if "bottleneck" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    assert float((model(ids).logits - before).detach().abs().max()) > 1e-3


def test_a_classifier_has_a_head_instead_of_words() -> None:
    model = skeleton(Run(bert(), "classifier", 2, 8, 0, sizes=Sizes(classes=3)))
    assert model.num_labels == 3
    assert trainable_parameters(model) == sum(p.numel() for p in model.parameters())
    assert len(blocks_of(model)) == 2


def test_what_cannot_be() -> None:
    with pytest.raises(UnknownNameError, match="lora"):
        attach(None, "lorra")
    with pytest.raises(ConfigError, match="4 top layers"):
        real(llama(), "layers", Sizes(top=4))
    with pytest.raises(ConfigError, match="gradient checkpointing"):
        skeleton(Run(llama(), "prefix_tuning", 1, 8, 4, checkpointing=True))
