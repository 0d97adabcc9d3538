"""Train the top layers only, all below frozen: their output is computed once and kept."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

RATE, RATE_BUNDLED = 3e-5, 1e-3


class Options(BaseModel):
    """Of training the top layers."""

    model_config = ConfigDict(extra="forbid")
    top: int = Field(2, ge=1, description="how many layers are trained")


def attach(model: Any, options: Options, *, base: str) -> Any:
    """The model with everything below its top layers frozen, the output head (often the embeddings) too.

    Raises:
        ConfigError: more layers than the model has.
    """
    from groundtune.errors import ConfigError

    decoder = model.get_decoder()
    blocks = getattr(decoder, "layers", None) or getattr(decoder, "h", None)
    if blocks is None or options.top > len(blocks):
        raise ConfigError(
            f"tune.options.top: {options.top}", expected=f"at most the model's {len(blocks or [])} layers"
        )
    model.requires_grad_(False)
    for block in blocks[-options.top :]:
        block.requires_grad_(True)
    final = getattr(decoder, "norm", None) or getattr(decoder, "ln_f", None)
    if final is not None:
        final.requires_grad_(True)
    return model
