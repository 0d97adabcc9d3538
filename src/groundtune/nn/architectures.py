"""New models from a shape: Llama architecture, or that of a published shape (``shapes``), so that every tool reads them."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from groundtune.nn.shapes import named_shape, shape_config


class Shape(BaseModel):
    """The shape of a model that is trained from zero."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    layers: int = Field(4, ge=1, description="transformer blocks")
    width: int = Field(256, ge=16, description="hidden size")
    heads: int = Field(4, ge=1, description="attention heads; width / heads is the head size")
    feed_forward: int = Field(704, ge=16, description="inner size of the gated feed-forward layer")
    context_tokens: int = Field(512, ge=64, description="longest input in tokens")
    rope_theta: float = Field(10_000.0, gt=1, description="base of the rotary position angles")
    tied: bool = Field(True, description="one matrix for the embeddings and the output head")


def new_model(shape: Shape, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> LlamaForCausalLM:
    """A freshly initialised model.

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
        tie_word_embeddings=shape.tied,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    _scale_residual_writes(model, shape.layers)
    return model


def new_named_model(
    name: str, tokenizer: PreTrainedTokenizerBase, *, seed: int, context_tokens: int | None = None
) -> PreTrainedModel:
    """A freshly initialised model of a published shape, with this tokenizer's vocabulary; weights as :func:`new_model`.

    Args:
        name: of :data:`groundtune.nn.shapes.SHAPES`: GPT shapes become GPT-2 models, Llama shapes Llama models.
        context_tokens: another longest input than the published one.

    Raises:
        UnknownNameError: no such shape.
    """
    shape = named_shape(name)
    config = shape_config(
        shape,
        vocabulary=len(tokenizer),
        context_tokens=context_tokens,
        end_token=tokenizer.eos_token_id,
        pad_token=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if shape.architecture != "gpt2":  # transformers scales GPT-2's own
        _scale_residual_writes(model, shape.layers)
    return model


def _scale_residual_writes(model: PreTrainedModel, layers: int) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.mul_((2 * layers) ** -0.5)
