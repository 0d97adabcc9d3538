"""LoRA (with rsLoRA, DoRA, PiSSA) and IA3 adapters in PEFT's format, merged into a model's weights without importing PEFT.

PEFT takes 4 to 9 s to import. Liu et al., IA3 (NeurIPS 2022), section 3.3: keys and values are scaled by learned vectors, and
so is what goes into the last feed-forward matrix; both are the same as scaled rows or columns of that matrix.
The arithmetic of LoRA is in ``lora``. Nothing is skipped: every saved tensor must find its place, and every module the
config names must have been saved.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from groundtune.errors import InputError
from groundtune.nn.adapters.files import PREFIX, Adapter, check_base, refuse_quantized
from groundtune.nn.adapters.lora import merged_weight, scaling, why_not
from groundtune.nn.adapters.targets import Parts, refuse_missing

BY_HAND = ("LORA", "IA3")
_PART = re.compile(
    r"^(.+?)\.(lora_A\.weight|lora_B\.weight|lora_B\.bias|lora_embedding_A|lora_embedding_B|lora_magnitude_vector|ia3_l"
    r"|base_layer\.weight|base_layer\.bias|token_adapter\.trainable_tokens_delta)$"
)
_TOKENS = "token_adapter.trainable_tokens_delta"


def merge_adapter(model: Any, adapter: Adapter) -> int:
    """Merge a saved LoRA or IA3 adapter into a model's weights in place; returns the number of modules changed.

    The sum is made in float32 and rounded once to the model's own precision. A model whose output head is its embedding
    stays so where the adapter changes both alike; otherwise the head becomes a matrix of its own. A model that an error came
    out of is half changed: throw it away.

    Raises:
        InputError: another kind, a variant that cannot be merged by hand, a quantized model, or an
            adapter that does not fit: a tensor without a place, or a module the config names without its tensors.
    """
    if adapter.kind not in BY_HAND:
        raise InputError(f"{adapter.folder}: {adapter.kind} cannot be merged by hand", expected=" or ".join(BY_HAND))
    if adapter.kind == "LORA" and (reason := why_not(adapter.config)):
        raise InputError(
            f"{adapter.folder}: this LoRA adapter cannot be merged: {reason}",
            next_step="merge it with PEFT (merge_and_unload) and use the folder as `model:`",
        )
    refuse_quantized(model, adapter)
    check_base(model, adapter)
    grouped: dict[str, Parts] = defaultdict(dict)
    for key, tensor in adapter.weights.items():
        name = key.removeprefix(PREFIX)
        found = _PART.match(name)
        module, part = found.groups() if found else name.rpartition(".")[::2]
        grouped[module][part] = tensor
    refuse_missing(model, adapter, grouped)
    alone = [name for name in sorted(grouped) if not _shared(model, name)]
    for name in alone:
        _change(model, adapter, name, grouped[name])
    return len(alone) + _merge_shared(model, adapter, {n: p for n, p in grouped.items() if n not in alone})


def _change(model: Any, adapter: Adapter, name: str, parts: Parts) -> None:
    import torch

    module = _module(model, adapter, name)
    with torch.no_grad():
        for parameter, value in _merged(module, adapter, name, parts).items():
            getattr(module, parameter).copy_(value)


def _module(model: Any, adapter: Adapter, name: str) -> Any:
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise InputError(
            f"{adapter.folder}: {name} is not in this model", expected="the model the adapter was trained on"
        ) from None


def _merged(module: Any, adapter: Adapter, name: str, parts: Parts) -> dict[str, Any]:
    """The module's new parameters by name, in its own layout; float32 or as they were saved."""
    import torch

    left = dict(parts)
    new = {own: _whole(module, adapter, name, own, left) for own in ("weight", "bias")}
    turned = type(module).__name__ == "Conv1D" or isinstance(module, torch.nn.Embedding)  # (I, O) instead of (O, I)
    try:
        with torch.no_grad():
            if any(part.startswith(("lora_", "ia3_")) for part in left):
                make = _with_ia3 if adapter.kind == "IA3" else _with_lora
                weight_OI, new["bias"] = make(
                    new["weight"].T if turned else new["weight"], new["bias"], adapter, name, left
                )
                new["weight"] = weight_OI.T if turned else weight_OI
            if _TOKENS in left:
                rows = _token_rows(adapter, name)
                new["weight"] = new["weight"].index_copy(
                    0, torch.tensor(rows, device=new["weight"].device), left.pop(_TOKENS).to(new["weight"])
                )
    except (ValueError, KeyError, IndexError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"{adapter.folder}: the adapter of {name} does not fit: {error}",
            expected="the model the adapter was trained on",
        ) from None
    if left:
        raise _no_place(adapter, [f"{name}.{part}" for part in left])
    return {own: value for own, value in new.items() if value is not None and value is not getattr(module, own)}


def _whole(module: Any, adapter: Adapter, name: str, own: str, left: Parts) -> Any:
    """The parameter as it was saved whole, or as the model has it; None where it has none."""
    saved = left.pop(f"base_layer.{own}", None)
    if own in left:
        saved = left.pop(own)
    present = getattr(module, own, None)
    if saved is None:
        return present
    if present is None or not _may_be_whole(adapter, name, own, module):
        raise _no_place(adapter, [f"{name}.{own}"])
    if present.shape != saved.shape:
        raise InputError(
            f"{adapter.folder}: {name}.{own} is {tuple(present.shape)}, the adapter's {tuple(saved.shape)}",
            expected="the model the adapter was trained on",
        )
    return saved.to(present.device)


