"""Encoders with a head that guesses masked tokens, from a folder that may have no such head."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from groundtune.errors import InputError
from groundtune.nn import encoder_models as encoders

#: parts of the names of the heads' weights
_HEADS = ("cls.predictions", "lm_head", "vocab_", "generator", "predictions", "head.", "decoder.")


def open_masked(path: str, *, seed: int = 0) -> tuple[Any, Any, bool]:
    """An encoder with a masked-language-model head in float32, its tokenizer, and whether the head is new.

    A folder without a head (a sentence encoder) gets one whose output matrix is the token embeddings, as everywhere, and
    whose square matrix is the identity, so that it reads the last hidden states as they are.

    Raises:
        InputError: no such model, no encoder, no mask token, or one without all of its other weights.
    """
    from transformers import AutoModelForMaskedLM

    settings = encoders.settings_of(path)
    if not encoders.is_encoder(settings):
        raise InputError(
            f"{path!r} ({settings.model_type}) is no encoder: it has no masked tokens to guess",
            expected="minilm, or a folder or name of a BERT, RoBERTa, ModernBERT ...",
            next_step="set tune.model: minilm",
        )
    tokenizer = encoders.encoder_tokenizer(path, settings)
    if tokenizer.mask_token_id is None or tokenizer.cls_token_id is None or tokenizer.sep_token_id is None:
        raise InputError(
            f"the tokenizer of {path!r} has no mask token, or none that begins and ends a text",
            expected="an encoder's tokenizer",
        )
    torch.manual_seed(seed)
    try:
        loaded: Any = AutoModelForMaskedLM.from_pretrained(path, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, KeyError) as error:
        raise encoders.cannot_load(path, error) from None
    model, info = loaded
    new = encoders.check_loaded(path, info, may_be_new=_HEADS)
    if new:
        _read_as_they_are(model, new)
    return model, tokenizer, bool(new)


def _read_as_they_are(model: Any, new: list[str]) -> None:
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in new and weight.ndim == 2 and weight.shape[0] == weight.shape[1]:
                weight.copy_(torch.eye(weight.shape[0]))


def keep_pooling(base: str, weights: Path) -> None:
    """Beside an encoder's new weights, what its old folder says about pooling: what starts from it pools alike."""
    for name in encoders.SENTENCE_FILES:
        if (Path(base) / name).is_file():
            (weights / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(Path(base) / name, weights / name)
