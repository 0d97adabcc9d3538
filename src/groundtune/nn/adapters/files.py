"""An adapter's folder as PEFT writes it, ``adapter_config.json`` beside ``adapter_model.safetensors``, read and judged.

Leaves out what the weights mean (``lora``, ``merge``, ``prompts`` and :mod:`groundtune.nn.bottleneck`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundtune.errors import InputError

CONFIG, WEIGHTS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
#: what PEFT puts before a module's name
PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class Adapter:
    """A saved adapter.

    Attributes:
        folder: where it was read.
        kind: PEFT's ``peft_type``: LORA, IA3, PREFIX_TUNING and so on, or our BOTTLENECK.
        config: all of ``adapter_config.json``.
        weights: every tensor of the file, on the CPU, under the name it is saved by.
    """

    folder: Path
    kind: str
    config: dict[str, Any]
    weights: dict[str, Any]


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter's folder.

    Raises:
        InputError: no adapter there, a file cut off, weights only as a pickle, or a config without ``peft_type``.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if (folder / PICKLED).exists() and not (folder / WEIGHTS).exists():
        raise InputError(
            f"{folder / PICKLED} is a pickle, and a pickle can run code when it is opened",
            expected=WEIGHTS,
            next_step="save the adapter again where it was trained: save_pretrained(folder, safe_serialization=True)",
        )
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"{folder}: no adapter: {error}", expected=f"{CONFIG} and {WEIGHTS}") from None
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if not isinstance(kind, str):
        raise InputError(f"{folder / CONFIG} has no peft_type", expected="an adapter as PEFT saves it")
    return Adapter(folder, kind, config, weights)


def check_base(model: Any, adapter: Adapter) -> None:
    """See that the base model an adapter's config names, where it is a folder of this machine, has this model's shape.

    Raises:
        InputError: another architecture, width or depth.
    """
    named = adapter.config.get("base_model_name_or_path")
    try:
        theirs = json.loads((Path(str(named)) / "config.json").read_text(encoding="utf-8")) if named else {}
    except (OSError, ValueError):
        return  # a name of the hub, or a folder of the machine it was trained on
    theirs = {**theirs, **theirs.get("text_config", {})}
    ours = model.config.get_text_config()
    for key in ("model_type", "hidden_size", "num_hidden_layers", "n_embd", "n_layer"):
        if key in theirs and hasattr(ours, key) and theirs[key] != getattr(ours, key):
            raise InputError(
                f"{adapter.folder} was trained on {named}, whose {key} is {theirs[key]}; this model's is {getattr(ours, key)}",
                expected="the model the adapter was trained on",
                next_step=f"open it with `model: {named}`",
            )


def refuse_quantized(model: Any, adapter: Adapter) -> None:
    """See that a model's weights are numbers that something can be added to.

    Raises:
        InputError: 4-bit or 8-bit weights: a merge would round the adapter away.
    """
    packed = {type(p).__name__ for p in model.parameters()} & {"Params4bit", "Int8Params"}
    if getattr(model, "is_quantized", False) or packed or not all(p.is_floating_point() for p in model.parameters()):
        raise InputError(
            f"{adapter.folder} cannot be merged into a quantized model: its steps are coarser than what the adapter adds",
            expected="the base in 16 or 32 bits",
            next_step="open the model without quantization, merge, and quantize the merged model",
        )


def first_line(error: Exception) -> str:
    """What an error of another library says, in one line; its name where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
