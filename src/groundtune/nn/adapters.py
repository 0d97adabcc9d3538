"""LoRA adapters in PEFT's format: merged into a model by hand, so that answering does not import PEFT (4 to 9 s).

Hu et al., LoRA (ICLR 2022), equation 3: W = W0 + (alpha / r) B A.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from groundtune.errors import InputError


def merge_lora(model: Any, folder: Path) -> int:
    """Add a saved LoRA adapter to a model's weights in place; returns the number of matrices changed.

    Raises:
        InputError: no adapter there, another kind of adapter, or one that does not fit the model (nothing is
            skipped silently: every saved matrix must find its place).
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(
            f"{folder}: no adapter: {error}", expected="adapter_config.json and adapter_model.safetensors"
        ) from None
    plain = config.get("peft_type") == "LORA" and not config.get("use_dora") and not config.get("rank_pattern")
    if not plain or config.get("use_rslora") or config.get("alpha_pattern"):
        raise InputError(
            f"{folder}: not a plain LoRA adapter",
            next_step="merge it with PEFT (merge_and_unload) and use the folder as `model:`",
        )
    scale = config["lora_alpha"] / config["r"]
    merged = 0
    for key in sorted(k for k in weights if k.endswith("lora_A.weight") and k.replace("lora_A", "lora_B") in weights):
        name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        try:
            module = model.get_submodule(name)
            target = module.weight.T if type(module).__name__ == "Conv1D" else module.weight  # GPT-2 keeps them turned
        except AttributeError:
            raise InputError(
                f"{folder}: {name} is not in this model", expected="the model the adapter was trained on"
            ) from None
        a, b = weights[key].float(), weights[key.replace("lora_A", "lora_B")].float()
        if target.shape != (b.shape[0], a.shape[1]):
            raise InputError(
                f"{folder}: {name} is {tuple(target.shape)}, the adapter {(b.shape[0], a.shape[1])}",
                expected="the model the adapter was trained on",
            )
        with torch.no_grad():
            target.add_((scale * (b @ a)).to(target.dtype))
        merged += 1
    if 2 * merged != len(weights):
        raise InputError(
            f"{folder}: {len(weights) - 2 * merged} of {len(weights)} adapter weights have no place",
            expected="LoRA pairs only",
        )
    return merged
