"""A training step without its arithmetic: every tensor it would hold, when it appears and when it goes.

The real model runs forward and backward on torch's meta device, where tensors have sizes and no memory, and every storage
that an operation makes is written into a ledger until the last reference to it is gone. So activations, logits, gradients and
temporary tensors are counted as the real step holds them, for any architecture and with any adapter, instead of by a
formula. Attention is counted as the fused kernel that CPUs and GPUs use: output and log-sum-exp are kept, scores never. Leaves out what kernels
hold inside, and what the allocator keeps on top (``memory``).

Legend: B rows, T tokens, S key tokens, H heads, E head size, D width, V vocabulary, N supervised positions.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

#: allocations of this size and more glibc takes from the system and gives back (DEFAULT_MMAP_THRESHOLD_MAX in its malloc.c);
#: smaller ones lie in its heap, which stays as large as it ever was
MAPPED_BYTES = 32 * 2**20
PARTS = ("weights", "gradients", "activations", "logits")
_SDPA = torch.nn.functional.scaled_dot_product_attention
_F = torch.nn.functional
#: what autocast runs in 16 bits, and what a GPU's runs in 32 (torch's documentation, "Autocast Op Reference")
_LOW = frozenset((_F.linear, torch.addmm, torch.matmul, torch.bmm, torch.baddbmm, torch.Tensor.matmul, torch.Tensor.__matmul__))  # fmt: skip
_HIGH = frozenset((_F.layer_norm, _F.softmax, torch.softmax, _F.log_softmax, _F.cross_entropy, torch.rsqrt, torch.pow))


@dataclass(frozen=True, slots=True)
class DryStep:
    """What a step holds.

    Attributes:
        parts: bytes of each of :data:`PARTS` at the peak.
        apart_bytes: what a C heap adds because it keeps its size while larger tensors, outside it, come later.
        passing_bytes: most that activations and logits of heap size hold at once.
    """

    parts: dict[str, int]
    apart_bytes: int
    passing_bytes: int


class Ledger(TorchDispatchMode):
    """Writes down when each storage appears and goes while it is active.

    Args:
        vocabulary: V; tensors whose last dimension it is are logits, and matrices of V rows are gradients of embeddings.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vocabulary = vocabulary
        self.events: list[tuple[int, int]] = []
        self.part_of: dict[int, str] = {}
        self._known: dict[int, int] = {}

    def note(self, tensor: torch.Tensor, part: str | None = None) -> None:
        """Write a tensor's storage down, once; ``part`` names a storage that is known already."""
        storage = tensor.untyped_storage()
        number = self._known.get(storage._cdata)
        if number is None:
            number = len(self.part_of)
            self._known[storage._cdata] = number
            self.part_of[number] = self._part(tensor)
            self.events.append((number, storage.nbytes()))
            weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        if part:
            self.part_of[number] = part

    def _part(self, tensor: torch.Tensor) -> str:
        if tensor.dim() < 2 or not tensor.is_floating_point():
            return "activations"
        if tensor.shape[-1] == self.vocabulary:
            return "logits"
        return "gradients" if tensor.dim() == 2 and tensor.shape[0] == self.vocabulary else "activations"

    def _gone(self, address: int, size: int) -> None:
        self.events.append((self._known.pop(address), -size))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and write down what it made."""
        if func is torch.ops.aten._local_scalar_dense.default:
            return True  # transformers asks whether positions have no gaps; they have none
        made = func(*args, **(kwargs or {}))
        for value in made if isinstance(made, tuple | list) else (made,):
            if isinstance(value, torch.Tensor):
                self.note(value)
        return made

    def most(self, parts: tuple[str, ...], *, mapped: bool = False, heap: bool = False) -> int:
        """Most bytes that tensors of some parts hold at once, counting those of mapped size, of heap size, or both."""
        held = peak = 0
        for number, change in self.events:
            if self.part_of[number] in parts and (mapped if abs(change) >= MAPPED_BYTES else heap):
                held += change
                peak = max(peak, held)
        return peak

    def at_peak(self) -> dict[str, int]:
        """Bytes of each part at the moment when most is held."""
        held = peak = 0
        moment = 0
        for index, (_, change) in enumerate(self.events):
            held += change
            if held > peak:
                peak, moment = held, index
        parts = dict.fromkeys(PARTS, 0)
        for number, change in self.events[: moment + 1]:
            parts[self.part_of[number]] += change
        return parts


class _FusedAttention(torch.autograd.Function):
    """Sizes of fused attention: keeps q, k, v, the output and one float a query (Dao et al., FlashAttention, 2022)."""

    @staticmethod
    def forward(ctx: Any, q_BHTE: Any, k_BHSE: Any, v_BHSE: Any, mask: Any) -> torch.Tensor:
        rows, heads, tokens, _ = (
            q_BHTE.shape
        )  # the kernels lay a token's heads side by side: what follows copies nothing
        out_BHTE = q_BHTE.new_empty((rows, tokens, heads, v_BHSE.shape[-1])).transpose(1, 2)
        sums_BHT = torch.empty(q_BHTE.shape[:-1], dtype=torch.float32, device=q_BHTE.device)
        kept = [] if mask is None else [mask]
        ctx.save_for_backward(q_BHTE, k_BHSE, v_BHSE, out_BHTE, sums_BHT, *kept)
        return out_BHTE  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        return (*(torch.empty_like(t) for t in ctx.saved_tensors[:3]), None)


class Kernels(TorchFunctionMode):
    """Stands for the kernels of the real device while a model runs on the meta device.

    Args:
        autocast: matrix products in bf16 as autocast runs them, trained weights cast once a forward pass.
        gpu: attention is fused with dropout, too (CPUs form all scores then), and autocast runs norms in 32 bits.
        keep_casts: as in a forward pass; not where a backward pass computes a checkpointed block again.
    """

    def __init__(self, *, autocast: bool = False, gpu: bool = False, keep_casts: bool = True) -> None:
        super().__init__()
        self.autocast, self.gpu, self.keep_casts = autocast, gpu, keep_casts
        self.casts: dict[int, torch.Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function as the real device would."""
        kwargs = kwargs or {}
        if func is _SDPA:
            return self._attention(*args, **kwargs)
        if self.autocast and func in _LOW:
            return func(*(self._low(a) for a in args), **{k: self._low(v) for k, v in kwargs.items()})
        if self.autocast and self.gpu and func in _HIGH:
            return func(*(_high(a) for a in args), **{k: _high(v) for k, v in kwargs.items()})
        return func(*args, **kwargs)

    def _low(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.dtype is not torch.float32:
            return value
        if not (value.is_leaf and value.requires_grad and self.keep_casts):
            return value.to(torch.bfloat16)
        if id(value) not in self.casts:
            self.casts[id(value)] = value.to(torch.bfloat16)
        return self.casts[id(value)]

    def _attention(
        self, query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, *rest: Any, **more: Any
    ) -> Any:
        if self.autocast:
            query, key, value = self._low(query), self._low(key), self._low(value)
        if dropout_p > 0 and not self.gpu:
            return _SDPA(query, key, value, attn_mask, dropout_p, *rest, **more)  # the meta device forms all scores
        if attn_mask is not None and attn_mask.dtype is torch.bool:
            attn_mask = torch.empty(attn_mask.shape, dtype=query.dtype, device=query.device)
        return _FusedAttention.apply(query, key, value, attn_mask)  # type: ignore[no-untyped-call]


def _high(value: Any) -> Any:
    low = isinstance(value, torch.Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if low else value


def checkpointed(*, autocast: bool, gpu: bool) -> dict[str, Any]:
    """transformers' ``gradient_checkpointing_kwargs`` for a dry step: the kernels stand in the second forward pass, too."""
    again = Kernels(autocast=autocast, gpu=gpu, keep_casts=False)
    return {"use_reentrant": False, "preserve_rng_state": False, "context_fn": lambda: (nullcontext(), again)}


def dry_step(
    model: Any,
    loss: Callable[[], torch.Tensor],
    *,
    vocabulary: int,
    accumulation: int = 1,
    autocast: bool = False,
    gpu: bool = False,
) -> DryStep:
    """What an optimizer step holds at its peak, the optimizer's own state not counted.

    Args:
        model: on the meta device, in the mode it is trained in; left without gradients.
        loss: the forward pass of a micro-batch.
        vocabulary: V.
        accumulation: micro-batches a step; from the second on, gradients are held during the forward pass.
        autocast, gpu: as :class:`Kernels`'s.
    """
    ledger = Ledger(vocabulary)
    kernels = Kernels(autocast=autocast, gpu=gpu)
    for tensor in (*model.parameters(), *model.buffers()):
        ledger.note(tensor, "weights")
    for _ in range(min(2, accumulation)):
        with ledger, kernels:
            total = loss()
            kernels.casts.clear()
        with ledger:
            total.backward()
        del total
    for parameter in model.parameters():
        if parameter.grad is not None:
            ledger.note(parameter.grad, "gradients")
    peak = ledger.at_peak()
    moving = ("gradients", "activations", "logits")
    apart = ledger.most(moving, mapped=True) + ledger.most(moving, heap=True)
    together = sum(peak[part] for part in moving)
    passing = ledger.most(("activations", "logits"), heap=True)
    for parameter in model.parameters():
        parameter.grad = None
    return DryStep(peak, apart - together, passing)
