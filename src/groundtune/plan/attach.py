"""What each way of training hangs on a model, with its default sizes: enough to count it and to run it dry.

Works on torch's meta device, where nothing takes memory; PEFT's own modules wherever PEFT has the method, so that what is
counted is what will be trained. Leaves out the training itself, and options beyond sizes: whoever has a method's own
``attach`` passes that instead (``memory.Run.attach``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from groundtune.errors import ConfigError, UnknownNameError

#: a causal model -> the model to train, frozen where it is not trained
Attach = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of what is trained.

    Attributes:
        rank: of LoRA's matrices, in every linear layer but the output head.
        virtual_tokens: length of a learnt prompt or prefix.
        encoder_width: hidden size of P-tuning's network.
        adapter_tokens: adaption prompts a layer of LLaMA-Adapter, in all layers but the lowest two.
        reduction: model width / bottleneck of an adapter; two adapters a layer (Houlsby et al., ICML 2019).
        top: layers that ``layers`` trains.
        classes: of a classifier.
    """

    rank: int = 16
    virtual_tokens: int = 16
    encoder_width: int = 128
    adapter_tokens: int = 10
    reduction: float = 16.0
    top: int = 2
    classes: int = 2


#: method -> one line for people
METHODS = {
    "full": "every weight",
    "lora": "small matrices beside every linear layer",
    "qlora": "the same over a base in 4 bits",
    "prefix_tuning": "learnt keys and values in every layer",
    "prompt_tuning": "a learnt prompt",
    "p_tuning": "a learnt prompt written by a small network",
    "ia3": "three scaling vectors a layer",
    "llama_adapter": "gated prompts in the upper layers",
    "adapter": "two bottlenecks a layer",
    "layers": "the top layers alone, over kept outputs of those below",
    "classifier": "every weight, with a classification head",
    "pretraining": "every weight, from nothing",
}
#: a learnt prompt stands before the first row alone, so their rows cannot be packed
UNPACKED = ("prefix_tuning", "prompt_tuning", "p_tuning", "llama_adapter")


def blocks_of(model: Any) -> Any:
    """The list of transformer blocks of a model's decoder or encoder.

    Raises:
        ConfigError: none was found.
    """
    import torch

    count = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise ConfigError(
        f"the blocks of {type(model).__name__} were not found", expected="a model built like Llama, GPT-2 or BERT"
    )


def attach(model: Any, method: str, sizes: Sizes | None = None) -> Any:
    """A model as a method trains it: changed in place, or wrapped by PEFT.

    Args:
        model: causal, on any device.
        method: of :data:`METHODS`.
        sizes: of what is added; default: :class:`Sizes`.

    Raises:
        UnknownNameError: no such method. ConfigError: this architecture cannot be trained so.
    """
    sizes = sizes or Sizes()
    if method not in METHODS:
        raise UnknownNameError("training method", method, METHODS)
    if method in ("full", "classifier", "pretraining"):
        return model
    if method == "layers":
        return _top_layers(model, sizes.top)
    if method == "adapter":
        return _bottlenecks(model, sizes.reduction)
    from peft import get_peft_model

    try:
        return get_peft_model(model, _peft_config(model, method, sizes))
    except ValueError as error:
        raise ConfigError(
            f"{method} on {type(model).__name__}: {str(error).splitlines()[0]}",
            next_step="choose another method: --methods",
        ) from None


def _peft_config(model: Any, method: str, sizes: Sizes) -> Any:
    import peft

    task: dict[str, Any] = {"task_type": "CAUSAL_LM"}
    if method in ("lora", "qlora"):
        return peft.LoraConfig(r=sizes.rank, lora_alpha=2 * sizes.rank, target_modules="all-linear", **task)
    if method == "prefix_tuning":
        return peft.PrefixTuningConfig(num_virtual_tokens=sizes.virtual_tokens, **task)
    if method == "prompt_tuning":
        return peft.PromptTuningConfig(num_virtual_tokens=sizes.virtual_tokens, **task)
    if method == "p_tuning":
        return peft.PromptEncoderConfig(
            num_virtual_tokens=sizes.virtual_tokens, encoder_hidden_size=sizes.encoder_width, **task
        )
    if method == "ia3":
        return peft.IA3Config(**task)
    depth = int(model.config.get_text_config().num_hidden_layers)
    return peft.AdaptionPromptConfig(adapter_len=sizes.adapter_tokens, adapter_layers=max(1, depth - 2), **task)


def _top_layers(model: Any, top: int) -> Any:
    blocks = blocks_of(model)
    if top > len(blocks):
        raise ConfigError(f"{top} top layers to train", expected=f"at most the model's {len(blocks)}")
    model.requires_grad_(False)
    for block in blocks[-top:]:
        block.requires_grad_(True)
    decoder = model.get_decoder()
    final = getattr(decoder, "norm", None) or getattr(decoder, "ln_f", None)
    if final is not None:
        final.requires_grad_(True)
    return model


def bottleneck_parameters(layers: int, width: int, reduction: float) -> int:
    """Parameters of two bottlenecks a layer: 2 m d + d + m each, for width d and bottleneck m."""
    size = int(width // reduction)
    return 2 * layers * (2 * size * width + width + size)


def _bottlenecks(model: Any, reduction: float) -> Any:
    import torch

    width = int(model.config.get_text_config().hidden_size)
    size = int(width // reduction)
    if size < 1:
        raise ConfigError(f"a bottleneck of width {width} / {reduction}", expected="one unit or more")
    device = next(model.parameters()).device
    model.requires_grad_(False)
    for block in blocks_of(model):
        halves = [next((m for n in names if (m := getattr(block, n, None)) is not None), None) for names in _HALVES]
        for half in halves:
            if half is None:
                raise ConfigError(
                    f"the halves of {type(block).__name__} were not found", expected="a block like Llama's or GPT-2's"
                )
            half.bottleneck = torch.nn.Sequential(
                torch.nn.Linear(width, size), torch.nn.GELU(), torch.nn.Linear(size, width)
            ).to(device)
            half.register_forward_hook(_adapt)
    return model


#: names that architectures give a block's attention and its feed-forward part
_HALVES = (("self_attn", "attn", "attention"), ("mlp", "feed_forward", "ffn"))


def _adapt(module: Any, _: Any, output: Any) -> Any:
    hidden_BTD = output[0] if isinstance(output, tuple) else output
    changed_BTD = hidden_BTD + module.bottleneck(hidden_BTD)
    return (changed_BTD, *output[1:]) if isinstance(output, tuple) else changed_BTD
