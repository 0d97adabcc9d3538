"""What is minimised: one objective a kind of task, each a sum over supervised items divided by those of the whole step.

Dividing by the items of the optimizer step, not of the micro-batch, makes a step the same however it is cut up (the
fault behind transformers PR #34191). Logits are formed only where they are needed. Leaves out the batches (``data``).

Legend: B rows, T tokens, D width, V vocabulary, N supervised positions, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from groundtune.nn.lean_layers import KEPT, keeps
from groundtune.nn.linear_cross_entropy import Seen, linear_cross_entropy
from groundtune.training.data import IGNORED

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss with its unit of count.

    Attributes:
        name: as figures and logs call it.
        loss: (model, batch, items of the step or None) -> mean loss of the step's items, this batch's share of it.
        count: supervised items of a batch.
    """

    name: str
    loss: Callable[[Any, Batch, torch.Tensor | int | None], torch.Tensor]
    count: Callable[[Batch], int]


def supervised_loss(
    model: Any, batch: Batch, tokens_in_step: torch.Tensor | int | None, *, seen: Seen | None = None
) -> torch.Tensor:
    """Sum of the cross-entropy over supervised positions / tokens of the optimizer step, in nats.

    Position t predicts token t+1; logits are formed only where the next token is supervised, which saves the head's
    work on prompts and padding.

    Args:
        model: causal model, or a PEFT model around one.
        batch: ``input_ids`` (B, T) and ``labels`` (B, T), -100 where not supervised; of packed rows also
            ``position_ids`` and ``cu_seq_lens_q`` (:class:`groundtune.training.data.PackedBatches`).
        tokens_in_step: supervised tokens over all micro-batches of the step; None: of this batch.
        seen: looks at the scores in passing (:class:`TokenHits`).
    """
    keep_BT, targets_N = supervised_positions(batch["labels"])
    items = _items(tokens_in_step, targets_N)
    hidden_ND, head = before_head(model, batch, keep_BT)
    if type(head) is torch.nn.Linear and not head._forward_hooks and not head._forward_pre_hooks:
        return linear_cross_entropy(hidden_ND, head.weight, targets_N, bias_V=head.bias, scale=1 / items, seen=seen)
    logits_NV = (head(hidden_ND) if head is not None else hidden_ND).float()  # an adapter's, or quantized
    if seen is not None:
        seen(logits_NV.detach(), targets_N)
    return torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="sum") / items


