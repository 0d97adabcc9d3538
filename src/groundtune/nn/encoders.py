"""Sentence encoders: a BERT-like model whose token vectors are pooled into one unit vector a text.

Read and written in the folder layout of sentence-transformers (Reimers and Gurevych, EMNLP 2019): ``modules.json``,
``1_Pooling/config.json``, ``sentence_bert_config.json``, safetensors. Leaves out layers behind the pooling but
normalization, prompts put before texts, and tokenizers without a ``tokenizer.json``; a folder with one of these is refused.

Legend: B texts, T tokens, D width.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from groundtune.errors import InputError

Pooling = Literal["mean", "cls"]
Vectors = np.ndarray[Any, np.dtype[np.float32]]
#: texts in one forward pass while encoding
BATCH = 32
_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
_FOLLOWS = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, slots=True)
class Encoder:
    """An opened sentence encoder.

    Attributes:
        model: a transformers encoder in float32, in evaluation mode; no pooling layer of its own.
        tokenizer: of the package ``tokenizers``; cuts at ``max_tokens``, pads nothing.
        counter: the same, cutting nothing.
        pooling: how token vectors become one.
        max_tokens: what stands behind is not read, the model's two marks included.
        folder: where it was read.
    """

    model: Any
    tokenizer: Any
    counter: Any
    pooling: Pooling
    max_tokens: int
    folder: Path

    @property
    def dimensions(self) -> int:
        """D, the length of a vector."""
        return int(self.model.config.hidden_size)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without the marks that the model adds."""
        return len(self.counter.encode(text, add_special_tokens=False).ids)

    def ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Token ids of texts, marks included, cut at ``max_tokens``."""
        return [tuple(e.ids) for e in self.tokenizer.encode_batch(list(texts))]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a folder's encoder reads texts: what can be known without loading its weights.

    Attributes:
        tokenizer, counter, pooling, max_tokens: as in :class:`Encoder`.
        folder: of the transformer itself.
    """

    tokenizer: Any
    counter: Any
    pooling: Pooling
    max_tokens: int
    folder: Path


def open_reading(folder: Path, *, positions: int, max_tokens: int | None = None) -> Reading:
    """How the encoder of a folder reads texts.

    Args:
        folder: what sentence-transformers or transformers wrote.
        positions: most tokens that the model has positions for.
        max_tokens: a lower limit than the folder's own.

    Raises:
        InputError: its tokenizer cannot be read, or it has parts that this module leaves out.
    """
    pooling, inside = _layout(folder)
    counter = _tokenizer(folder, inside)
    settings = _settings(folder / inside / "sentence_bert_config.json")
    if settings.get("do_lower_case") and counter.encode("A").ids != counter.encode("a").ids:
        raise _unusable(folder, "its texts are to be made lower case first")
    max_tokens = min(max_tokens or 10**9, int(settings.get("max_seq_length") or 10**9), positions)
    tokenizer = type(counter).from_str(counter.to_str())
    tokenizer.enable_truncation(max_tokens)
    return Reading(tokenizer, counter, pooling, max_tokens, folder / inside)


