"""GGUF files of Llama models: metadata, tokenizer and tensors, as llama.cpp's own converter writes them.

Two of its conventions matter. The rows of the query and key matrices are permuted, because llama.cpp rotates neighbouring pairs
where transformers rotates halves. Tied embeddings are stored once, without ``output.weight``. Quantized types
leave vectors (norms, biases) in F32; rows that are no multiple of 32 stay F16; under ``q4_0`` the embeddings and the head are
Q8_0. What was written is read again with gguf's reader and compared, tensor by tensor
(:func:`groundtune.nn.gguf.check.check_file`). llama.cpp itself is not part of groundtune; the tests run it where the package
``xllamacpp`` carries it. Give llama.cpp ``--jinja``: without it, it guesses the chat format from the template's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from groundtune.errors import ConfigError, InputError
from groundtune.nn.gguf.tokenizer import Vocabulary, vocabulary

#: what the tensors can be stored as, and gguf's name of the whole file's type
TYPES = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0", "q4_0": "MOSTLY_Q4_0"}
_BLOCK = 32
#: rope types that llama.cpp computes from what we write
_ROPE = ("default", "linear", "llama3")


def gguf_package() -> Any:
    """The package ``gguf``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import gguf
    except ImportError:
        raise ConfigError("writing GGUF needs the package gguf", next_step="pip install 'groundtune[gguf]'") from None
    return gguf


def is_llama(model: Any) -> bool:
    """Whether :func:`write_gguf` can write a model: Llama's architecture, with a rope that llama.cpp knows."""
    config = model.config
    return (
        config.model_type == "llama"
        and config.hidden_act == "silu"
        and config.rope_parameters.get("rope_type", "default") in _ROPE
    )


def write_gguf(
    model: Any, tokenizer: Any, path: Path, kind: str = "q8_0", *, name: str = "", texts: Sequence[str] = ()
) -> Vocabulary:
    """Write a Llama model as one GGUF file.

    Args:
        model: a transformers Llama with plain weights, in any floating dtype.
        tokenizer: its byte-level BPE tokenizer.
        path: the file.
        kind: ``q8_0``, ``q4_0``, ``f16`` or ``f32``.
        name: what the file calls the model.
        texts: text to choose the pre-tokenizer by, besides our own probe.

    Returns:
        The vocabulary as it was written, with the pre-tokenizer's name and how much of the texts it cuts otherwise.

    Raises:
        ConfigError: no such type, or gguf is not installed. InputError: another architecture or tokenizer.
    """
    gguf = gguf_package()
    if kind not in TYPES:
        raise ConfigError(f"gguf type {kind!r}", expected=f"one of {', '.join(TYPES)}")
    if not is_llama(model):
        raise InputError(
            f"{model.config.model_type} models cannot be written to GGUF here",
            expected="Llama's architecture",
            next_step="set CONVERT_HF_TO_GGUF to llama.cpp's convert_hf_to_gguf.py",
        )
    words = vocabulary(tokenizer, model.get_input_embeddings().num_embeddings, texts=texts)
    writer = gguf.GGUFWriter(path, "llama", use_temp_file=True)
    writer.add_type("model")
    writer.add_name(name or path.stem)
    _add_shape(gguf, writer, model.config, kind)
    _add_tokenizer(writer, tokenizer, words)
    for tensor_name, weight in tensors(model):
        stored = stored_type(tensor_name, weight.shape, kind)
        qtype = gguf.GGMLQuantizationType[stored]
        writer.add_tensor(tensor_name, gguf.quants.quantize(weight, qtype), raw_dtype=qtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return words


def _add_shape(gguf: Any, writer: Any, config: Any, kind: str) -> None:
    head = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    if config.rope_parameters.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(config.rope_parameters["factor"]))
    writer.add_file_type(int(gguf.LlamaFileType[TYPES[kind]]))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_tokenizer(writer: Any, tokenizer: Any, words: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    writer.add_token_merges(words.merges)
    for kind in ("bos", "eos", "unk", "pad"):
        index = getattr(tokenizer, f"{kind}_token_id")
        if index is not None:
            getattr(writer, f"add_{kind}_token_id")(index)
    ids = tokenizer("a")["input_ids"]
    writer.add_add_bos_token(tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(len(ids) > 1 and ids[-1] == tokenizer.eos_token_id)
    if tokenizer.chat_template:
        writer.add_chat_template(chat_template(tokenizer))


def chat_template(tokenizer: Any) -> str:
    """The chat template without transformers' marks of what the assistant says, which other readers of Jinja do not know."""
    return re.sub(r"\{%-?\s*(?:end)?generation\s*-?%\}", "", str(tokenizer.chat_template))


def stored_type(name: str, shape: Sequence[int], kind: str) -> str:
    """gguf's name of the type in which a tensor is stored; see the module's head."""
    if len(shape) == 1:
        return "F32"
    if kind in ("q8_0", "q4_0") and shape[-1] % _BLOCK:
        return "F16"
    if kind == "q4_0" and name in ("token_embd.weight", "output.weight"):
        return "Q8_0"
    return kind.upper()


def tensors(model: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """llama.cpp's names of a Llama's tensors, and their values in float32, queries and keys permuted."""
    gguf = gguf_package()
    config = model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    if factors := _rope_factors(model):
        yield "rope_freqs.weight", np.asarray(factors, dtype=np.float32)
    for name, parameter in model.named_parameters():  # a tied head is not among them
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise InputError(f"llama.cpp has no place for the tensor {name}", expected="a Llama without additions")
        weight: np.ndarray[Any, Any] = parameter.detach().to("cpu", torch.float32).numpy()
        if ".q_proj." in name:
            weight = permuted(weight, config.num_attention_heads)
        elif ".k_proj." in name:
            weight = permuted(weight, config.num_key_value_heads)
        yield found, np.ascontiguousarray(weight)


def permuted(weight: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rows of a query or key matrix (or bias): each head's halves (x1.. y1..) become pairs (x1 y1 x2 y2 ..)."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    pairs: np.ndarray[Any, Any] = halves.swapaxes(1, 2).reshape(weight.shape)
    return pairs


def _rope_factors(model: Any) -> list[float]:
    """Llama 3.1's divisors of the rotary frequencies, from the frequencies the model itself uses."""
    parameters = model.config.rope_parameters
    if parameters.get("rope_type") != "llama3":
        return []
    used = model.model.rotary_emb.inv_freq.detach().to("cpu", torch.float64)
    size = 2 * len(used)
    plain = float(parameters["rope_theta"]) ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
    factors: list[float] = (plain / used).tolist()
    return factors
