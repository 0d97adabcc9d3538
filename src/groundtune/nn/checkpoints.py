"""Finding and loading models: the bundled one, a folder, or a Hugging Face name; with or without an adapter."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from groundtune.errors import InputError
from groundtune.nn.encoder_models import MINILM, minilm_folder
from groundtune.nn.probe import FILE as PROBE
from groundtune.nn.probe import check_probe
from groundtune.nn.shared_tokenizer import shared

BUNDLED = "pebble"
BUNDLED_FOLDER = Path(__file__).parent.parent / "models" / BUNDLED


def model_path(name: str) -> str:
    """Folder of the bundled model or encoder, an existing folder, or the name as it is (for the hub cache)."""
    if name == BUNDLED:
        return str(BUNDLED_FOLDER)
    if name == MINILM:
        return str(minilm_folder())
    return str(Path(name)) if Path(name).is_dir() else name


def load_model(name: str, *, adapter: str | None = None) -> tuple[Any, Any]:
    """A causal model in float32 on the CPU (bf16 on a GPU), in evaluation mode, and its tokenizer.

    An adapter is merged into the model or attached to it (:func:`groundtune.nn.adapters.apply.apply_adapter`).

    Raises:
        InputError: no such model here and none to be fetched, it is no causal language model, the adapter is none or not
            this model's, the model is quantized and there is an adapter to merge, or the weights are not those that the
            probe beside them was saved with.
    """
    path = model_path(name)
    model, tokenizer = _load(path, adapter, (_stamp(path), _stamp(adapter)))
    return model, tokenizer


def _stamp(folder: str | None) -> tuple[int, ...]:
    """When a folder's weights were written: weights trained again are another model."""
    return tuple(sorted(f.stat().st_mtime_ns for f in Path(folder).glob("*.safetensors"))) if folder else ()


@lru_cache(maxsize=3)
def _load(path: str, adapter: str | None, stamps: tuple[tuple[int, ...], ...]) -> tuple[Any, Any]:
    return open_for_answering(path, adapter=adapter)


def open_for_answering(name: str, *, adapter: str | None = None) -> tuple[Any, Any]:
    """As :func:`load_model`, but a copy that nobody else has. Raises the same."""
    import torch

    path = model_path(name)
    on_gpu = torch.cuda.is_available()
    model, tokenizer = open_model(path, torch.bfloat16 if on_gpu else torch.float32)
    if adapter:
        from groundtune.nn.adapters.apply import apply_adapter
        from groundtune.nn.quantize.files import refuse_merge

        refuse_merge(model, path, adapter)
        model = apply_adapter(model, Path(adapter))
    model = model.to("cuda" if on_gpu else "cpu").eval()
    if (Path(adapter or path) / PROBE).exists():
        check_probe(model, Path(adapter or path))
    return model, shared(tokenizer)


def open_model(path: str, dtype: Any, **options: Any) -> tuple[Any, Any]:
    """A fresh copy of a causal model in a ``torch.dtype``, and its tokenizer with a padding token.

    A folder that ``groundtune export`` quantized keeps its integers; the rest of it takes the dtype.

    Args:
        options: passed on to ``from_pretrained``, such as ``quantization_config``.

    Raises:
        InputError: no such model here and none to be fetched, or it is no causal language model.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from groundtune.nn.quantize.files import register

    register()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
        model, info = loaded
        _check_whole(info)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(
            f"model {path!r} cannot be loaded: {str(error).strip().splitlines()[0]}",
            expected=f"{BUNDLED!r}, a folder with config.json and safetensors, or a Hugging Face name that is in the cache or can be fetched",
            next_step="check the `model:` line of groundtune.yaml, or pass --model",
        ) from None
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= model.get_input_embeddings().num_embeddings:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def _check_whole(info: dict[str, Any]) -> None:
    """See that every weight came from the files: transformers makes up the ones that did not, with a warning.

    Raises:
        ValueError: some did not.
    """
    mismatched = [key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]]
    made_up = sorted({*info["missing_keys"], *mismatched})
    if made_up:
        named = ", ".join(made_up[:3]) + (" ..." if len(made_up) > 3 else "")
        raise ValueError(
            f"{len(made_up)} of its weights are missing or of another shape than config.json says: {named}"
        )


def open_tokenizer(model: str) -> tuple[Any, int]:
    """A model's tokenizer and its context in tokens, without its weights.

    Raises:
        InputError: no such model here and none to be fetched.
    """
    from transformers import AutoConfig, AutoTokenizer

    path = model_path(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        settings = AutoConfig.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"the tokenizer of {model!r} cannot be loaded: {str(error).strip().splitlines()[0]}",
            expected=f"{BUNDLED!r}, a folder with config.json and tokenizer.json, or a Hugging Face name",
            next_step="check the `model:` line of groundtune.yaml, or pass --model",
        ) from None
    text = getattr(settings, "text_config", settings)
    context = getattr(text, "max_position_embeddings", None) or min(int(tokenizer.model_max_length or 2048), 2**20)
    tokenizer.model_max_length = 10**9  # lengths are what is measured: no warning about long rows
    return tokenizer, int(context)