def open_encoder(folder: Path, *, max_tokens: int | None = None) -> Encoder:
    """A sentence encoder of a folder; a plain BERT-like model gets mean pooling.

    Args:
        folder: what sentence-transformers or transformers wrote.
        max_tokens: a lower limit than the folder's own.

    Raises:
        InputError: no such model there, weights that are no safetensors, or parts that this module leaves out.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    model = _model(folder, _layout(folder)[1])
    reading = open_reading(folder, positions=_positions(model), max_tokens=max_tokens)
    return Encoder(model.eval(), reading.tokenizer, reading.counter, reading.pooling, reading.max_tokens, folder)


def _tokenizer(folder: Path, inside: str) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / inside / "tokenizer.json"))
    except Exception as error:  # the package raises nothing more particular
        raise _unusable(folder, f"tokenizer.json: {error}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _model(folder: Path, inside: str) -> Any:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModel
    from transformers.utils import logging

    loud, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # it reports a head in the file that is not wanted here
    logging.disable_progress_bar()
    try:
        model = AutoModel.from_pretrained(
            str(folder / inside), dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise _unusable(folder, str(error).strip().splitlines()[0]) from None
    finally:
        logging.set_verbosity(loud)
        if bars:
            logging.enable_progress_bar()
    if getattr(model.config, "is_encoder_decoder", False) or not hasattr(model.config, "hidden_size"):
        raise _unusable(folder, f"{type(model).__name__} is no BERT-like encoder")
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # sentence-transformers does not look at it, and no gradient reaches it
    return model


def _unusable(folder: Path, reason: str) -> InputError:
    return InputError(
        f"{folder}: no sentence encoder that can be used: {reason}",
        expected="a BERT-like model: config.json, tokenizer.json and model.safetensors, with mean or first-token pooling",
        next_step="name another folder, or minilm",
    )


def _layout(folder: Path) -> tuple[Pooling, str]:
    """The pooling, and the sub-folder that the transformer is in."""
    if not (folder / "modules.json").exists():
        return "mean", ""
    try:
        modules: Any = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        kinds = [str(m["type"]).rpartition(".")[2] for m in modules]
        if kinds[:2] != ["Transformer", "Pooling"] or any(kind not in _FOLLOWS for kind in kinds):
            raise _unusable(folder, f"its modules are {', '.join(kinds)}")
        settings: Any = json.loads((folder / modules[1]["path"] / "config.json").read_text(encoding="utf-8"))
        modes = [_POOLINGS.get(k, k) for k, v in settings.items() if k.startswith("pooling_mode_") and v]
        modes = modes or [str(settings["pooling_mode"])]
        path = str(modules[0]["path"])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _unusable(folder, f"{type(error).__name__} {error}") from None
    if modes == ["mean"]:
        return "mean", path
    if modes == ["cls"]:
        return "cls", path
    raise _unusable(folder, f"its pooling is {', '.join(modes)}")


def _positions(model: Any) -> int:
    """Most tokens that the model has positions for."""
    positions = int(getattr(model.config, "max_position_embeddings", 0) or 512)
    counted_from_padding = model.config.model_type in {"roberta", "xlm-roberta", "camembert", "mpnet"}
    return positions - 2 if counted_from_padding else positions


def _settings(path: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def padded(rows: Sequence[Sequence[int]], pad: int = 0) -> tuple[Any, Any]:
    """Token ids (B, T) of rows with padding on the right, and the mask (B, T): 1 where a token is."""
    import torch

    width = max(map(len, rows))
    ids_BT = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    mask_BT = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids_BT, mask_BT


def unit_vectors(model: Any, ids_BT: Any, mask_BT: Any, pooling: Pooling) -> Any:
    """Unit vectors (B, D) of token rows."""
    import torch

    hidden_BTD = model(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
    if pooling == "cls":
        pooled_BD = hidden_BTD[:, 0]
    else:
        weights_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTD.dtype)
        pooled_BD = (hidden_BTD * weights_BT1).sum(1) / weights_BT1.sum(1).clamp_min(1)
    return torch.nn.functional.normalize(pooled_BD.float(), dim=-1)


def encode_rows(encoder: Encoder, rows: Sequence[Sequence[int]]) -> Vectors:
    """Unit vectors (len(rows), D) of token rows; the model's mode is put back."""
    import torch

    model = encoder.model
    was = model.training
    model.eval()
    device = next(model.parameters()).device
    out = np.zeros((len(rows), encoder.dimensions), dtype=np.float32)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # equal lengths together: little padding
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        ids_BT, mask_BT = padded([rows[i] for i in chosen], int(model.config.pad_token_id or 0))
        with torch.inference_mode():
            vectors_BD = unit_vectors(model, ids_BT.to(device), mask_BT.to(device), encoder.pooling)
        out[chosen] = vectors_BD.cpu().numpy()
    model.train(was)
    return out


def hidden_states(encoder: Encoder, rows: Sequence[Sequence[int]]) -> Iterator[tuple[int, Vectors]]:
    """(position, last hidden states (T, D)) of every row of token ids, in no particular order."""
    import torch

    model = encoder.model.eval()
    device = next(model.parameters()).device
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        ids_BT, mask_BT = padded([rows[i] for i in chosen], int(model.config.pad_token_id or 0))
        with torch.inference_mode():
            states_BTD = model(input_ids=ids_BT.to(device), attention_mask=mask_BT.to(device)).last_hidden_state
        for at, i in enumerate(chosen):
            yield i, states_BTD[at, : len(rows[i])].float().cpu().numpy()


def encode(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    """Unit vectors (len(texts), D) of texts; a text over ``max_tokens`` counts with its beginning."""
    return encode_rows(encoder, encoder.ids(texts)) if len(texts) else np.zeros((0, encoder.dimensions), np.float32)


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Write an encoder as a folder that sentence-transformers and :func:`open_encoder` load."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.model.save_pretrained(folder)
    source = encoder.folder / _layout(encoder.folder)[1]
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(kinds)
    ]
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {name: mode == encoder.pooling for name, mode in _POOLINGS.items()}
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": encoder.dimensions, **pooling})
    _write(folder / "sentence_bert_config.json", {"max_seq_length": encoder.max_tokens, "do_lower_case": False})
    _write(folder / "modules.json", modules)


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
