"""Prompt tuning: learnt embeddings before the input, a soft prompt; the model frozen (Lester et al., EMNLP 2021)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

RATE, RATE_BUNDLED = 3e-2, 1e-1
PACKS = False
#: stays beside the model when answering
MERGES = False


class Options(BaseModel):
    """Of prompt tuning."""

    model_config = ConfigDict(extra="forbid")
    virtual_tokens: int = Field(16, ge=1, description="length of the soft prompt")
    text: str = Field("", description="words whose embeddings it starts from; default: random ones of the vocabulary")


def attach(model: Any, options: Options, *, base: str) -> Any:
    """The frozen model behind a soft prompt."""
    from peft import PromptTuningConfig, PromptTuningInit, get_peft_model

    prompt = PromptTuningConfig(
        num_virtual_tokens=options.virtual_tokens,
        prompt_tuning_init=PromptTuningInit.TEXT if options.text else PromptTuningInit.SAMPLE_VOCAB,
        prompt_tuning_init_text=options.text or None,
        tokenizer_name_or_path=base if options.text else None,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, prompt)
