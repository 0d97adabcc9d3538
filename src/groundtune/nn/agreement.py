"""Do two models, or one before and after a change of its files, say the same? Logits on a few fixed texts, compared.

The answer to merges that change nothing, weights that were not loaded, layers mixed up, and to tokenizers or chat templates
that were lost on the way. Leaves out how well a model predicts: that is :mod:`groundtune.nn.perplexity`.

Legend: N places of all texts, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from groundtune.errors import InputError

#: short, in several manners; their tokens are few, so that nothing below costs more than a moment
TEXTS = (
    "The reading rooms open at 9:30 on weekdays, and close at 18:15 on every day of the week.",
    "Question: What does a yearly card cost?\nAnswer: 48 crowns, from the day on which it is issued.",
    "- kayak: 17 crowns\n- rowing boat: 23 crowns; deposit 80 (see page 4)\n\nWho'd have thought so?",
)
_CHATS = (
    [{"role": "user", "content": "When's the fair?"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How much is a kayak?"}],
    [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello. What is it?"},
        {"role": "user", "content": "Nothing."},
    ],
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far one model's logits are from another's.

    Attributes:
        error: root-mean-square difference, in standard deviations of the first model's logits. Models that have nothing to
            do with each other are at 1 and above.
        largest: the largest difference, in the same unit.
        same_token: share of the places at which both find the same token likeliest, 0 to 1.
    """

    error: float
    largest: float
    same_token: float


def probe_logits(model: Any, tokenizer: Any) -> torch.Tensor:
    """A model's logits (N, V) at every place of the fixed texts, in float32 on the CPU."""
    found = []
    for text in TEXTS:
        ids_1T = torch.tensor([tokenizer(text)["input_ids"]], device=model.device)
        with torch.inference_mode():
            found.append(model(ids_1T, use_cache=False).logits[0].float().cpu())
    return torch.cat(found)


def compare_logits(wanted_NV: torch.Tensor, found_NV: torch.Tensor) -> Agreement:
    """How far logits are from those wanted. What is added to all logits of a place alike makes no difference.

    Raises:
        InputError: they are of different vocabularies or tokenizers.
    """
    if wanted_NV.shape != found_NV.shape:
        raise InputError(
            f"logits of shape {tuple(found_NV.shape)} where {tuple(wanted_NV.shape)} are expected",
            expected="the same tokenizer and vocabulary",
        )
    wanted, found = (part - part.mean(-1, keepdim=True) for part in (wanted_NV, found_NV))
    scale = wanted.square().mean().sqrt().clamp_min(1e-12)
    difference = found - wanted
    return Agreement(
        error=float(difference.square().mean().sqrt() / scale),
        largest=float(difference.abs().max() / scale),
        same_token=float((wanted.argmax(-1) == found.argmax(-1)).float().mean()),
    )


def check_tokenizers(wanted: Any, found: Any, where: str) -> None:
    """See that a tokenizer that was written and read again gives the same tokens and has the same chat template.

    Raises:
        InputError: it does not.
    """
    texts = [*TEXTS]
    if wanted.chat_template and found.chat_template == wanted.chat_template:
        texts += [wanted.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in _CHATS]
    same = wanted.chat_template == found.chat_template
    if not same or any(wanted(text)["input_ids"] != found(text)["input_ids"] for text in texts):
        raise InputError(
            f"{where}: the {'tokens' if same else 'chat template'} of the tokenizer that was read back are not the source's",
            expected="the same tokens and the same chat template",
        )
