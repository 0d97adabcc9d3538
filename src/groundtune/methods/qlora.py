"""QLoRA: LoRA over a base held in 4 bits, NF4 with double quantization (Dettmers et al., NeurIPS 2023).

Saves memory, not time. The adapter is merged into the 16- or 32-bit base to answer, never into the 4-bit one.
"""

from __future__ import annotations

from typing import Any

from groundtune.methods.lora import RATE, RATE_BUNDLED, Options, attach

__all__ = ["RATE", "RATE_BUNDLED", "Options", "attach", "load"]


def load(path: str) -> tuple[Any, Any]:
    """The base in NF4, ready to carry adapters, and its tokenizer.

    Raises:
        InputError: no bitsandbytes, or no such model.
    """
    import importlib.util

    import torch

    from groundtune.errors import InputError
    from groundtune.nn.checkpoints import open_model

    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(
            "qlora needs bitsandbytes", next_step="pip install 'groundtune[qlora]', or choose --method lora"
        )
    from peft import prepare_model_for_kbit_training
    from transformers import BitsAndBytesConfig

    compute = torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else torch.float32
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    model, tokenizer = open_model(path, compute, quantization_config=four_bit)
    # else one answer before training lays the weights out in a way that passes no gradient on
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    prepared = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)  # type: ignore[no-untyped-call]
    return prepared, tokenizer
