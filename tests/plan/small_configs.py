"""Small configs of several architectures, for the tests of plans."""

from __future__ import annotations

from typing import Any

VOCABULARY = 500


def llama() -> Any:
    """Three layers with grouped key-value heads and tied embeddings."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
    )


def gpt2(dropout: float = 0.0) -> Any:
    """Three layers; with dropout a CPU forms every attention score."""
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=256,
        n_embd=64,
        n_layer=3,
        n_head=4,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        bos_token_id=0,
        eos_token_id=0,
    )


def qwen3() -> Any:
    """Two layers whose heads are wider than the stream."""
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=256,
        tie_word_embeddings=True,
    )


def gemma2() -> Any:
    """Two layers and a head whose output is capped: logits are formed at all positions."""
    from transformers import Gemma2Config

    return Gemma2Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=256,
        pad_token_id=0,
    )


def bert() -> Any:
    """A two-layer encoder."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


CONFIGS = {"llama": llama, "gpt2": gpt2, "qwen3": qwen3}
