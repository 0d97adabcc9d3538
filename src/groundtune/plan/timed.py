"""Two blocks of a model with made-up weights on the real device, and the seconds they take; ``measure`` makes a step of them."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from groundtune.errors import ConfigError
from groundtune.plan.attach import attach, blocks_of
from groundtune.plan.loss import loss_of
from groundtune.plan.memory import Run, skeleton

#: blocks that are timed; the time of one is that of the second, which has a block before it as all but the first have
BLOCKS = 2


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one pass.

    Attributes:
        forward, backward: of one block.
        rest: of all that is not blocks, forward and backward.
    """

    forward: float
    backward: float
    rest: float

    @property
    def total(self) -> float:
        """The pass."""
        return BLOCKS * (self.forward + self.backward) + self.rest


def made_up(run: Run) -> Any:
    """The run's model on its device with made-up weights; 4-bit layers where the method has them."""
    model = skeleton(replace(run, method="full", attach=None) if run.method == "qlora" else run)
    device = run.device.kind
    model.to_empty(device=device)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    base.tie_weights()
    noise = torch.randn(1 << 20, device=device).mul_(0.02)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                flat = tensor.view(-1)
                for start in range(0, len(flat), len(noise)):
                    piece = flat[start : start + len(noise)]
                    piece.copy_(noise[: len(piece)])
            else:
                tensor.zero_()
    prompts: dict[str, torch.Tensor] = getattr(model, "prompt_tokens", {})
    for name, numbers in prompts.items():  # PEFT keeps them beside the module's tensors
        prompts[name] = torch.arange(len(numbers), device=device)
    if run.method == "qlora":
        to_4_bits(model, bf16=run.device.bf16)
        model = run.attach(model) if run.attach else attach(model, "qlora", run.sizes)
    return model.train()


def to_4_bits(model: Any, *, bf16: bool = False) -> None:
    """Freeze a model and put its blocks' linear layers into NF4 with double quantization, as bitsandbytes has them.

    Args:
        model: causal, on the device it stays on; changed in place.
        bf16: products in bf16, else in float32.

    Raises:
        ConfigError: no bitsandbytes.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError("qlora needs bitsandbytes to be timed", next_step="pip install bitsandbytes")
    bitsandbytes: Any = importlib.import_module("bitsandbytes")

    model.requires_grad_(False)
    for block in blocks_of(model):
        for name, layer in list(block.named_modules()):
            if not isinstance(layer, torch.nn.Linear):
                continue
            new: Any = bitsandbytes.nn.Linear4bit(
                layer.in_features,
                layer.out_features,
                bias=layer.bias is not None,
                compute_dtype=torch.bfloat16 if bf16 else torch.float32,
                quant_type="nf4",
            )
            new.weight = bitsandbytes.nn.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
            new.bias = layer.bias
            parent, _, own = name.rpartition(".")
            setattr(block.get_submodule(parent) if parent else block, own, new.to(layer.weight.device))


class _Clock:
    """Takes the time at the second block's ends, on the way forward and on the way back."""

    def __init__(self, block: torch.nn.Module, device: str) -> None:
        self.at: dict[str, float] = {}
        self.device = device
        self.hooks = [
            block.register_forward_pre_hook(self._before, with_kwargs=True),
            block.register_forward_hook(self._after),
        ]

    def tick(self, name: str) -> None:
        """Write the time down once the device has done what it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.at[name] = time.perf_counter()

    def _before(self, _: Any, args: Any, kwargs: Any) -> None:
        hidden_BTD = args[0] if args else kwargs["hidden_states"]
        if hidden_BTD.requires_grad:
            hidden_BTD.register_hook(lambda _: self.tick("backward end"))
        self.tick("forward begin")

    def _after(self, _: Any, args: Any, output: Any) -> None:
        self.tick("forward end")
        hidden_BTD = output[0] if isinstance(output, tuple) else output
        hidden_BTD.register_hook(lambda _: self.tick("backward begin"))


def timed(model: Any, run: Run) -> Times:
    """One pass, forward and backward."""
    device = run.device.kind
    loss: Callable[[], torch.Tensor] = loss_of(
        model, run.method, run.rows, run.tokens, run.supervised, top=run.sizes.top
    )
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    entrance = base.get_input_embeddings().register_forward_hook(lambda _, __, output: output.requires_grad_(True))
    clock = _Clock(blocks_of(base)[BLOCKS - 1], device)
    model.zero_grad(set_to_none=True)
    try:
        clock.tick("begin")
        with torch.autocast(device, torch.bfloat16, enabled=run.device.bf16):
            total = loss()
        total.backward()
        clock.tick("end")
    finally:
        entrance.remove()
        for hook in clock.hooks:
            hook.remove()
    at = clock.at
    forward = at["forward end"] - at["forward begin"]
    backward = at.get("backward end", at["end"]) - at["backward begin"]
    rest = at["end"] - at["begin"] - BLOCKS * (forward + backward)
    return Times(forward, backward, max(0.0, rest))


def optimizer_seconds(model: Any) -> float:
    """Clipping and AdamW, a trained weight that has a gradient; the first step, which makes the optimizer's state, is not timed."""
    parameters = [p for p in model.parameters() if p.requires_grad and p.grad is not None]
    optimizer = torch.optim.AdamW(parameters, lr=1e-9, fused=True)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if parameters and parameters[0].is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:]) / sum(int(p.numel()) for p in parameters)
