"""Peak memory of training, by part, for a model's config and a method, before anything is loaded.

Weights, gradients, activations, logits and temporary tensors: the real step, run dry (``dry_run``). AdamW: two float32 numbers a
trained weight. Around them the framework itself and what the allocator keeps, the only measured constants here. What is
planned is this project's path: float32 weights (bf16 products by autocast where the hardware has them), fused AdamW, gradients freed after
each step, logits at supervised positions alone, no checkpointing of activations unless asked for.

Legend: B rows, T tokens, N supervised positions.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from groundtune.errors import ConfigError
from groundtune.plan.attach import Attach, Sizes, attach, blocks_of
from groundtune.plan.dry_run import DryStep, checkpointed, dry_step
from groundtune.plan.loss import loss_of
from groundtune.plan.machine import Device
from groundtune.plan.sizes import disk_bytes

#: resident memory of a training process without tensors (CPU): Python, torch, transformers, PEFT, compiled kernels. This and
#: the next were fitted with tools/plan_check.py to ten configurations, of pebble, pebble-24m, gpt1, gpt2, gpt2-medium and
#: qwen3-0.6b, full, lora, ia3 and prefix_tuning, four of them checkpointed; torch 2.13, transformers 5.23, November 2026
BASE_BYTES = 576_000_000
#: holes that glibc's heap (2.36) keeps between the activations of several steps, as a share of those; 0.04 to 0.8 there. Its
#: aligned allocations do not take a hole of exactly their size (glibc bug 14581)
HOLES = 0.55


@dataclass(frozen=True)
class Run:
    """A training run, as far as memory goes.

    Attributes:
        config: the model's transformers config.
        method: of :data:`groundtune.plan.attach.METHODS`.
        rows, tokens: B and T of the largest micro-batch, padding included; packed rows are one of B = 1.
        supervised: N of it.
        accumulation: micro-batches an optimizer step.
        kept_tokens: tokens whose hidden states ``layers`` keeps: all training rows once; 0 keeps none.
        checkpointing: activations are computed again in the backward pass.
        read_back: the finished weights are read from disk into a second model and compared with the trained one.
        device: where.
        sizes: of what the method adds.
        attach: a method's own way to hang itself on the model; default: :func:`groundtune.plan.attach.attach`.
    """

    config: Any
    method: str
    rows: int
    tokens: int
    supervised: int
    accumulation: int = 1
    kept_tokens: int = 0
    checkpointing: bool = False
    read_back: bool = False
    device: Device = field(default_factory=Device)
    sizes: Sizes = field(default_factory=Sizes)
    attach: Attach | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak bytes.

    Attributes:
        parts: weights, gradients, optimizer, activations, logits, base and others; they add up to the peak.
        stage: when it is reached: ``step``, or ``reading back`` the finished weights to check them.
        step_bytes: the peak of the training steps alone.
        trainable_parameters, parameters: weights that are trained, and all.
    """

    parts: dict[str, int]
    stage: str
    step_bytes: int
    trainable_parameters: int
    parameters: int

    @property
    def peak(self) -> int:
        """All parts."""
        return sum(self.parts.values())


def skeleton(run: Run) -> Any:
    """The model of a run with its method attached, in training mode, on the meta device.

    Raises:
        ConfigError: the method does not go with the architecture.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    config = copy.deepcopy(run.config)
    kind: Any = AutoModelForCausalLM
    if run.method == "classifier":
        kind, config.num_labels = AutoModelForSequenceClassification, run.sizes.classes
        if config.pad_token_id is None:
            config.pad_token_id = 0
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = kind.from_config(config, dtype=torch.float32)
        made = run.attach(model) if run.attach else attach(model, run.method, run.sizes)
        if run.checkpointing:
            if run.method == "prefix_tuning":
                raise ConfigError(
                    "prefix_tuning does not go with gradient checkpointing: the second forward pass has no prefix",
                    next_step="a smaller batch_tokens saves memory, too",
                )
            model.gradient_checkpointing_enable(checkpointed(autocast=run.device.bf16, gpu=run.device.kind == "cuda"))
            model.enable_input_require_grads()
    return made.train()


def trainable_parameters(model: Any) -> int:
    """Weights that a model as it stands would train."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def peak_memory(run: Run) -> Memory:
    """Peak memory of a run, by part.

    Raises:
        ConfigError: the method does not go with the architecture.
    """
    model = skeleton(run)
    trained, total = trainable_parameters(model), sum(p.numel() for p in model.parameters())
    dry = _dry(model, run)
    step = {**dry.parts, "optimizer": 8 * trained}
    if run.method == "qlora":
        step["weights"] -= _saved_by_4_bits(run)
        step["activations"] += _largest_matrix(model) * (2 if run.device.bf16 else 4)
    if run.method == "layers" and run.kept_tokens:
        step["kept states"] = run.kept_tokens * int(run.config.get_text_config().hidden_size) * 4
    if run.device.kind == "cpu":  # on a GPU both are the driver's business, and not counted
        passing = dry.passing_bytes
        if run.checkpointing:  # what is computed again goes through the heap all the same, and leaves the same holes
            plain = replace(run, checkpointing=False)
            passing = _dry(skeleton(plain), plain).passing_bytes
        step |= {"allocator": dry.apart_bytes + int(HOLES * passing), "base": BASE_BYTES}
    after = {"weights": step["weights"], "second copy": 4 * total, "base": step.get("base", 0)}
    reading = run.read_back and sum(after.values()) > sum(step.values())
    return Memory(after if reading else step, "reading back" if reading else "step", sum(step.values()), trained, total)


def _dry(model: Any, run: Run) -> DryStep:
    return dry_step(
        model,
        loss_of(model, run.method, run.rows, run.tokens, run.supervised, top=run.sizes.top),
        vocabulary=int(model.config.get_text_config().vocab_size),
        accumulation=run.accumulation,
        autocast=run.device.bf16,
        gpu=run.device.kind == "cuda",
    )


def least_bytes(run: Run) -> int:
    """What a run takes at least, however small its micro-batches: weights, optimizer, framework; no step is run dry for it.

    Raises:
        ConfigError: the method does not go with the architecture.
    """
    model = skeleton(replace(run, checkpointing=False))
    weights = 4 * sum(int(p.numel()) for p in model.parameters())
    saved = _saved_by_4_bits(run) if run.method == "qlora" else 0
    return weights - saved + 8 * trainable_parameters(model) + (BASE_BYTES if run.device.kind == "cpu" else 0)


def _saved_by_4_bits(run: Run) -> int:
    """Bytes that linear layers in NF4 take less than in float32; everything else stays float32 (PEFT's preparation)."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(run.config, dtype=torch.float32)
    rest_in_16_bits = disk_bytes(plain, "fp16") - disk_bytes(
        plain, "nf4"
    )  # what the linear layers lose against 16 bits
    linear = sum(int(p.numel()) for p in blocks_of(plain).parameters() if p.dim() == 2)
    return rest_in_16_bits + 2 * linear


def _largest_matrix(model: Any) -> int:
    """Weights of the largest linear layer: a 4-bit matrix is made whole to multiply with it."""
    return max(int(p.numel()) for p in blocks_of(model).parameters() if p.dim() == 2)
