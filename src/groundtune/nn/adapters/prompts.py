"""Adapters that stay beside the model: virtual tokens (prompt tuning, p-tuning, prefix tuning) and LLaMA-Adapter, through PEFT.

Lester et al., prompt tuning (EMNLP 2021); Liu et al., P-tuning (2021); Li and Liang, prefix tuning (ACL 2021); Zhang et al.,
LLaMA-Adapter (ICLR 2024). Also the kinds that PEFT itself merges. Imports PEFT when it is imported.

PEFT 0.21 drops the position ids of prompts that have virtual tokens: in a batch padded on the left the text then stands as
many places too far from its virtual tokens as it has padding, and the answer is another one than alone. They are put right here.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from peft import PeftModel, PeftModelForCausalLM
from peft.utils.save_and_load import get_peft_model_state_dict

from groundtune.errors import InputError
from groundtune.nn.adapters.files import Adapter, first_line


class _Placed(PeftModelForCausalLM):
    """A causal model with virtual tokens whose text keeps its place behind them, however it is padded.

    Legend: B rows, T tokens, N virtual tokens.
    """

    def _adjust_prompt_learning_kwargs(self, peft_config: Any, *, kwargs: dict[str, Any], **other: Any) -> None:
        places_BT = kwargs.get("position_ids")
        if places_BT is None or peft_config.peft_type not in ("PROMPT_TUNING", "P_TUNING"):
            super()._adjust_prompt_learning_kwargs(peft_config, kwargs=kwargs, **other)
            return
        kwargs["position_ids"] = None
        super()._adjust_prompt_learning_kwargs(peft_config, kwargs=kwargs, **other)
        count, cache = peft_config.num_virtual_tokens, kwargs.get("past_key_values")
        places_BT = places_BT + count
        if cache is None or not cache.get_seq_length():  # the virtual tokens go in with the text
            virtual_BN = torch.arange(count, device=places_BT.device).expand(places_BT.shape[0], -1)
            places_BT = torch.cat([virtual_BN, places_BT], dim=1)
        kwargs["position_ids"] = places_BT


def attach(model: Any, adapter: Adapter) -> Any:
    """Put a saved adapter on a model and leave it there.

    Args:
        model: a transformers model; changed in place where the adapter sits inside it.

    Returns:
        PEFT's model around it, in evaluation mode. It takes and gives what the model does; with prompt tuning and p-tuning
        the logits of a plain forward pass begin with those of the virtual tokens.

    Raises:
        InputError: missing or surplus tensors, or an adapter of another model.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is looked at below
            wrapped = _wrapped(model, adapter)
        held = {
            name: tensor.cpu()
            for name, tensor in get_peft_model_state_dict(wrapped, save_embedding_layers=False).items()
        }
    except (ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"{adapter.folder}: the {adapter.kind} adapter does not fit this model: {first_line(error)}",
            expected="the model the adapter was trained on",
        ) from None
    wrong = sorted(held.keys() ^ adapter.weights.keys())
    wrong += [
        n for n in held.keys() & adapter.weights.keys() if not torch.equal(held[n], adapter.weights[n].to(held[n]))
    ]
    if wrong:
        raise InputError(
            f"{adapter.folder}: {len(wrong)} tensors are missing, surplus or did not arrive in the model, {wrong[0]} for one",
            expected=f"the {len(held)} tensors of this {adapter.kind} adapter",
        )
    return wrapped.eval().requires_grad_(False)


def _wrapped(model: Any, adapter: Adapter) -> Any:
    from peft import PeftConfig
    from peft.utils.other import _prepare_prompt_learning_config

    config = PeftConfig.from_pretrained(str(adapter.folder))
    config.inference_mode = True
    if config.is_prompt_learning:
        own = type(config)(peft_type=config.peft_type, task_type=config.task_type)
        own = _prepare_prompt_learning_config(own, model.config)  # type: ignore[no-untyped-call]
        for name in ("token_dim", "num_layers", "num_attention_heads"):
            if getattr(own, name) != getattr(config, name):
                raise ValueError(f"its {name} is {getattr(config, name)}, this model's {getattr(own, name)}")
    if config.is_prompt_learning and config.task_type in (None, "CAUSAL_LM"):
        wrapped = _Placed(model, config)
        wrapped.load_adapter(str(adapter.folder), "default", torch_device=str(model.device))
        return wrapped
    return PeftModel.from_pretrained(model, str(adapter.folder), torch_device=str(model.device))


def merge_by_peft(model: Any, adapter: Adapter) -> Any:
    """The model with the adapter merged by PEFT's own code, after the same checks as :func:`attach` makes.

    Raises:
        InputError: as :func:`attach`, or weights that are no numbers after the merge.
    """
    wrapped = attach(model, adapter)
    try:
        return wrapped.merge_and_unload(safe_merge=True)
    except (ValueError, NotImplementedError) as error:  # PEFT's word for layers that it cannot merge
        raise InputError(f"{adapter.folder}: {first_line(error)}") from None
