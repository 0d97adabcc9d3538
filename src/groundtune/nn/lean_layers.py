"""Llama-like layers with fewer passes over memory and no work for nothing, while a model is trained in float32 on a CPU.

Three things: norms, rotary positions and gates are single steps of the autograd graph (``lean_functions``); attention is
that of ``packed_attention``; and behind its attention the last layer runs on the positions that are trained on alone, since
nobody reads the others: with a quarter of the tokens trained that is half of the layer. Exact, not approximate: a model is
changed only where a trial on two short rows gives the same hidden states and nothing hangs on the modules passed over. The layers' own modules still do every matrix
product, so that adapters and quantized weights inside them count. Leaves out the loss (``linear_cross_entropy``).

Legend: B rows, T tokens, D width, N positions kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from groundtune.nn.lean_functions import rms_norm, rotate, silu_gate
from groundtune.nn.packed_attention import NAME as PER_DOCUMENT
from groundtune.nn.packed_attention import attend

#: the decoder's keyword under which the positions (B, T; bool) travel that the last layer is to finish
KEPT = "kept_positions"
#: how far hidden states may be off in the trial, in their standard deviations
_TOLERANCE = 1e-4
#: transformers 5.23 computes activations again inside the forward of a layer's class, which stands aside here; 5.17 did so around it
_IN_FORWARD = "__call__" not in vars(GradientCheckpointingLayer)


@contextmanager
def lean(model: Any) -> Iterator[int]:
    """While inside, the model's layers run lean; yields how many of them do: 0 where this model or machine has no such layers.

    Args:
        model: a transformers model, or PEFT's around one, as it is trained: adapters are in it already.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    changed: list[Any] = []
    try:
        layers = _layers(base)
        for layer in layers:
            if _fits(layer):
                layer.forward = partial(_forward, layer, layer.forward, last=layer is layers[-1])
                changed.append(layer)
        if changed and not _same(base, changed):
            _restore(changed)
        yield len(changed)
    finally:
        _restore(changed)


def keeps(model: Any) -> bool:
    """Whether the model's decoder takes ``kept_positions`` now, and gives (1, N, D) for them."""
    layers = _layers(model.get_base_model() if hasattr(model, "get_base_model") else model)
    return bool(layers) and isinstance(layers[-1].__dict__.get("forward"), partial)


def _layers(base: Any) -> list[Any]:
    decoder = base.get_decoder() if hasattr(base, "get_decoder") else None
    return list(getattr(decoder, "layers", ()))


def _restore(changed: list[Any]) -> None:
    for layer in changed:
        del layer.forward
    changed.clear()


def _fits(layer: Any) -> bool:
    """Whether a layer is built as Llama's, in float32 on a CPU, as far as it shows; the trial shows the rest."""
    attention: Any = getattr(layer, "self_attn", None)
    mlp: Any = getattr(layer, "mlp", None)
    norms: list[Any] = [getattr(layer, name, None) for name in ("input_layernorm", "post_attention_layernorm")]
    parts = [getattr(attention, f"{name}_proj", None) for name in "qkvo"]
    parts += [getattr(mlp, f"{name}_proj", None) for name in ("gate", "up", "down")]
    if any(part is None for part in parts) or not all(_own(m) for m in (layer, attention, mlp, *norms)):
        return False
    if any("variance_epsilon" not in vars(norm) or len(norm._parameters) != 1 for norm in norms):
        return False
    others = {name for name, _ in attention.named_children()} - {f"{name}_proj" for name in "qkvo"}
    windowed = getattr(attention, "sliding_window", None) or getattr(attention.config, "sliding_window", None)
    if others - {"q_norm", "k_norm"} or windowed or getattr(attention, "attention_dropout", 0.0):
        return False
    floats = [p for p in layer.parameters() if p.is_floating_point()]
    plain = all(p.device.type == "cpu" and p.dtype == torch.float32 for p in floats)
    return plain and type(getattr(mlp, "act_fn", None)).__name__ in ("SiLU", "SiLUActivation")


