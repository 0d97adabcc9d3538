"""Embeddings."""

from __future__ import annotations

from typing import Literal

from groundtune.serving.shapes.parts import Count, Open


class Embedding(Open):
    """A unit vector: numbers, or their bytes (float32, little-endian) in Base64."""

    object: Literal["embedding"]
    index: Count
    embedding: list[float] | str


class EmbeddingUsage(Open):
    """Tokens."""

    prompt_tokens: Count
    total_tokens: Count


class Embeddings(Open):
    """The vectors of a request, in its order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
