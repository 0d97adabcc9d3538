"""(IA)3: three learnt vectors a layer that scale keys, values and the feed-forward's inside (Liu et al., NeurIPS 2022)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

RATE, RATE_BUNDLED = 5e-3, 3e-2


class Options(BaseModel):
    """Of (IA)3."""

    model_config = ConfigDict(extra="forbid")
    target_modules: list[str] = Field([], description="layers whose output is scaled; default: PEFT's for the model")
    feedforward_modules: list[str] = Field([], description="those of them whose input is scaled instead")


def attach(model: Any, options: Options, *, base: str) -> Any:
    """The frozen model with scaling vectors.

    Raises:
        ConfigError: PEFT has no default for this architecture and no modules are named.
    """
    from peft import IA3Config, get_peft_model

    from groundtune.errors import ConfigError

    vectors = IA3Config(
        target_modules=options.target_modules or None,
        feedforward_modules=options.feedforward_modules or ([] if options.target_modules else None),
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, vectors)
    except ValueError as error:
        raise ConfigError(
            f"tune.method ia3 on {type(model).__name__}: {error}",
            expected="tune.options.target_modules and feedforward_modules",
        ) from None
