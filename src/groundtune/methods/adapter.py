"""Bottleneck adapters: small networks inside each layer, the model frozen (Houlsby et al., ICML 2019; Pfeiffer et al., EACL 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

RATE, RATE_BUNDLED = 1e-3, 4e-3
#: stays inside the model when answering
MERGES = False


class Options(BaseModel):
    """Of bottleneck adapters."""

    model_config = ConfigDict(extra="forbid")
    placement: Literal["houlsby", "pfeiffer"] = Field("pfeiffer", description="two a layer, or one")
    reduction_factor: float = Field(16, gt=0, description="model width / adapter width")
    size: int | None = Field(None, ge=1, description="adapter width, instead of the reduction factor")
    non_linearity: str = Field("gelu", description="by its name in transformers: gelu, relu, silu, tanh")
    train_layer_norms: bool = Field(False, description="train the layer norms too, as Houlsby et al. do")


def attach(model: Any, options: Options, *, base: str) -> Any:
    """The frozen model with adapters in its layers.

    Raises:
        ConfigError: an unknown non-linearity, or an architecture whose layers are not found.
    """
    from groundtune.nn.bottleneck import BottleneckConfig, attach_bottleneck

    attach_bottleneck(model, BottleneckConfig(**options.model_dump()))
    return model


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the adapters and the tokenizer."""
    from groundtune.nn.bottleneck import save_bottleneck

    save_bottleneck(model, folder)
    tokenizer.save_pretrained(folder)
