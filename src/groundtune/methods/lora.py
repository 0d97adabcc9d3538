"""LoRA: low-rank matrices beside frozen weights (Hu et al., ICLR 2022); rsLoRA, DoRA and PiSSA by option.

W = W0 + (alpha / r) B A, equation 3; rsLoRA (Kalajdzievski 2023) divides by the root of r; DoRA (Liu et al., ICML 2024)
learns each column's length apart; PiSSA (Meng et al., NeurIPS 2024) starts A and B from the largest singular vectors.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

RATE, RATE_BUNDLED = 2e-4, 4e-3


class Options(BaseModel):
    """Of LoRA and QLoRA."""

    model_config = ConfigDict(extra="forbid")
    rank: int = Field(16, ge=1, description="r: width of the two matrices")
    alpha: float = Field(32, gt=0, description="scaling: alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="on the adapter's input")
    target_modules: str | list[str] = Field(
        "all-linear", description="all-linear, or names of the layers that get an adapter, such as [q_proj, v_proj]"
    )
    variant: Literal["plain", "rslora", "dora", "pissa"] = Field(
        "plain",
        description="plain, rslora (scaling by the root of the rank), dora (direction and size apart), pissa (starts at the largest singular vectors)",
    )


def attach(model: Any, options: Options, *, base: str) -> Any:
    """The model with adapter matrices, which alone are trained.

    Raises:
        ConfigError: no layer of the model has such a name.
    """
    from peft import LoraConfig, get_peft_model

    from groundtune.errors import ConfigError

    lora = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,  # type: ignore[arg-type]  # PEFT divides; a fraction is fine
        lora_dropout=options.dropout,
        target_modules=options.target_modules,  # "all-linear" leaves the output head out
        use_rslora=options.variant == "rslora",
        use_dora=options.variant == "dora",
        init_lora_weights="pissa" if options.variant == "pissa" else True,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, lora)
    except ValueError as error:
        if "arget modules" not in str(error):
            raise
        linear = sorted({name.rpartition(".")[2] for name, m in model.named_modules() if "Linear" in type(m).__name__})
        raise ConfigError(
            f"tune.options.target_modules: {options.target_modules!r} names no layer of {type(model).__name__}",
            expected=f"all-linear, or some of {', '.join(linear)}",
        ) from None
