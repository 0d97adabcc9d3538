"""Quantization-aware training: every weight trained as it will be stored, in 4 or 8 bits (Jacob et al., CVPR 2018)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

RATE, RATE_BUNDLED = 2e-5, 1e-3
#: what is saved is quantized: it is not trained further
MERGES = False


class Options(BaseModel):
    """Of quantization-aware training."""

    model_config = ConfigDict(extra="forbid")
    bits: Literal[4, 8] = Field(4, description="of a stored weight")
    group_size: int | None = Field(
        None, ge=2, description="weights that share a scale; default: 64 at 4 bits, a row at 8"
    )


def attach(model: Any, options: Options, *, base: str) -> Any:
    """The model with weights that are rounded on the way forward, and trained as if they were not.

    Raises:
        ConfigError: a group size that does not divide the layers.
    """
    from groundtune.nn.quantize.aware import prepare_qat

    prepare_qat(model, options.bits, options.group_size)
    return model


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Round the weights for good and write them packed."""
    from groundtune.nn.quantize.aware import convert_qat
    from groundtune.nn.quantize.files import save_quantized

    convert_qat(model)
    save_quantized(model, tokenizer, folder)
