"""An embedder behind any endpoint that speaks OpenAI's embeddings API: ``openai:MODEL`` or ``openai:MODEL@https://host/v1``.

Without an address it is ``OPENAI_BASE_URL``'s, else OpenAI's; the key is ``OPENAI_API_KEY``'s. Passing faults are tried
again (:mod:`groundtune.endpoint`). Leaves out vectors of parts of texts: an endpoint gives one vector a text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from groundtune.endpoint import Endpoint, EndpointError, address_of, shown
from groundtune.nn.encoders import Vectors

#: texts and characters of a request; OpenAI takes 2,048 texts of together 300,000 tokens
TEXTS, CHARACTERS = 256, 200_000


class EndpointEmbedder:
    """A model behind an endpoint.

    Args:
        name: ``openai:MODEL[@URL]``.
        sleep: waits between attempts; tests pass their own.

    Raises:
        ConfigError, InputError: a name, an address or a key that is none.
    """

    #: OpenAI's limit; an endpoint whose model reads less says so itself
    MAX_TOKENS = 8191

    def __init__(self, name: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._model, url, key = address_of(name)
        self.NAME = f"openai:{self._model}@{shown(url)}"
        self._endpoint = Endpoint(url, key, self._model, sleep=sleep)

    @cached_property
    def DIMENSIONS(self) -> int:
        """Length of a vector; found by asking for one."""
        return int(self._ask(["groundtune"]).shape[1])

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), DIMENSIONS).

        Raises:
            EndpointError: no connection, a refused key, an unknown model, an answer of another shape, too many faults.
        """
        found: list[Vectors] = []
        batch: list[str] = []
        size = 0
        for text in texts:
            if batch and (len(batch) == TEXTS or size + len(text) > CHARACTERS):
                found.append(self._ask(batch))
                batch, size = [], 0
            batch.append(text)
            size += len(text)
        if batch:
            found.append(self._ask(batch))
        return np.concatenate(found) if found else np.zeros((0, self.DIMENSIONS), dtype=np.float32)

    def count_tokens(self, text: str) -> int:
        """Word pieces of the bundled encoder: what chunks are measured in; an endpoint does not say how it counts."""
        from groundtune.retrieval.embedders import minilm

        return minilm.count_tokens(text)

    def _ask(self, texts: Sequence[str]) -> Vectors:
        body = {"model": self._model, "input": [t or " " for t in texts], "encoding_format": "float"}
        answer: Any = self._endpoint.request("POST", "/embeddings", body)
        try:
            rows = sorted(answer["data"], key=lambda row: int(row["index"]))
            vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
            if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
                raise ValueError(f"{vectors.shape}")
        except (KeyError, TypeError, ValueError) as error:
            raise EndpointError(
                f"{self.NAME}: no vectors for {len(texts)} texts: {type(error).__name__} {error}",
                expected="OpenAI's embeddings: data with index and embedding, one for each text",
                next_step="check that the model is an embedding model: `index.embedder` in groundtune.yaml",
            ) from None
        unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return unit
