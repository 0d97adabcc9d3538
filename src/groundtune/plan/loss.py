"""The forward pass and loss of one micro-batch as training has them, with made-up tokens: dry on the meta device, or to be timed.

Legend: B rows, T tokens, D width, N supervised positions, P virtual tokens, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from groundtune.plan.attach import blocks_of

#: settings of architectures that scale or cap the head's output (Gemma 2, Granite, Cohere, Falcon H1)
_AFTER_HEAD = ("final_logit_softcapping", "logits_scaling", "logit_scale", "lm_head_multiplier")


def loss_of(
    model: Any, method: str, rows: int, tokens: int, supervised: int, *, top: int
) -> Callable[[], torch.Tensor]:
    """A function that runs a micro-batch forward and returns its loss.

    Args:
        model: with the method attached, on any device.
        method: of :data:`groundtune.plan.attach.METHODS`.
        rows, tokens, supervised: B, T and N.
        top: layers that ``layers`` trains.
    """
    device = next(model.parameters()).device
    config = model.config.get_text_config()

    def ids() -> torch.Tensor:
        return torch.randint(0, int(config.vocab_size), (rows, tokens), device=device)

    if method == "classifier":
        return lambda: _class_loss(model, ids())
    if method == "layers":
        return lambda: _top_loss(model, torch.ones((rows, tokens, int(config.hidden_size)), device=device), supervised, top)  # fmt: skip
    return lambda: _token_loss(model, ids(), supervised)


def _class_loss(model: Any, ids_BT: torch.Tensor) -> torch.Tensor:
    logits_BK = model(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT)).logits
    labels_B = torch.zeros(len(ids_BT), dtype=torch.long, device=ids_BT.device)
    return torch.nn.functional.cross_entropy(logits_BK.float(), labels_B, reduction="sum")


def _token_loss(model: Any, ids_BT: torch.Tensor, supervised: int) -> torch.Tensor:
    """A learnt prompt is put before the embeddings or into the cache; the head runs where it counts."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    learnt = getattr(model, "active_peft_config", None)
    inputs: dict[str, Any] = {"input_ids": ids_BT}
    virtual = 0
    if learnt is not None and learnt.is_prompt_learning:
        if learnt.peft_type == "PREFIX_TUNING":
            length = ids_BT.shape[1] + learnt.num_virtual_tokens
            inputs["past_key_values"] = model.get_prompt(len(ids_BT), max_cache_len=length)
        else:
            prompt_BPD = model.get_prompt(len(ids_BT))
            text_BTD = base.get_input_embeddings()(ids_BT)
            inputs = {"inputs_embeds": torch.cat((prompt_BPD.to(text_BTD.dtype), text_BTD), dim=1)}
            virtual = prompt_BPD.shape[1]
    if any(getattr(base.config.get_text_config(), name, None) not in (None, 1.0) for name in _AFTER_HEAD):
        logits_BTV = base(**inputs, use_cache=False).logits[
            :, virtual:
        ]  # only the model itself knows how: all positions
        return _mean(logits_BTV[_places(logits_BTV, supervised)])
    hidden_BTD = base.get_decoder()(**inputs, use_cache=False).last_hidden_state[:, virtual:]
    return _mean(base.get_output_embeddings()(hidden_BTD[_places(hidden_BTD, supervised)]))


def _top_loss(model: Any, states_BTD: torch.Tensor, supervised: int, top: int) -> torch.Tensor:
    """Through the trained layers alone, from kept hidden states."""
    decoder, blocks = model.get_decoder(), blocks_of(model)
    name = next(name for name, child in decoder.named_children() if child is blocks)
    config, depth = decoder.config, len(blocks)
    setattr(decoder, name, blocks[-top:])
    config.num_hidden_layers = min(top, depth)
    try:
        hidden_BTD = decoder(inputs_embeds=states_BTD, use_cache=False).last_hidden_state
    finally:
        setattr(decoder, name, blocks)
        config.num_hidden_layers = depth
    return _mean(model.get_output_embeddings()(hidden_BTD[_places(hidden_BTD, supervised)]))


def _places(batch_BTX: torch.Tensor, supervised: int) -> tuple[torch.Tensor, torch.Tensor]:
    number_N = torch.arange(supervised, device=batch_BTX.device)
    rows, tokens = batch_BTX.shape[:2]
    return number_N % rows, (number_N // rows) % tokens


def _mean(logits_NV: torch.Tensor) -> torch.Tensor:
    targets_N = torch.arange(len(logits_NV), device=logits_NV.device) % logits_NV.shape[-1]
    return torch.nn.functional.cross_entropy(logits_NV.float(), targets_N)
