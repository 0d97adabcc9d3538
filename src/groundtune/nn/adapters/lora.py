"""LoRA's arithmetic: the weight that a saved adapter makes of a base weight.

Hu et al., LoRA (ICLR 2022), section 4.1: W = W0 + s B A, with s = alpha / r; Kalajdzievski, rsLoRA (2023): s = alpha / sqrt(r);
Liu et al., DoRA (ICML 2024), equation 5: W = m (W0 + s B A) / ||W0 + s B A||, the norm over each output's inputs;
Meng et al., PiSSA (NeurIPS 2024), equations 2 to 4: the adapter starts as the r largest singular parts of W0 and W0 keeps the rest.

Legend: O output features, I input features, r rank. All in float32, on the base weight's device.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

#: starts that leave the base weight as it is; PiSSA's is taken off again, others change the base beyond recall
_PLAIN_STARTS = (None, True, False, "true", "false", "gaussian", "eva", "orthogonal")
#: fields of a LoRA config that say nothing about what the saved matrices mean, or that are read here and in ``merge``
_KNOWN = frozenset(
    "peft_type task_type base_model_name_or_path revision inference_mode auto_mapping peft_version r lora_alpha lora_dropout "
    "fan_in_fan_out bias use_rslora use_dora rank_pattern alpha_pattern init_lora_weights lora_bias target_modules exclude_modules "
    "layers_to_transform layers_pattern modules_to_save trainable_token_indices ensure_weight_tying megatron_config megatron_core "
    "loftq_config eva_config corda_config lora_ga_config qalora_group_size runtime_config".split()
)


def why_not(config: Mapping[str, Any]) -> str:
    """Why a LoRA adapter with this config cannot be merged by hand; empty when it can."""
    start = config.get("init_lora_weights", True)
    if start != "pissa" and start not in _PLAIN_STARTS:
        return (
            f"init_lora_weights={start!r} changed the base model when training began, and that cannot be done over; "
            "save it with path_initial_model_for_weight_conversion"
        )
    other = sorted(name for name, value in config.items() if value and name not in _KNOWN)
    return f"it uses {', '.join(other)}" if other else ""


def scaling(config: Mapping[str, Any], name: str, rank: int) -> float:
    """The factor s of the module of that name, whose saved matrices have that rank.

    Raises:
        ValueError: the config says another rank.
    """
    alpha = _of_pattern(config.get("alpha_pattern"), name, config["lora_alpha"])
    said = _of_pattern(config.get("rank_pattern"), name, config["r"])
    if said != rank:
        raise ValueError(f"its rank is {rank}, the config says {said}")
    return float(alpha / math.sqrt(rank)) if config.get("use_rslora") else float(alpha / rank)


def _of_pattern(pattern: Mapping[str, Any] | None, name: str, otherwise: Any) -> Any:
    """The first value whose key, a regular expression, is the end of the name: PEFT's ``get_pattern_key``."""
    for key, value in (pattern or {}).items():
        if re.match(rf"(.*\.)?({key})$", name):
            return value
    return otherwise


def merged_weight(
    base_OI: Any, down_rI: Any, up_Or: Any, *, scale: float, magnitude_O: Any = None, pissa: bool = False
) -> Any:
    """The weight (O, I), float32, that base and adapter make together.

    Args:
        base_OI: the model's own weight.
        down_rI, up_Or: LoRA's A and B.
        scale: s.
        magnitude_O: DoRA's m.
        pissa: the adapter started as the base's largest singular parts, which are taken off the base first. One singular
            value decomposition a matrix: minutes for a model of some billion parameters.
    """
    import torch

    weight_OI = base_OI.float()
    if pissa:
        left, values, right = torch.linalg.svd(weight_OI, full_matrices=False)
        rank = down_rI.shape[0]
        weight_OI = weight_OI - (left[:, :rank] * values[:rank]) @ right[:rank]
    weight_OI = weight_OI + scale * (up_Or.to(weight_OI) @ down_rI.to(weight_OI))
    if magnitude_O is not None:
        weight_OI = weight_OI * (magnitude_O.to(weight_OI) / torch.linalg.norm(weight_OI, dim=1))[:, None]
    return weight_OI
