"""P-tuning: a soft prompt written by a small trained network, the model frozen (Liu et al., "GPT Understands, Too", 2021)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

RATE, RATE_BUNDLED = 3e-3, 1e-2
PACKS = False
#: stays beside the model when answering
MERGES = False


class Options(BaseModel):
    """Of P-tuning."""

    model_config = ConfigDict(extra="forbid")
    virtual_tokens: int = Field(16, ge=1, description="length of the soft prompt")
    encoder_width: int = Field(128, ge=1, description="hidden size of the network that writes it")


def attach(model: Any, options: Options, *, base: str) -> Any:
    """The frozen model behind a prompt encoder."""
    from peft import PromptEncoderConfig, get_peft_model

    encoder = PromptEncoderConfig(
        num_virtual_tokens=options.virtual_tokens, encoder_hidden_size=options.encoder_width, task_type="CAUSAL_LM"
    )
    return get_peft_model(model, encoder)