def supervised_positions(labels_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the next token is supervised (B, T; bool), and those tokens (N), row by row."""
    keep_BT = torch.zeros_like(labels_BT, dtype=torch.bool)
    keep_BT[:, :-1] = labels_BT[:, 1:] != IGNORED
    return keep_BT, labels_BT[:, 1:][keep_BT[:, :-1]]


def before_head(model: Any, batch: Batch, keep_BT: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """What the head reads at the positions kept (N, D), and the head; or their logits (N, V) and None.

    The latter of models that scale or cap logits, which only they know how to.
    """
    places: Batch = {name: batch[name] for name in ("position_ids", "cu_seq_lens_q", "prefix_states") if name in batch}
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if _scales(base):
        inputs, virtual = _with_prompt(model, base, batch["input_ids"])
        return base(**inputs, use_cache=False, **places).logits[:, virtual:][keep_BT], None
    return _hidden(model, base, batch["input_ids"], keep_BT, places), base.get_output_embeddings()


class TokenHits:
    """Counts supervised tokens that the model ranks first."""

    def __init__(self) -> None:
        self._hits: torch.Tensor | None = None
        self._tokens = 0

    def add(self, scores_NV: torch.Tensor, targets_N: torch.Tensor) -> None:
        """Look at some positions' scores."""
        hits = (scores_NV.argmax(-1) == targets_N).sum()
        self._hits = hits if self._hits is None else self._hits + hits
        self._tokens += len(targets_N)

    def take(self) -> float | None:
        """Share of hits since the last call; None where nothing was seen."""
        share = float(self._hits) / self._tokens if self._hits is not None and self._tokens else None
        self._hits, self._tokens = None, 0
        return share


def causal_with(hits: TokenHits) -> Objective:
    """:data:`CAUSAL` that also counts tokens ranked first; the loss and its gradients are the same."""
    return Objective(CAUSAL.name, partial(supervised_loss, seen=hits.add), CAUSAL.count)


def causal_tokens(batch: Batch) -> int:
    """Supervised positions: labels that some position before them predicts."""
    return int((batch["labels"][:, 1:] != IGNORED).sum())


#: settings of architectures that scale or cap the head's output (Gemma 2, Granite, Cohere, Falcon H1)
_AFTER_HEAD = ("final_logit_softcapping", "logits_scaling", "logit_scale", "lm_head_multiplier")


def _scales(base: Any) -> bool:
    config = base.config.get_text_config()
    return any(getattr(config, name, None) not in (None, 1.0) for name in _AFTER_HEAD)


def _hidden(model: Any, base: Any, ids_BT: torch.Tensor, keep_BT: torch.Tensor, places: Batch) -> torch.Tensor:
    """What the head reads at the positions kept (N, D)."""
    inputs, virtual = _with_prompt(model, base, ids_BT)
    kept = {KEPT: keep_BT} if not virtual and keeps(model) else {}
    hidden: torch.Tensor = base.get_decoder()(**inputs, use_cache=False, **places, **kept).last_hidden_state
    if kept and hidden.shape[:2] != keep_BT.shape:  # the last layer has left the others out
        return hidden[0]
    return hidden[:, virtual:][keep_BT]


def _with_prompt(model: Any, base: Any, ids_BT: torch.Tensor) -> tuple[dict[str, Any], int]:
    """A model's inputs with the learnt prompt of prompt tuning, P-tuning or prefix tuning, and its virtual positions.

    PEFT's own forward does the same, but gives logits at every position.
    """
    config = getattr(model, "active_peft_config", None)
    if config is None or not config.is_prompt_learning:
        return {"input_ids": ids_BT}, 0
    if config.peft_type == "PREFIX_TUNING":
        length = ids_BT.shape[1] + config.num_virtual_tokens
        return {"input_ids": ids_BT, "past_key_values": model.get_prompt(len(ids_BT), max_cache_len=length)}, 0
    prompt_BPD = model.get_prompt(len(ids_BT))
    text_BTD = base.get_input_embeddings()(ids_BT)
    return {"inputs_embeds": torch.cat((prompt_BPD.to(text_BTD.dtype), text_BTD), dim=1)}, prompt_BPD.shape[1]


def _items(in_step: torch.Tensor | int | None, here: torch.Tensor) -> torch.Tensor | int:
    return max(1, here.numel()) if in_step is None else in_step


def class_loss(model: Any, batch: Batch, rows_in_step: torch.Tensor | int | None) -> torch.Tensor:
    """Cross-entropy of sequence classification, in nats: logits (B, K) against ``labels`` (B)."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    logits_BK = model(**inputs).logits
    smoothing = float(getattr(model.config, "label_smoothing", 0.0) or 0.0)
    total = torch.nn.functional.cross_entropy(
        logits_BK.float(), batch["labels"], reduction="sum", label_smoothing=smoothing
    )
    return total / _items(rows_in_step, batch["labels"])


def masked_loss(model: Any, batch: Batch, tokens_in_step: torch.Tensor | int | None) -> torch.Tensor:
    """Cross-entropy of masked tokens (Devlin et al., BERT, section 3.1), the head run on masked positions alone.

    Heads that are more than one module (DistilBERT, ModernBERT) are run by the model itself, on every position.
    """
    chosen_BT = batch["labels"] != IGNORED
    targets_N = batch["labels"][chosen_BT]
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    head = getattr(model, "cls", None) or getattr(model, "lm_head", None)
    if head is None:
        logits_NV = model(**inputs).logits[chosen_BT]
    else:
        logits_NV = head(model.base_model(**inputs).last_hidden_state[chosen_BT])
    total = torch.nn.functional.cross_entropy(logits_NV.float(), targets_N, reduction="sum")
    return total / _items(tokens_in_step, targets_N)


def target_loss(model: Any, batch: Batch, tokens_in_step: torch.Tensor | int | None) -> torch.Tensor:
    """Cross-entropy of an encoder-decoder's target tokens, in nats; padding of ``labels`` (B, T) is -100.

    The decoder reads the labels shifted right; given the labels themselves, the model would take its own loss on top.
    """
    logits_BTV = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        decoder_input_ids=model.prepare_decoder_input_ids_from_labels(labels=batch["labels"]),
        use_cache=False,
    ).logits
    total = torch.nn.functional.cross_entropy(
        logits_BTV.float().flatten(0, 1), batch["labels"].flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / _items(tokens_in_step, batch["labels"][batch["labels"] != IGNORED])


def labelled(batch: Batch) -> int:
    """Labels of a batch that count."""
    return int((batch["labels"] != IGNORED).sum())


CAUSAL = Objective("causal", supervised_loss, causal_tokens)
CLASSES = Objective("classes", class_loss, labelled)
MASKED = Objective("masked", masked_loss, labelled)
TARGETS = Objective("targets", target_loss, labelled)


@torch.no_grad()
def mean_loss(model: Any, batches: Any, objective: Objective = CAUSAL) -> float:
    """Mean loss of an objective over batches, each supervised item counting the same; the model's mode is put back."""
    was = model.training
    model.eval()
    device = next(model.parameters()).device
    total, items = 0.0, 0
    for n in range(len(batches)):
        batch = {name: value.to(device) for name, value in batches[n].items()}
        count = objective.count(batch)
        if count:
            total += float(objective.loss(model, batch, 1))
            items += count
    model.train(was)
    return total / max(1, items)
