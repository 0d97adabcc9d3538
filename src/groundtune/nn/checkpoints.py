"""Finding and loading models: the bundled one, a folder, or a Hugging Face name; with or without an adapter."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from groundtune.errors import InputError

BUNDLED = "pebble"
BUNDLED_FOLDER = Path(__file__).parent.parent / "models" / BUNDLED


def model_path(name: str) -> str:
    """Folder of the bundled model, an existing folder, or the name as it is (for the hub cache)."""
    if name == BUNDLED:
        return str(BUNDLED_FOLDER)
    return str(Path(name)) if Path(name).is_dir() else name


def load_model(name: str, *, adapter: str | None = None) -> tuple[Any, Any]:
    """A causal model in float32 on the CPU (bf16 on a GPU), in evaluation mode, and its tokenizer.

    An adapter's weights are merged into the model, so that answering needs no PEFT code on the way.

    Raises:
        InputError: no such model here and none to be fetched, or it is no causal language model.
    """
    path = model_path(name)
    model, tokenizer = _load(path, adapter, (_stamp(path), _stamp(adapter)))
    return model, tokenizer


def _stamp(folder: str | None) -> tuple[int, ...]:
    """When a folder's weights were written: weights trained again are another model."""
    return tuple(sorted(f.stat().st_mtime_ns for f in Path(folder).glob("*.safetensors"))) if folder else ()


@lru_cache(maxsize=3)
def _load(path: str, adapter: str | None, stamps: tuple[tuple[int, ...], ...]) -> tuple[Any, Any]:
    import torch

    on_gpu = torch.cuda.is_available()
    model, tokenizer = open_model(path, torch.bfloat16 if on_gpu else torch.float32)
    if adapter:
        from groundtune.nn.adapters import merge_lora

        merge_lora(model, Path(adapter))
    return model.to("cuda" if on_gpu else "cpu").eval(), tokenizer


def open_model(path: str, dtype: Any) -> tuple[Any, Any]:
    """A fresh copy of a causal model in a ``torch.dtype``, and its tokenizer with a padding token.

    Raises:
        InputError: no such model here and none to be fetched, or it is no causal language model.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(
            f"model {path!r} cannot be loaded: {str(error).strip().splitlines()[0]}",
            expected=f"{BUNDLED!r}, a folder with config.json and safetensors, or a Hugging Face name that is in the cache or can be fetched",
            next_step="check the `model:` line of groundtune.yaml, or pass --model",
        ) from None
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= model.get_input_embeddings().num_embeddings:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer
