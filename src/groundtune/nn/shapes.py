"""Published model shapes by name, as transformers configs: what a model of that size is made of, without its weights.

GPT: Radford et al. 2018 (GPT-1) and 2019 (GPT-2), Brown et al. 2020 (GPT-3, table 2.1). Llama: Touvron et al. 2023,
Grattafiori et al. 2024; TinyLlama: Zhang et al. 2024; Qwen3: Yang et al. 2025. The GPT shapes are built as GPT-2: GPT-1
normalises after each sum where GPT-2 does before it and once more at the end (two vectors more), and GPT-3's sparse
attention layers are dense here; neither changes what is counted. GPT-3's table has two slips, which show in its own
other columns: XL has 16 heads, not 24 (16 x 128 = its width 2,048), and 13B is 5,120 wide, not 5,140 (= 40 heads x 128).
Leaves out weights and tokenizers: a new model of a named shape is ``architectures.new_named_model``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from groundtune.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class NamedShape:
    """A published shape.

    Attributes:
        name: as commands take it.
        architecture: transformers' ``model_type``.
        layers, width, heads, feed_forward: transformer blocks, hidden size, attention heads, inner size of the block.
        key_value_heads, head_size: heads of keys and values; width of one head.
        vocabulary: tokens of the published tokenizer.
        context_tokens: longest input.
        tied: one matrix for the embeddings and the output head.
        published: the number of parameters as printed by its authors.
        batch_tokens: published tokens an optimizer step; None: not published.
        learning_rate: published peak; None: not published.
        note: where what is counted is not what is printed, and why.
    """

    name: str
    architecture: Literal["gpt2", "llama", "qwen3"]
    layers: int
    width: int
    heads: int
    key_value_heads: int
    head_size: int
    feed_forward: int
    vocabulary: int
    context_tokens: int
    tied: bool
    published: str
    batch_tokens: int | None = None
    learning_rate: float | None = None
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5
    note: str = ""


def _gpt(
    name: str,
    published: str,
    layers: int,
    width: int,
    heads: int,
    *,
    context: int,
    batch: int | None,
    rate: float | None,
    vocabulary: int = 50_257,
    note: str = "",
) -> NamedShape:
    return NamedShape(
        name,
        "gpt2",
        layers,
        width,
        heads,
        heads,
        width // heads,
        4 * width,
        vocabulary,
        context,
        tied=True,
        published=published,
        batch_tokens=batch,
        learning_rate=rate,
        note=note,
    )


def _llama(
    name: str,
    published: str,
    layers: int,
    width: int,
    heads: tuple[int, int],
    feed_forward: int,
    vocabulary: int,
    context: int,
    *,
    tied: bool = False,
    head_size: int = 0,
    architecture: Literal["llama", "qwen3"] = "llama",
    **more: Any,
) -> NamedShape:
    size = head_size or width // heads[0]
    return NamedShape(
        name, architecture, layers, width, *heads, size, feed_forward, vocabulary, context, tied, published, **more
    )


_GPT1 = "GPT-2's architecture: one normalisation more than GPT-1 (1,536 parameters)"
_MEDIUM = "counts 355.9M; the table prints 350M"
_13B = "counts 12.85B at width 5,120; 13.0B is what the printed width 5,140 counts, which 40 heads of 128 do not make"
_175B = "counts 174.6B; the table prints 175.0B"
_LLAMA_1B = "counts 1.236B; its card cuts to 1.23B"

_ALL = (
    _gpt("gpt1", "117M", 12, 768, 12, context=512, batch=32_768, rate=2.5e-4, vocabulary=40_478, note=_GPT1),
    _gpt("gpt2", "124M", 12, 768, 12, context=1024, batch=524_288, rate=None),
    _gpt("gpt2-medium", "355M", 24, 1024, 16, context=1024, batch=524_288, rate=None),
    _gpt("gpt2-large", "774M", 36, 1280, 20, context=1024, batch=524_288, rate=None),
    _gpt("gpt2-xl", "1558M", 48, 1600, 25, context=1024, batch=524_288, rate=None),
    _gpt("gpt3-small", "125M", 12, 768, 12, context=2048, batch=500_000, rate=6.0e-4),
    _gpt("gpt3-medium", "350M", 24, 1024, 16, context=2048, batch=500_000, rate=3.0e-4, note=_MEDIUM),
    _gpt("gpt3-large", "760M", 24, 1536, 16, context=2048, batch=500_000, rate=2.5e-4),
    _gpt("gpt3-xl", "1.3B", 24, 2048, 16, context=2048, batch=1_000_000, rate=2.0e-4),
    _gpt("gpt3-2.7b", "2.7B", 32, 2560, 32, context=2048, batch=1_000_000, rate=1.6e-4),
    _gpt("gpt3-6.7b", "6.7B", 32, 4096, 32, context=2048, batch=2_000_000, rate=1.2e-4),
    _gpt("gpt3-13b", "13.0B", 40, 5120, 40, context=2048, batch=2_000_000, rate=1.0e-4, note=_13B),
    _gpt("gpt3-175b", "175.0B", 96, 12288, 96, context=2048, batch=3_200_000, rate=0.6e-4, note=_175B),
    _llama("llama2-7b", "7B", 32, 4096, (32, 32), 11_008, 32_000, 4096, batch_tokens=4_000_000, learning_rate=3.0e-4),
    _llama("llama2-13b", "13B", 40, 5120, (40, 40), 13_824, 32_000, 4096, batch_tokens=4_000_000, learning_rate=3.0e-4),
    _llama("llama2-70b", "70B", 80, 8192, (64, 8), 28_672, 32_000, 4096, batch_tokens=4_000_000, learning_rate=1.5e-4),
    _llama(
        "llama3.2-1b", "1.23B", 16, 2048, (32, 8), 8192, 128_256, 131_072, tied=True, rope_theta=5e5, note=_LLAMA_1B
    ),
    _llama("llama3.2-3b", "3.21B", 28, 3072, (24, 8), 8192, 128_256, 131_072, tied=True, rope_theta=5e5),
    _llama(
        "tinyllama-1.1b",
        "1.1B",
        22,
        2048,
        (32, 4),
        5632,
        32_000,
        2048,
        batch_tokens=2_000_000,
        learning_rate=4.0e-4,
    ),
    _llama(
        "qwen3-0.6b",
        "0.6B",
        28,
        1024,
        (16, 8),
        3072,
        151_936,
        40_960,
        tied=True,
        head_size=128,
        architecture="qwen3",
        rope_theta=1e6,
        norm_epsilon=1e-6,
    ),
    _llama("pebble-24m", "24M", 10, 384, (6, 6), 1024, 16_384, 1024, tied=True, rope_theta=5e5),
)
SHAPES = {shape.name: shape for shape in _ALL}


def named_shape(name: str) -> NamedShape:
    """The shape of a name.

    Raises:
        UnknownNameError: none; names the nearest.
    """
    if name not in SHAPES:
        raise UnknownNameError("model shape", name, SHAPES)
    return SHAPES[name]


def count_parameters(shape: NamedShape) -> int:
    """Parameters by formula; a tied matrix counts once.

    Per block, with width D, feed-forward F, heads H x S and key-value heads G x S: GPT-2 has 4 D^2 + 2 D F in matrices
    and 9 D + F in biases and norms; Llama has 2 D H S + 2 D G S + 3 D F in matrices and 2 D in norms, Qwen3 2 S more.
    """
    width, inner, size = shape.width, shape.feed_forward, shape.head_size
    embeddings = shape.vocabulary * width * (1 if shape.tied else 2)
    if shape.architecture == "gpt2":
        block = 4 * width**2 + 2 * width * inner + 9 * width + inner
        return embeddings + shape.context_tokens * width + shape.layers * block + 2 * width
    attention = 2 * width * shape.heads * size + 2 * width * shape.key_value_heads * size
    norms = 2 * width + (2 * size if shape.architecture == "qwen3" else 0)
    return embeddings + shape.layers * (attention + 3 * width * inner + norms) + width


def shape_config(
    shape: NamedShape,
    *,
    vocabulary: int | None = None,
    context_tokens: int | None = None,
    end_token: int | None = None,
    pad_token: int | None = None,
) -> Any:
    """The transformers config of a shape, without dropout: a new model sees most of its tokens once.

    Args:
        shape: of :data:`SHAPES`.
        vocabulary: entries of another tokenizer than the published one.
        context_tokens: another longest input than the published one.
        end_token, pad_token: ids in that tokenizer.
    """
    import transformers

    entries, context = vocabulary or shape.vocabulary, context_tokens or shape.context_tokens
    tokens: dict[str, Any] = {"bos_token_id": None, "eos_token_id": end_token, "pad_token_id": pad_token}
    if shape.architecture == "gpt2":
        return transformers.GPT2Config(
            vocab_size=entries,
            n_positions=context,
            n_embd=shape.width,
            n_layer=shape.layers,
            n_head=shape.heads,
            n_inner=shape.feed_forward,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            layer_norm_epsilon=shape.norm_epsilon,
            **tokens,
        )
    kind = transformers.Qwen3Config if shape.architecture == "qwen3" else transformers.LlamaConfig
    return kind(
        vocab_size=entries,
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_size,
        max_position_embeddings=context,
        tie_word_embeddings=shape.tied,
        rms_norm_eps=shape.norm_epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        **tokens,
    )


def on_meta(config: Any) -> Any:
    """A causal model of a config on torch's meta device: modules and sizes, no memory.

    Raises:
        ValueError: the config is of no causal language model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if getattr(config, "tie_word_embeddings", False):
        model.tie_weights()
    return model
