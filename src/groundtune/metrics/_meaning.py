"""Similarity of meaning by the bundled MiniLM, for the metrics that need it: each text is embedded once, many at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from groundtune import registry

#: vectors kept; beyond, the oldest run's are forgotten
_MOST = 50_000
_vectors: dict[str, Any] = {}


def remember(texts: Iterable[str]) -> None:
    """Embed what is not yet known, in one go."""
    missing = [t for t in dict.fromkeys(texts) if t not in _vectors]
    if missing:
        if len(_vectors) + len(missing) > _MOST:
            _vectors.clear()
        _vectors.update(zip(missing, registry.get("embedders", "minilm").embed(missing), strict=True))


def similarity(a: str, b: str) -> float:
    """Cosine of two texts, 0 to 1; below 0 counts as 0."""
    remember([a, b])
    return min(1.0, max(0.0, float(_vectors[a] @ _vectors[b])))
