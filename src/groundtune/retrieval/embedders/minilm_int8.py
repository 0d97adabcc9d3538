"""all-MiniLM-L6-v2 in whole numbers of 8 bits: about twice the texts a second of `minilm`, vectors a little apart from its.

Weights have one scale a column, activations one a batch (onnxruntime's dynamic quantization), so a text's vector differs
in the third digit with the texts beside it. Meant for processors that multiply 8-bit numbers in one step (AVX-512 VNNI,
AVX-VNNI); older ones round sums as well. docs/stores.md has what it costs in recall.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from groundtune.nn.encoder_models import minilm_folder as model_folder
from groundtune.nn.encoders import Vectors
from groundtune.retrieval.embedders.minilm import DIMENSIONS, LANGUAGES, MAX_TOKENS, count_tokens
from groundtune.retrieval.encoding import FolderEmbedder, Span

__all__ = ["DIMENSIONS", "LANGUAGES", "MAX_TOKENS", "NAME", "count_tokens", "embed", "embed_parts", "model_folder"]

NAME = "all-MiniLM-L6-v2 int8"


@cache
def _embedder() -> FolderEmbedder:
    return FolderEmbedder(NAME, model_folder(), int8=True)


def embed(texts: Sequence[str]) -> Vectors:
    """Unit vectors of texts, shape (len(texts), 384); a text over 256 word pieces counts with its first 256."""
    return _embedder().embed(texts)


def embed_parts(texts: Sequence[str], parts: Sequence[Sequence[Span]]) -> tuple[Vectors, list[Vectors]]:
    """Unit vectors of texts and of parts of them, as :meth:`groundtune.retrieval.encoding.FolderEmbedder.embed_parts`."""
    return _embedder().embed_parts(texts, parts)
