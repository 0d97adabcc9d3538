"""LLaMA-Adapter: learnt prompts in the upper layers' attention, let in by a gate that starts at zero (Zhang et al. 2023)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

RATE, RATE_BUNDLED = 9e-3, 3e-2
PACKS = False
#: stays beside the model when answering
MERGES = False


class Options(BaseModel):
    """Of LLaMA-Adapter."""

    model_config = ConfigDict(extra="forbid")
    length: int = Field(10, ge=1, description="adaption prompt tokens a layer")
    layers: int = Field(0, ge=0, description="upper layers that get one; 0: all but the lowest two, as in the paper")


def attach(model: Any, options: Options, *, base: str) -> Any:
    """The frozen model with gated prompts in its upper layers.

    Raises:
        ConfigError: an architecture that PEFT has no adaption prompts for.
    """
    from peft import AdaptionPromptConfig, get_peft_model

    from groundtune.errors import ConfigError

    depth = int(model.config.get_text_config().num_hidden_layers)
    prompts = AdaptionPromptConfig(
        adapter_len=options.length,
        adapter_layers=min(depth, options.layers or max(1, depth - 2)),
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, prompts)
    except ValueError as error:
        raise ConfigError(
            f"tune.method llama_adapter on {type(model).__name__}: {error}", expected="Llama, Mistral or GPT-2"
        ) from None
