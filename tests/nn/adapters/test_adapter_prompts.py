"""Adapters that PEFT attaches or merges for us: whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.errors import InputError
from groundtune.nn.adapters.apply import apply_adapter, virtual_tokens

IDS = torch.tensor([[5, 60, 70, 12, 33, 21, 39, 8]])


def llama(**changes: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**{"vocab_size": 80, **shape, **heads, **changes})).eval()


def config_of(kind: str) -> Any:
    import peft

    task = {"task_type": "CAUSAL_LM"}
    makers: dict[str, Callable[[], Any]] = {
        "PROMPT_TUNING": lambda: peft.PromptTuningConfig(num_virtual_tokens=5, **task),
        "P_TUNING": lambda: peft.PromptEncoderConfig(num_virtual_tokens=5, encoder_hidden_size=16, **task),
        "PREFIX_TUNING": lambda: peft.PrefixTuningConfig(
            num_virtual_tokens=5, prefix_projection=True, encoder_hidden_size=16, **task
        ),
        "ADAPTION_PROMPT": lambda: peft.AdaptionPromptConfig(adapter_len=5, adapter_layers=2, **task),
        "ADALORA": lambda: peft.AdaLoraConfig(init_r=4, target_r=4, total_step=10, target_modules=["q_proj"], **task),
        "LOHA": lambda: peft.LoHaConfig(r=4, target_modules=["q_proj"], **task),
        "LOKR": lambda: peft.LoKrConfig(r=4, target_modules=["q_proj"], **task),
        "OFT": lambda: peft.OFTConfig(oft_block_size=8, target_modules=["q_proj"], **task),
        "VERA": lambda: peft.VeraConfig(r=4, target_modules=["q_proj", "o_proj"], **task),
        "LN_TUNING": lambda: peft.LNTuningConfig(target_modules=["input_layernorm", "norm"], **task),
    }
    return makers[kind]()


ATTACHED = ["PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT"]
MERGED = ["ADALORA", "LOHA", "LOKR", "OFT", "VERA", "LN_TUNING"]


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model.eval()(input_ids=IDS).logits[:, -IDS.shape[1] :]
    return out


def save_trained(kind: str, folder: Path) -> torch.Tensor:
    from peft import get_peft_model

    model = get_peft_model(llama(), config_of(kind))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(str(folder))
    return logits(model)


@pytest.mark.parametrize("kind", [*ATTACHED, *MERGED])
def test_the_loaded_model_is_the_trained_one(kind: str, tmp_path: Path) -> None:
    trained = save_trained(kind, tmp_path)
    model = apply_adapter(llama(), tmp_path)
    assert float((logits(llama()) - trained).abs().max()) > 1e-3
    assert float((logits(model) - trained).abs().max()) < 1e-5
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert virtual_tokens(model) == (5 if "_TUNING" in kind and kind != "LN_TUNING" else 0)
    assert hasattr(model, "get_base_model") == (kind in ATTACHED)


@pytest.mark.parametrize("kind", [*ATTACHED, *MERGED])
@pytest.mark.parametrize("change", ["one too few", "one too many"])
def test_tensors_too_few_or_too_many_are_refused(kind: str, change: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_trained(kind, tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    if change == "one too few":
        del weights[min(weights)]
    else:
        weights["base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"] = torch.zeros(4, 32)
    save_file(weights, tmp_path / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"missing, surplus|does not fit this model"):
        apply_adapter(llama(), tmp_path)


@pytest.mark.parametrize("kind", ATTACHED)
@pytest.mark.parametrize("other", [{"hidden_size": 64}, {"num_hidden_layers": 1}])
def test_an_adapter_of_another_shape_is_refused(kind: str, other: dict[str, int], tmp_path: Path) -> None:
    save_trained(kind, tmp_path)
    with pytest.raises(InputError, match=f"the {kind} adapter does not fit this model"):
        apply_adapter(llama(**other), tmp_path)


def test_a_broken_config_of_a_known_kind_is_refused(tmp_path: Path) -> None:
    save_trained("PROMPT_TUNING", tmp_path)
    file = tmp_path / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**config, "num_virtual_tokens": 6}), encoding="utf-8")
    with pytest.raises(InputError, match="does not fit this model"):
        apply_adapter(llama(), tmp_path)


def test_a_merge_by_peft_into_a_quantized_model_is_refused(tmp_path: Path) -> None:
    save_trained("VERA", tmp_path)
    model = llama()
    model.is_quantized = True
    with pytest.raises(InputError, match="quantized model"):
        apply_adapter(model, tmp_path)


def test_lora_and_ia3_need_no_peft(tmp_path: Path) -> None:
    import subprocess
    import sys

    from peft import IA3Config, LoraConfig, get_peft_model

    llama().save_pretrained(tmp_path / "base")
    for config in (LoraConfig(target_modules=["q_proj"], use_dora=True), IA3Config()):
        get_peft_model(llama(), config).save_pretrained(str(tmp_path / config.peft_type.value))
    code = f"""
import sys
from pathlib import Path
from transformers import AutoModelForCausalLM
from groundtune.nn.adapters.apply import apply_adapter
for kind in ("LORA", "IA3"):
    apply_adapter(AutoModelForCausalLM.from_pretrained({str(tmp_path / "base")!r}), Path({str(tmp_path)!r}) / kind)
print("peft" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr[-2000:]
