"""Tokens that a model cannot learn: outside its embeddings, new while the embeddings are frozen, or a head that comes apart.

A tokenizer that was given tokens after the model was made (LLaMA-Factory #6749) is the usual cause. Cheap: one pass over the
embeddings before training.

Legend: V rows of the embeddings, D width, N tokens that the rows use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from groundtune.dataset.render import TokenRow
from groundtune.errors import ConfigError
from groundtune.training.guards import TrainingError

#: a row of the embeddings that is nearer to their mean than this share of the usual distance was never trained: new rows
#: start there (transformers' ``mean_resizing`` adds 1e-9 of the covariance), or at zero
UNTRAINED = 1e-2


def check_embeddings(model: Any, tokenizer: Any, rows: Sequence[TokenRow]) -> None:
    """See that every token of the rows can be learnt.

    Args:
        model: as it is trained, adapters attached.
        tokenizer: that made the rows.
        rows: to be trained on.

    Raises:
        ConfigError: a token without a row in the embeddings, or an added one whose row was never trained and will not be.
        TrainingError: embeddings and output head are one matrix, and training would make two of them.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    embedding, head = base.get_input_embeddings(), base.get_output_embeddings()
    weight_VD = getattr(embedding, "weight", None)
    if not isinstance(weight_VD, torch.Tensor) or weight_VD.dim() != 2:
        return
    used = sorted({i for row in rows for i in row.ids})
    outside = [i for i in used if i >= len(weight_VD)]
    if outside:
        raise ConfigError(
            f"{_named(tokenizer, outside)}: no row in the model's embeddings, which has {len(weight_VD)}",
            expected=f"a tokenizer of at most {len(weight_VD)} tokens; it has {len(tokenizer)}",
            next_step="use the tokenizer the model was made with, or resize_token_embeddings and train them (tune.method: full)",
        )
    trainable = any(p.requires_grad for p in embedding.parameters())
    added = tokenizer.added_tokens_decoder.keys() - {getattr(embedding, "padding_idx", None)}
    new = [] if trainable else untrained_rows(weight_VD, [i for i in used if i in added])
    if new:
        raise ConfigError(
            f"{_named(tokenizer, new)}: new to the model, and its embeddings are not trained by this method",
            expected="tokens the model knows, or embeddings that are trained",
            next_step="set tune.method: full, or take the tokens out of the tokenizer",
        )
    one = getattr(base.config.get_text_config(), "tie_word_embeddings", False) and head is not None
    if one and _trained_matrices(embedding, weight_VD) != _trained_matrices(head, weight_VD):
        raise TrainingError(
            "the embeddings and the output head are one matrix in this model, and training would make two of them",
            expected="both trained as one, or neither",
            next_step="with PEFT's modules_to_save set ensure_weight_tying=True",
        )


def untrained_rows(weight_VD: torch.Tensor, used: Sequence[int]) -> list[int]:
    """Those of the tokens whose embedding is zero, or the mean of all: it was never trained.

    A new row that was drawn at random cannot be told from a trained one.
    """
    if not used:
        return []
    with torch.no_grad():
        mean_D = weight_VD.mean(0, dtype=torch.float32)
        sample_ND = weight_VD[:: max(1, len(weight_VD) // 2000)].float()
        usual = (sample_ND - mean_D).norm(dim=1).median()
        rows_ND = weight_VD[torch.tensor(list(used), device=weight_VD.device)].float()
        near_N = (rows_ND - mean_D).norm(dim=1) < UNTRAINED * usual
        zero_N = rows_ND.abs().amax(dim=1) == 0
    return [i for i, flag in zip(used, (near_N | zero_N).tolist(), strict=True) if flag]


def _trained_matrices(module: Any, like_VD: torch.Tensor) -> set[int]:
    """Which trained matrices of the embeddings' size a module has, by where they are in memory."""
    return {p.data_ptr() for p in module.parameters() if p.requires_grad and p.shape == like_VD.shape}


def _named(tokenizer: Any, ids: Sequence[int]) -> str:
    shown = ", ".join(repr(str(tokenizer.convert_ids_to_tokens(i))) for i in ids[:3])
    return f"{len(ids)} tokens of the rows, {shown}{' ...' if len(ids) > 3 else ''}"
