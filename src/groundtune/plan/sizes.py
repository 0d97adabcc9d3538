"""Bytes of a model's weights on disk in named formats, tensor by tensor from its config: nothing is quantized for it.

The lesson's FP16 -> INT4 rows (Llama-2 7B 13.5 -> 3.9 GB, 13B 26.1 -> 7.3, 70B 138 -> 40.7) are within 5 % of one format,
llama.cpp's Q4_0. (Its INT4 numbers are those of GPTQ at two group sizes: 128 for 7B and 13B, 32 for 70B.)
Sources: block sizes, ggml (``ggml-common.h``); tensor mixes, llama.cpp ``src/llama-quant.cpp``; GPTQ and AWQ, the tensors of
AutoGPTQ and AutoAWQ (``qweight qzeros scales``, GPTQ also ``g_idx``); NF4, Dettmers et al., QLoRA, 2023, section 3 (blocks
of 64, their scales in 8 bits in blocks of 256). Leaves out file headers and tokenizers, which are a few megabytes at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from groundtune.errors import UnknownNameError

#: format -> what it is
FORMATS = {
    "fp32": "32-bit floats",
    "fp16": "16-bit floats (bf16 takes the same)",
    "int8": "linear layers in 8 bits with a 16-bit scale an output; the rest in 16 bits",
    "int4_g64": "linear layers in 4 bits with a 16-bit scale for 64 weights; the rest in 16 bits",
    "q8_0": "GGUF Q8_0: 8.5 bits",
    "q4_0": "GGUF Q4_0: 4.5 bits, the output tensor Q6_K",
    "q4_k_m": "GGUF Q4_K_M: Q4_K, with Q6_K for the output tensor and half of the value and down projections",
    "gptq_g128": "GPTQ, 4 bits, groups of 128; the rest in 16 bits",
    "gptq_g32": "GPTQ, 4 bits, groups of 32; the rest in 16 bits",
    "awq_g128": "AWQ, 4 bits, groups of 128; the rest in 16 bits",
    "nf4": "NF4 with double quantization (QLoRA); the rest in 16 bits",
}

#: the lesson's gigabytes (10^9 bytes), and the formats that they are
LESSON = {
    "llama2-7b": {"fp16": 13.5, "q4_0": 3.9},
    "llama2-13b": {"fp16": 26.1, "q4_0": 7.3},
    "llama2-70b": {"fp16": 138.0, "q4_0": 40.7},
}
#: GGUF type -> (weights a block, bytes a block)
_BLOCKS = {"q4_0": (32, 18), "q5_0": (32, 22), "q8_0": (32, 34), "q4_k": (256, 144), "q5_k": (256, 176), "q6_k": (256, 210)}  # fmt: skip
#: what a type becomes where a row is no multiple of its block
_FALLBACK = {"q4_k": "q5_0", "q5_k": "q8_0", "q6_k": "q8_0"}

Role = Literal["embedding", "position", "output", "value", "down", "linear", "vector"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One matrix or vector.

    Attributes:
        role: what it does, as far as formats tell tensors apart.
        outputs, inputs: of the matrix; a vector has one output.
        layer: its block's number; -1 outside.
    """

    role: Role
    outputs: int
    inputs: int
    layer: int = -1

    @property
    def count(self) -> int:
        """Weights."""
        return self.outputs * self.inputs


