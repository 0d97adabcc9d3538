"""Which modules an adapter's config names, and whether the file holds the tensors of each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from groundtune.errors import InputError
from groundtune.nn.adapters.files import Adapter

#: a module's saved tensors by what they are: lora_A.weight, ia3_l, ...; or weight and bias, saved whole
Parts = dict[str, Any]


def refuse_missing(model: Any, adapter: Adapter, grouped: Mapping[str, Parts]) -> None:
    """See that every module the config names has its tensors in the file.

    Args:
        grouped: the file's tensors by the name of their module.

    Raises:
        InputError: one of them has none.
    """
    import torch

    sort = (torch.nn.Linear, torch.nn.Embedding)
    parts = ("ia3_l",) if adapter.kind == "IA3" else ("lora_A.weight", "lora_embedding_A")
    missing = []
    for name, module in model.named_modules():
        wanted = isinstance(module, sort) or type(module).__name__ == "Conv1D"
        if wanted and _is_target(adapter.config, name) and not any(part in grouped.get(name, ()) for part in parts):
            missing.append(name)
        whole = any(name == m or name.endswith(f".{m}") for m in adapter.config.get("modules_to_save") or ())
        if whole:
            missing += [n for n, _ in module.named_parameters(prefix=name) if not _has(grouped, n)]
    if missing:
        raise InputError(
            f"{adapter.folder}: the weights of {len(missing)} modules are missing, {missing[0]} for one",
            expected="tensors for every module that the adapter's config names",
        )


def _has(grouped: Mapping[str, Parts], parameter: str) -> bool:
    module, _, own = parameter.rpartition(".")
    return own in grouped.get(module, ())


def _is_target(config: dict[str, Any], name: str) -> bool:
    """Whether a config's targets name a module: PEFT's ``check_target_module_exists``."""
    targets, excluded = config.get("target_modules"), config.get("exclude_modules") or ()
    if any(re.match(rf"(^|.*\.){m}($|\..*)", name) for m in config.get("modules_to_save") or ()):
        return False
    if re.fullmatch(excluded, name) if isinstance(excluded, str) else _ends(name, excluded):
        return False
    if isinstance(targets, str):
        return bool(re.fullmatch(targets, name))
    if name in (targets or ()):
        return True
    only = config.get("layers_to_transform")
    if not _ends(name, targets or ()) or only is None or only == []:
        return _ends(name, targets or ())
    patterns = config.get("layers_pattern") or []
    patterns = [rf"(?:^|.*?\.){p}\.(\d+)\." for p in ([patterns] if isinstance(patterns, str) else patterns)]
    found = next((m for p in patterns or [r".*?\.[^.]*\.(\d+)\."] if (m := re.match(p, name))), None)
    return found is not None and int(found.group(1)) in ([only] if isinstance(only, int) else only)


def _ends(name: str, endings: Any) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in endings)
