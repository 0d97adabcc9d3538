"""New models from a shape: Llama architecture, so that every tool that reads Hugging Face models reads ours."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase


class Shape(BaseModel):
    """The shape of a model that is trained from zero."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    layers: int = Field(4, ge=1, description="transformer blocks")
    width: int = Field(256, ge=16, description="hidden size")
    heads: int = Field(4, ge=1, description="attention heads; width / heads is the head size")
    feed_forward: int = Field(704, ge=16, description="inner size of the gated feed-forward layer")
    context_tokens: int = Field(512, ge=64, description="longest input in tokens")


def new_model(shape: Shape, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> LlamaForCausalLM:
    """A freshly initialised model with tied embeddings.

    Weights are normal with deviation 0.02; the projections that write to the residual stream are scaled by
    1/sqrt(2 x layers) (Radford et al., GPT-2, section 2.3).
    """
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.context_tokens,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.mul_((2 * shape.layers) ** -0.5)
    return model


def embeddings_from_words(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, words_WD: torch.Tensor, lookup: dict[str, int]
) -> int:
    """Start the token embeddings from a word-embedding table, so that related words begin as neighbours.

    A token that is a word takes that word's vector, projected to the model's width by principal components and scaled
    to deviation 0.02 (the idea of WECHSEL, Minixhofer et al. 2022, in its simplest form).

    Args:
        words_WD: table, one row a word piece; D at least the model's width.
        lookup: lower-case word piece -> row; pieces inside a word begin with ``##``.

    Returns:
        How many tokens were given a vector.
    """
    table_WD = words_WD - words_WD.mean(0)
    width = model.config.hidden_size
    _, _, components = torch.linalg.svd(table_WD[:20000], full_matrices=False)
    small_WD = table_WD @ components[:width].T
    small_WD = small_WD / small_WD.std() * 0.02
    weight_VD = model.get_input_embeddings().weight
    given = 0
    with torch.no_grad():
        for token in range(weight_VD.shape[0]):
            text = tokenizer.decode([token])
            piece = text.strip().lower()
            row = lookup.get(piece if text.startswith(" ") or not piece.isalpha() else f"##{piece}", lookup.get(piece))
            if piece and row is not None:
                weight_VD[token] = small_WD[row]
                given += 1
    return given
