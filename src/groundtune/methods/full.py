"""Full fine-tuning: every weight is trained, in float32, with AdamW."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

#: peak learning rate for models of about a billion parameters, and for the small bundled one, which needs a far larger
RATE, RATE_BUNDLED = 2e-5, 1e-3


class Options(BaseModel):
    """Nothing to set."""

    model_config = ConfigDict(extra="forbid")


def attach(model: Any, options: Options, *, base: str) -> Any:
    """The model as it is: all of it is trained."""
    return model
