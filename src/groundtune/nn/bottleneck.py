"""Bottleneck adapters: small networks inside each layer, the rest of the model frozen. PEFT has none.

h <- h + f(h W_down + b_down) W_up + b_up (Houlsby et al., ICML 2019, section 2.1; 2md + d + m parameters for width d and
bottleneck m). Houlsby et al. put two in each layer, behind the attention and behind the feed-forward part; Pfeiffer et al.
(AdapterFusion, EACL 2021) keep the second one. Both stand before the residual addition here; the residual and
normalization variants that Pfeiffer et al. searched are left out. W_down starts as in Houlsby et al. (deviation 0.01, cut at
two), W_up and both biases at zero instead of near it: an untrained adapter changes no bit.

Saved beside each other as PEFT saves adapters: ``adapter_model.safetensors`` and ``adapter_config.json`` with
``peft_type: BOTTLENECK``.

Legend: B rows, T tokens, D width of the model, M bottleneck.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers.activations import ACT2FN

from groundtune.errors import ConfigError, InputError
from groundtune.nn.adapters.files import CONFIG, PREFIX, WEIGHTS, Adapter, check_base

BOTTLENECK = "BOTTLENECK"
PLACEMENTS = ("houlsby", "pfeiffer")
#: names that architectures give the two halves of a layer; what they return is added to the residual stream
_ATTENTION = ("self_attn", "attn", "self_attention", "attention")
_FEED_FORWARD = ("mlp", "feed_forward", "ffn", "fc2")
_CHILD = "bottleneck"


@dataclass(frozen=True, slots=True)
class BottleneckConfig:
    """Where adapters stand and how large they are.

    Attributes:
        placement: ``houlsby``, two a layer, or ``pfeiffer``, one.
        reduction_factor: model width / bottleneck size, where no size is given.
        size: bottleneck size M.
        non_linearity: f, by its name in transformers (``gelu``, ``relu``, ``silu``, ``tanh``).
        train_layer_norms: layer norms are trained too, as in Houlsby et al.
    """

    placement: str = "houlsby"
    reduction_factor: float = 16.0
    size: int | None = None
    non_linearity: str = "gelu"
    train_layer_norms: bool = False


class Bottleneck(torch.nn.Module):
    """One adapter: h (B, T, D) -> h + f(h W_down + b_down) W_up + b_up (B, T, D), in h's dtype."""

    def __init__(self, width: int, size: int, non_linearity: str) -> None:
        super().__init__()
        self.down = torch.nn.Linear(width, size)
        self.up = torch.nn.Linear(size, width)
        self.non_linearity = ACT2FN[non_linearity]
        torch.nn.init.trunc_normal_(self.down.weight, std=0.01, a=-0.02, b=0.02)
        for start_at_zero in (self.down.bias, self.up.weight, self.up.bias):
            torch.nn.init.zeros_(start_at_zero)

    def forward(self, hidden_BTD: torch.Tensor) -> torch.Tensor:
        """The adapted hidden states."""
        inner_BTM = self.non_linearity(self.down(hidden_BTD.to(self.down.weight.dtype)))
        adapted_BTD: torch.Tensor = hidden_BTD + self.up(inner_BTM)
        return adapted_BTD.to(hidden_BTD.dtype)