def _may_be_whole(adapter: Adapter, name: str, own: str, module: Any) -> bool:
    import torch

    named = any(re.match(rf"(^|.*\.){m}($|\..*)", name) for m in adapter.config.get("modules_to_save") or ())
    biases = own == "bias" and adapter.config.get("bias", "none") != "none"
    # PEFT saves embeddings and head whole where they are targets or were resized
    ends = isinstance(module, torch.nn.Embedding) or name.endswith(("lm_head", "embed_out"))
    return named or biases or ends


def _no_place(adapter: Adapter, names: list[str]) -> InputError:
    return InputError(
        f"{adapter.folder}: {len(names)} of its {len(adapter.weights)} tensors have no place, {names[0]} for one",
        expected=f"nothing but what a {adapter.kind} adapter of this config holds",
    )


def _with_lora(weight_OI: Any, bias_O: Any, adapter: Adapter, name: str, left: Parts) -> tuple[Any, Any]:
    down_rI = left.pop("lora_embedding_A") if "lora_embedding_A" in left else left.pop("lora_A.weight")
    up_Or = left.pop("lora_embedding_B") if "lora_embedding_B" in left else left.pop("lora_B.weight")
    if weight_OI.shape != (up_Or.shape[0], down_rI.shape[1]):
        raise ValueError(f"it is {tuple(weight_OI.shape)}, the adapter {(up_Or.shape[0], down_rI.shape[1])}")
    magnitude_O = left.pop("lora_magnitude_vector") if adapter.config.get("use_dora") else None
    if magnitude_O is not None and magnitude_O.shape != weight_OI.shape[:1]:
        raise ValueError(f"its magnitude is {tuple(magnitude_O.shape)} for {weight_OI.shape[0]} outputs")
    scale = scaling(adapter.config, name, down_rI.shape[0])
    if adapter.config.get("lora_bias"):
        extra_O = left.pop("lora_B.bias")
        if bias_O is None:
            raise ValueError("it has no bias to add the adapter's to")
        bias_O = bias_O.float() + scale * extra_O.to(bias_O.device).float()
    pissa = adapter.config.get("init_lora_weights") == "pissa"
    return merged_weight(weight_OI, down_rI, up_Or, scale=scale, magnitude_O=magnitude_O, pissa=pissa), bias_O


def _with_ia3(weight_OI: Any, bias_O: Any, adapter: Adapter, name: str, left: Parts) -> tuple[Any, Any]:
    factors = left.pop("ia3_l")
    outputs, inputs = weight_OI.shape
    if tuple(factors.shape) not in {(outputs, 1), (1, inputs)}:
        raise ValueError(f"it is {(outputs, inputs)}, the adapter's factors {tuple(factors.shape)}")
    factors = factors.to(weight_OI.device).float()
    if bias_O is not None and factors.shape[0] == outputs:
        bias_O = bias_O.float() * factors[:, 0]
    return weight_OI.float() * factors, bias_O


def _token_rows(adapter: Adapter, name: str) -> list[int]:
    rows = adapter.config["trainable_token_indices"]
    if isinstance(rows, dict):
        rows = next(value for key, value in rows.items() if name == key or name.endswith(f".{key}"))
    return list(rows)


def _aliases(model: Any, module: Any) -> list[str]:
    """Names of all modules whose weight is this module's."""
    weight = getattr(module, "weight", None)
    if weight is None:
        return []
    every = model.named_parameters(remove_duplicate=False)
    return [name.removesuffix(".weight") for name, parameter in every if parameter is weight]


def _shared(model: Any, name: str) -> bool:
    ends = {id(m) for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m is not None}
    try:
        module = model.get_submodule(name)
    except AttributeError:
        return False
    return id(module) in ends and len(_aliases(model, module)) > 1


def _merge_shared(model: Any, adapter: Adapter, grouped: dict[str, Parts]) -> int:
    """Merge what is for the embedding and the head of a model in which the two are one matrix."""
    import torch

    new = {name: _merged(_module(model, adapter, name), adapter, name, parts) for name, parts in grouped.items()}
    weights = {name: values["weight"] for name, values in new.items() if "weight" in values}
    if not weights:
        return 0
    first = next(iter(weights))
    everyone = set(_aliases(model, model.get_submodule(first)))
    same = set(weights) == everyone and all(torch.equal(weights[first], w) for w in weights.values())
    only_tokens = all(set(parts) == {_TOKENS} for parts in grouped.values())  # PEFT changes these rows in both
    with torch.no_grad():
        if same or only_tokens:
            model.get_submodule(first).weight.copy_(weights[first])
            return len(grouped)
        for name, value in weights.items():
            module = model.get_submodule(name)
            module.weight = torch.nn.Parameter(value.to(module.weight), requires_grad=module.weight.requires_grad)
    model.config.tie_word_embeddings = model.config.get_text_config().tie_word_embeddings = False
    return len(grouped)