def _own(module: Any) -> bool:
    """Whether a module is transformers' own and nothing hangs on it: it will not be called any more."""
    if module is None or not type(module).__module__.startswith("transformers.models."):
        return False
    return not (module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


@torch.no_grad()
def _same(base: Any, changed: list[Any]) -> bool:
    """Whether the lean layers give the hidden states that their own forward gives, in the kind of batch it is for."""
    was, decoder = base.training, base.get_decoder()
    ids_BT = torch.arange(14).remainder(base.get_input_embeddings().num_embeddings)[None]
    kept_BT = torch.arange(14)[None] % 3 > 0
    places: dict[str, Any] = {}
    if base.config.get_text_config()._attn_implementation == PER_DOCUMENT:
        places = {"position_ids": torch.tensor([[*range(9), *range(5)]]), "cu_seq_lens_q": torch.tensor([0, 9, 14])}
    base.eval()
    try:
        found, few = (
            decoder(input_ids=ids_BT, use_cache=False, **places, **extra).last_hidden_state
            for extra in ({}, {KEPT: kept_BT} if keeps(base) else {})
        )
        with _as_they_were(changed):
            wanted = decoder(input_ids=ids_BT, use_cache=False, **places).last_hidden_state
    except (RuntimeError, ValueError, TypeError, AttributeError, LookupError):
        return False
    finally:
        base.train(was)
    pairs = [(found, wanted), (few, wanted[kept_BT][None] if keeps(base) else wanted)]
    return all(a.shape == b.shape and bool((a - b).abs().max() <= _TOLERANCE * b.std()) for a, b in pairs)


@contextmanager
def _as_they_were(changed: list[Any]) -> Iterator[None]:
    lean_ones = [vars(layer).pop("forward") for layer in changed]
    try:
        yield
    finally:
        for layer, forward in zip(changed, lean_ones, strict=True):
            layer.forward = forward


def _forward(
    layer: Any,
    own: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
    past_key_values: Any = None,
    *,
    last: bool,
    **kwargs: Any,
) -> Any:
    """A layer's forward (B, T, D) -> (B, T, D), or (1, N, D) for kept positions; its own where it is called for more."""
    kept_BT = kwargs.pop(KEPT, None)
    autocast = torch.is_autocast_enabled("cpu")
    if attention_mask is not None or past_key_values is not None or position_embeddings is None or autocast:
        places = {"attention_mask": attention_mask, "past_key_values": past_key_values}
        return own(hidden_states, position_embeddings=position_embeddings, **places, **kwargs)
    kept = kept_BT if last else None
    run = partial(_lean, layer, places=position_embeddings, bounds=kwargs.get("cu_seq_lens_q"), kept_BT=kept)
    if _IN_FORWARD and getattr(layer, "gradient_checkpointing", False) and layer.training:
        again: torch.Tensor = layer._gradient_checkpointing_func(run, hidden_states)
        return again
    return run(hidden_states)


def _lean(
    layer: Any,
    hidden_states: torch.Tensor,
    *,
    places: tuple[torch.Tensor, torch.Tensor],
    bounds: torch.Tensor | None,
    kept_BT: torch.Tensor | None,
) -> torch.Tensor:
    before, after = layer.input_layernorm, layer.post_attention_layernorm
    normed = rms_norm(hidden_states, before.weight, before.variance_epsilon)
    seen = _attention(layer.self_attn, normed, places, bounds)
    if kept_BT is not None:
        seen, hidden_states = seen[kept_BT][None], hidden_states[kept_BT][None]
    hidden_states = hidden_states + layer.self_attn.o_proj(seen)
    normed = rms_norm(hidden_states, after.weight, after.variance_epsilon)
    mlp = layer.mlp
    out: torch.Tensor = hidden_states + mlp.down_proj(silu_gate(mlp.gate_proj(normed), mlp.up_proj(normed)))
    return out


def _attention(
    attention: Any,
    normed_BTD: torch.Tensor,
    places: tuple[torch.Tensor, torch.Tensor],
    bounds: torch.Tensor | None,
) -> torch.Tensor:
    """What attention hands to its output projection (B, T, width of all heads)."""
    rows, tokens, _ = normed_BTD.shape
    shape = (rows, tokens, -1, attention.head_dim)
    query, key, value = (getattr(attention, f"{name}_proj")(normed_BTD).view(shape) for name in "qkv")
    if hasattr(attention, "q_norm"):
        query, key = attention.q_norm(query), attention.k_norm(key)
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    cos, sin = (x.unsqueeze(1) for x in places)
    query, key = rotate(query, cos, sin), rotate(key, cos, sin)
    if bounds is not None:
        return attend(query, key, value, bounds.tolist(), scaling=attention.scaling).view(rows, tokens, -1)
    out_BHTK = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=attention.scaling, enable_gqa=query.shape[1] != key.shape[1]
    )
    return out_BHTK.transpose(1, 2).reshape(rows, tokens, -1)
