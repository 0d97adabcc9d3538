"""Train the top layers only: what the frozen layers below write is computed once a row and kept for every epoch."""

from __future__ import annotations

from pathlib import Path
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


def over(model: Any, options: Options, batches: Any, folder: Path) -> Any:
    """The batches with the frozen layers' hidden states of their rows, kept in memory or, where they are many, in a file."""
    from groundtune.nn.frozen_prefix import FrozenPrefix
    from groundtune.nn.prefix_states import PrefixBatches, PrefixStates

    prefix = FrozenPrefix(model, top_layers=options.top)
    return PrefixBatches(batches, PrefixStates(prefix, [row.ids for row in batches.rows], folder=folder))