def tensors(model: Any) -> Iterator[Tensor]:
    """The weights of a causal model, tied ones once; on the meta device it needs no memory."""
    from transformers.pytorch_utils import Conv1D

    turned = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Conv1D)}
    ends = {id(model.get_input_embeddings().weight): "embedding"}
    if model.get_output_embeddings() is not None:
        ends.setdefault(id(model.get_output_embeddings().weight), "output")
    for name, weight in model.named_parameters():
        found = re.search(r"\.(\d+)\.", name)
        layer = int(found.group(1)) if found else -1
        if weight.dim() < 2:
            yield Tensor("vector", 1, weight.numel(), layer)
            continue
        inputs = weight.shape[0] if name in turned else weight.shape[-1]
        yield Tensor(_role(name, ends.get(id(weight))), weight.numel() // inputs, inputs, layer)


def _role(name: str, end: str | None) -> Role:
    if end:
        return "output" if end == "output" else "embedding"
    if re.search(r"(wpe|position_embeddings)\.weight$", name):
        return "position"
    if re.search(r"(v_proj|c_attn|qkv_proj)\.weight$", name):
        return "value"
    return "down" if re.search(r"(down_proj|mlp\.c_proj|fc2)\.weight$", name) else "linear"


def disk_bytes(model: Any, format: str) -> int:
    """Bytes of a causal model's weights in a format of :data:`FORMATS`.

    Args:
        model: on any device; the meta device (:func:`groundtune.nn.shapes.on_meta`) needs no memory.
        format: its name.

    Raises:
        UnknownNameError: no such format; names the nearest.
    """
    if format not in FORMATS:
        raise UnknownNameError("weight format", format, FORMATS)
    found = list(tensors(model))
    if format in ("fp32", "fp16"):
        return sum(t.count for t in found) * (4 if format == "fp32" else 2)
    if format in ("q8_0", "q4_0", "q4_k_m"):
        tied = all(t.role != "output" for t in found)
        layers = 1 + max(t.layer for t in found)
        return sum(_gguf(t, format, layers, tied, seventy=_is_70b(model)) for t in found)
    return sum(_packed(t, format) if t.role in ("value", "down", "linear") else 2 * t.count for t in found)


def _is_70b(model: Any) -> bool:
    """llama.cpp's test for Llama 70B, whose value projections it keeps finer: 80 layers, eight heads a key-value head."""
    config = model.config
    heads, shared = config.num_attention_heads, getattr(config, "num_key_value_heads", config.num_attention_heads)
    return bool(config.model_type == "llama" and config.num_hidden_layers == 80 and heads != shared)


def _gguf(tensor: Tensor, format: str, layers: int, tied: bool, *, seventy: bool) -> int:
    if tensor.role in ("vector", "position"):
        return 4 * tensor.count
    kind = {"q8_0": "q8_0", "q4_0": "q4_0", "q4_k_m": "q4_k"}[format]
    finer = _more_bits(tensor.layer, layers)
    if tensor.role == "output" or (tied and tensor.role == "embedding"):
        kind = "q8_0" if kind == "q8_0" or tensor.inputs % _BLOCKS[kind][0] else "q6_k"
    elif kind == "q4_k" and tensor.role in ("value", "down") and finer:
        kind = "q6_k"
    elif kind == "q4_k" and tensor.role == "value" and seventy:
        kind = "q5_k"
    if tensor.inputs % _BLOCKS[kind][0] and kind in _FALLBACK:
        kind = _FALLBACK[kind]
    block, size = _BLOCKS[kind]
    return tensor.count // block * size if tensor.inputs % block == 0 else 2 * tensor.count


def _more_bits(layer: int, layers: int) -> bool:
    """The layers that Q4_K_M keeps finer: the first and last eighth, and every third between."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def _packed(tensor: Tensor, format: str) -> int:
    """A linear layer's weight with its scales."""
    outputs, inputs = tensor.outputs, tensor.inputs
    if format == "int8":
        return tensor.count + 2 * outputs
    if format == "int4_g64":
        return outputs * -(-inputs // 2) + 2 * outputs * -(-inputs // 64)
    if format == "nf4":
        blocks = -(-tensor.count // 64)  # the two code books are 16 and 256 floats, the offset of the scales one
        return -(-tensor.count // 2) + blocks + 4 * -(-blocks // 256) + 4 * (16 + 256 + 1)
    groups = -(-inputs // int(format.rpartition("g")[2]))
    order = 4 * inputs if format.startswith("gptq") else 0
    return tensor.count // 2 + groups * outputs // 2 + 2 * groups * outputs + order
