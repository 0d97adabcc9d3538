"""Prefix tuning: learnt keys and values before every layer's own, the model frozen (Li and Liang, ACL 2021)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

RATE, RATE_BUNDLED = 1e-2, 3e-2
#: a packed row has one prefix for many documents
PACKS = False
#: the prefix stands in the cache, which a layer that is computed again would fill twice
CHECKPOINTS = False
#: stays beside the model when answering
MERGES = False


class Options(BaseModel):
    """Of prefix tuning."""

    model_config = ConfigDict(extra="forbid")
    virtual_tokens: int = Field(16, ge=1, description="length of the prefix")
    projection: bool = Field(False, description="learn the prefix through a two-layer network, as the paper does")


def attach(model: Any, options: Options, *, base: str) -> Any:
    """The frozen model behind a learnt prefix."""
    from peft import PrefixTuningConfig, get_peft_model

    prefix = PrefixTuningConfig(
        num_virtual_tokens=options.virtual_tokens, prefix_projection=options.projection, task_type="CAUSAL_LM"
    )
    return get_peft_model(model, prefix)
