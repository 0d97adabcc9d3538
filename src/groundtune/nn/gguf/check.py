"""A GGUF file read again: every tensor against the model it was written from, and the model that the file makes."""

from __future__ import annotations

import copy
import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np

from groundtune.errors import InputError
from groundtune.nn.gguf.writer import gguf_package, tensors

_BLOCK = 32


def largest_error(weight: np.ndarray[Any, Any], stored: str) -> np.ndarray[Any, Any]:
    """By how much a stored value may differ, from the format: half a step, a whole one at Q4_0's unsymmetric end.

    Args:
        weight: what was stored, float32.
        stored: gguf's type: F32, F16, Q8_0 or Q4_0; a scale of the last two is a float16, good to 1 in 2,048.
    """
    size: np.ndarray[Any, Any] = np.abs(weight)
    if stored == "F32":
        return np.zeros_like(size)
    if stored == "F16":
        half: np.ndarray[Any, Any] = np.maximum(size * 2.0**-11, 2.0**-25)
        return half
    top, steps = {"Q8_0": (127, 0.5), "Q4_0": (8, 1.0)}[stored]
    reach = size.reshape(-1, _BLOCK).max(axis=1, keepdims=True)
    error = reach / top * steps + reach * 2.0**-11 + top * 2.0**-25
    spread: np.ndarray[Any, Any] = np.broadcast_to(error, (len(reach), _BLOCK)).reshape(size.shape) * 1.001
    return spread


def read_tensors(path: Path) -> dict[str, tuple[str, np.ndarray[Any, Any]]]:
    """Every tensor of a GGUF file by name: gguf's type, and its values in float32 in numpy's order of axes.

    Raises:
        InputError: no GGUF file.
    """
    gguf = gguf_package()
    try:
        reader = gguf.GGUFReader(path)
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{path}: cannot be read as GGUF: {error}", expected="a whole GGUF file") from None
    return {
        t.name: (t.tensor_type.name, np.asarray(gguf.quants.dequantize(t.data, t.tensor_type), dtype=np.float32))
        for t in reader.tensors
    }


def read_metadata(path: Path) -> dict[str, Any]:
    """Every key of a GGUF file with its value."""
    reader = gguf_package().GGUFReader(path)
    return {key: field.contents() for key, field in reader.fields.items()}


def check_file(path: Path, model: Any) -> dict[str, float]:
    """See that a file holds a model's tensors, each within its format's error.

    Returns:
        Tensor -> root-mean-square error over root-mean-square value.

    Raises:
        InputError: a tensor is missing, too many, of another shape, or further off than its format allows.
    """
    found, errors = read_tensors(path), {}
    for name, weight in tensors(model):
        stored, values = found.pop(name, ("", np.empty(0)))
        if values.shape != weight.shape or not np.all(np.abs(values - weight) <= largest_error(weight, stored)):
            raise InputError(
                f"{path}: {name} is not what was written",
                expected=f"{weight.shape} values, each within the error of {stored or 'its type'}",
                next_step="write it again; if it stays so, please report it",
            )
        errors[name] = float(np.sqrt(np.square(values - weight).mean() / max(np.square(weight).mean(), 1e-30)))
    if found:
        raise InputError(f"{path}: holds tensors that the model does not have: {', '.join(sorted(found)[:3])}")
    return errors


def open_gguf(path: Path, config: Any) -> Any:
    """The model of a GGUF file in float32, read by transformers' own reader, which is none of ours.

    Args:
        config: the transformers config of the model it was written from: the reader leaves scaled ropes and biases out of the
            one it makes up from the file.

    Raises:
        InputError: transformers cannot read it.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.quantization_config import GgufConfig

    try:
        with redirect_stderr(io.StringIO()):  # a progress bar that cannot be switched off
            return AutoModelForCausalLM.from_pretrained(
                path.parent,
                gguf_file=path.name,
                config=copy.deepcopy(config),
                dtype=torch.float32,
                quantization_config=GgufConfig(dequantize=True),
            ).eval()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read back: {str(error).splitlines()[0]}") from None
