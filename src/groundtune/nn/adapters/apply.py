"""One door for every saved adapter: read what it is, and merge it or attach it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groundtune.errors import InputError
from groundtune.nn.adapters.files import check_base, read_adapter, refuse_quantized
from groundtune.nn.adapters.merge import BY_HAND, merge_adapter
from groundtune.nn.bottleneck import BOTTLENECK, load_bottleneck

_ATTACHED_BY_PEFT = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT")
_MERGED_BY_PEFT = ("ADALORA", "LOHA", "LOKR", "OFT", "VERA", "LN_TUNING")


def apply_adapter(model: Any, folder: Path) -> Any:
    """The model with a saved adapter, for answering.

    LoRA (also rsLoRA, DoRA, PiSSA) and IA3 are merged by hand; a bottleneck adapter is attached by our own code; neither
    imports PEFT, which takes seconds. Virtual tokens and LLaMA-Adapter are attached by PEFT; AdaLoRA, LoHa, LoKr, OFT, VeRA
    and LayerNorm tuning are merged by it.

    Args:
        model: a transformers model; changed in place, and half changed when this raises.
        folder: ``adapter_config.json`` and ``adapter_model.safetensors``.

    Returns:
        The model itself, or PEFT's model around it.

    Raises:
        InputError: no adapter there, a pickle, a kind that is not known, one of another model, a quantized model where the
            adapter must be merged, or tensors that are missing or too many.
    """
    adapter = read_adapter(folder)
    if adapter.kind in BY_HAND:
        merge_adapter(model, adapter)
        return model
    if adapter.kind == BOTTLENECK:
        return load_bottleneck(model, adapter)
    if adapter.kind not in (*_ATTACHED_BY_PEFT, *_MERGED_BY_PEFT):
        raise InputError(
            f"{folder}: adapters of the kind {adapter.kind} are not known here",
            expected=f"one of {', '.join(sorted((*BY_HAND, BOTTLENECK, *_ATTACHED_BY_PEFT, *_MERGED_BY_PEFT)))}",
            next_step="merge it with PEFT (merge_and_unload), save the model, and use that folder as `model:`",
        )
    check_base(model, adapter)
    from groundtune.nn.adapters import prompts

    if adapter.kind in _ATTACHED_BY_PEFT:
        return prompts.attach(model, adapter)
    refuse_quantized(model, adapter)
    return prompts.merge_by_peft(model, adapter)


def is_mergeable(folder: Path) -> bool:
    """Whether a saved adapter becomes part of the weights, or stays beside them."""
    return read_adapter(folder).kind in (*BY_HAND, *_MERGED_BY_PEFT)


def virtual_tokens(model: Any) -> int:
    """How many places of the context a model's adapter takes for itself: prompt tuning, p-tuning and prefix tuning."""
    return int(getattr(getattr(model, "active_peft_config", None), "num_virtual_tokens", None) or 0)