def attach_bottleneck(model: Any, config: BottleneckConfig) -> list[str]:
    """Put fresh adapters into a transformers model in place, and freeze everything else but a classifier's head.

    Args:
        model: a decoder or encoder with one list of layers: Llama, GPT-2, BERT and what is built like them.

    Returns:
        Names of the adapters' modules.

    Raises:
        ConfigError: a field that cannot be, a model that has adapters already, or an architecture whose layers are not known.
    """
    width = int(model.config.get_text_config().hidden_size)
    size = config.size if config.size is not None else int(width // config.reduction_factor)
    _check(config, width, size)
    if any(isinstance(module, Bottleneck) for module in model.modules()):
        raise ConfigError("the model has bottleneck adapters already", expected="a model as it was loaded")
    hosts = [host for layer in layer_names(model) for host in _hosts(model, layer, config.placement)]
    model.requires_grad_(False)
    for host in hosts:
        module = model.get_submodule(host)
        adapter = Bottleneck(width, size, config.non_linearity)
        module.add_module(_CHILD, adapter.to(next(model.parameters()).device))
        module.register_forward_hook(_adapt)
    for name in _also_trained(model, config):
        model.get_submodule(name).requires_grad_(True)
    model.bottleneck_config = config
    return [f"{host}.{_CHILD}" for host in hosts]


def _check(config: BottleneckConfig, width: int, size: int) -> None:
    if config.placement not in PLACEMENTS:
        raise ConfigError(f"bottleneck placement {config.placement!r}", expected=f"one of {', '.join(PLACEMENTS)}")
    if config.non_linearity not in ACT2FN:
        raise ConfigError(
            f"bottleneck non_linearity {config.non_linearity!r}", expected=f"one of {', '.join(sorted(ACT2FN))}"
        )
    if size < 1:
        raise ConfigError(
            f"a bottleneck of size {size}: width {width}, reduction_factor {config.reduction_factor}, size {config.size}",
            expected="one unit or more",
            next_step=f"set size, or a reduction_factor of at most {width}",
        )


def _adapt(module: Any, _: Any, output: Any) -> Any:
    """Forward hook of the module whose output an adapter changes; finds the adapter in it, so that copies have their own."""
    adapter = getattr(module, _CHILD)
    return (adapter(output[0]), *output[1:]) if isinstance(output, tuple) else adapter(output)


def layer_names(model: Any) -> list[str]:
    """Names of a transformers model's layers, from the bottom up.

    Raises:
        ConfigError: no list of modules as long as the config says there are layers, or several.
    """
    count = model.config.get_text_config().num_hidden_layers
    lists = [
        n
        for n, m in model.named_modules()
        if isinstance(m, torch.nn.ModuleList) and len(m) == count and _is_layer(m[0])
    ]
    if len(lists) != 1:
        raise ConfigError(
            f"the layers of {type(model).__name__} were not found: {len(lists)} lists of {count} modules",
            expected="a decoder or encoder built like Llama, GPT-2 or BERT",
            next_step="choose another method, LoRA for one",
        )
    return [f"{lists[0]}.{i}" for i in range(count)]


def _is_layer(module: torch.nn.Module) -> bool:
    return any(hasattr(module, name) for name in _ATTENTION)


def _hosts(model: Any, layer: str, placement: str) -> list[str]:
    """Names of the modules of a layer whose outputs are added to the residual stream, attention first."""
    module = model.get_submodule(layer)
    if _adds_itself(
        getattr(getattr(module, "attention", None), "output", None)
    ):  # BERT: the dropout before the addition
        both = ["attention.output.dropout", "output.dropout"]
    else:
        both = [next((n for n in names if hasattr(module, n)), "") for names in (_ATTENTION, _FEED_FORWARD)]
    if not all(both) or (both[1] == "output.dropout" and not _adds_itself(getattr(module, "output", None))):
        raise ConfigError(
            f"the halves of {type(module).__name__} were not found: it has {', '.join(n for n, _ in module.named_children())}",
            expected="a layer built like Llama's, GPT-2's or BERT's",
            next_step="choose another method, LoRA for one",
        )
    return [f"{layer}.{half}" for half in (both if placement == "houlsby" else both[1:])]


def _adds_itself(module: Any) -> bool:
    """Whether a module projects, drops out, adds the residual and normalizes, as BERT's ``output`` does."""
    return all(hasattr(module, name) for name in ("dense", "dropout", "LayerNorm"))


def _also_trained(model: Any, config: BottleneckConfig) -> list[str]:
    """Names of the modules trained beside the adapters: a classifier's head, and layer norms where asked for."""
    body, head = model.base_model, model.get_output_embeddings()
    outside = [] if body is model else [n for n, child in model.named_children() if child is not body]
    # the head that writes words stays; it may be the embedding
    heads = [n for n in outside if head is None or all(m is not head for m in model.get_submodule(n).modules())]
    heads = [n for n in heads if next(model.get_submodule(n).parameters(), None) is not None]
    norms = [n for n, m in body.named_modules(prefix=_name_of(model, body)) if "Norm" in type(m).__name__]
    return heads + (norms if config.train_layer_norms else [])


def _name_of(model: Any, module: Any) -> str:
    return str(next(name for name, found in model.named_modules() if found is module))


def _saved_names(model: Any) -> dict[str, Any]:
    """Parameters that make the adapter, by their names in the model."""
    config: BottleneckConfig = model.bottleneck_config
    whole = [name for name, module in model.named_modules() if isinstance(module, Bottleneck)] + _also_trained(
        model, config
    )
    return {
        f"{name}.{own}": parameter for name in whole for own, parameter in model.get_submodule(name).named_parameters()
    }


def save_bottleneck(model: Any, folder: Path) -> None:
    """Write a model's bottleneck adapters, and what was trained beside them, as ``apply_adapter`` reads them.

    Raises:
        ValueError: the model has none.
    """
    config: BottleneckConfig | None = getattr(model, "bottleneck_config", None)
    if config is None:
        raise ValueError("the model has no bottleneck adapters")
    folder.mkdir(parents=True, exist_ok=True)
    weights = {PREFIX + name: p.detach().cpu().contiguous() for name, p in _saved_names(model).items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    shape = model.config.get_text_config()
    fields = {
        "peft_type": BOTTLENECK,
        "task_type": None,
        "base_model_name_or_path": model.name_or_path or None,
        "inference_mode": True,
        **asdict(config),
        "model_type": shape.model_type,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "modules_to_save": _also_trained(model, config) or None,
    }
    (folder / CONFIG).write_text(json.dumps(fields, indent=2, sort_keys=True), encoding="utf-8")


def load_bottleneck(model: Any, adapter: Adapter) -> Any:
    """Put saved bottleneck adapters into a model in place, for answering: nothing is left trainable.

    Returns:
        The model, in evaluation mode.

    Raises:
        InputError: another base model, missing or surplus tensors, or a field that cannot be.
    """
    shape, config = model.config.get_text_config(), adapter.config
    check_base(model, adapter)
    for key in ("model_type", "hidden_size", "num_hidden_layers"):
        if config.get(key) != getattr(shape, key):
            raise InputError(
                f"{adapter.folder}: {key} is {config.get(key)}, this model's {getattr(shape, key)}",
                expected="the model the adapter was trained on",
            )
    try:
        names = ("placement", "reduction_factor", "size", "non_linearity", "train_layer_norms")
        attach_bottleneck(model, BottleneckConfig(**{name: config[name] for name in names}))
    except (KeyError, TypeError) as error:
        raise InputError(f"{adapter.folder / CONFIG}: {error}", expected=f"the fields {', '.join(names)}") from None
    places = {PREFIX + name: parameter for name, parameter in _saved_names(model).items()}
    wrong = sorted(places.keys() ^ adapter.weights.keys())
    wrong += [n for n in places.keys() & adapter.weights.keys() if places[n].shape != adapter.weights[n].shape]
    if wrong:
        raise InputError(
            f"{adapter.folder}: {len(wrong)} tensors are missing, surplus or of another shape, {wrong[0]} for one",
            expected=f"the {len(places)} tensors of this adapter's config",
        )
    with torch.no_grad():
        for name, parameter in places.items():
            parameter.copy_(adapter.weights[name])
    return model.eval().requires_grad_(False)
