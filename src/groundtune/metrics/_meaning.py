"""Similarity of meaning by the bundled MiniLM, for the metrics that need it: each text is embedded once, many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from groundtune import registry

#: vectors kept; beyond, the oldest run's are forgotten
_MOST = 50_000
_vectors: dict[str, Any] = {}


def remember(texts: Iterable[str]) -> None:
    """Embed what is not yet known, in one go."""
    wanted = list(dict.fromkeys(texts))
    missing = [t for t in wanted if t not in _vectors]
    if len(_vectors) + len(missing) > _MOST:
        _vectors.clear()
        missing = wanted
    if missing:
        _vectors.update(zip(missing, registry.get("embedders", "minilm").embed(missing), strict=True))


def embed(texts: Sequence[str]) -> Any:
    """Unit vectors of texts, shape (len(texts), 384)."""
    import numpy as np

    remember(texts)
    return np.stack([_vectors[t] for t in texts])


def similarity(a: str, b: str) -> float:
    """Cosine of two texts, 0 to 1; below 0 counts as 0."""
    remember([a, b])
    return min(1.0, max(0.0, float(_vectors[a] @ _vectors[b])))
