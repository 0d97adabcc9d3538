"""Vectors that are remembered by text: the same as the embedder's, each text embedded once, over processes too."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from groundtune.nn.encoders import Vectors
from groundtune.retrieval.kept_vectors import BATCH, KeptVectors


class Hashed:
    """Unit vectors out of hashes; counts what it is asked."""

    NAME, DIMENSIONS, MAX_TOKENS = "hashed", 8, 99

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fail_after = 10**9

    def embed(self, texts: Sequence[str]) -> Vectors:
        if len(self.asked) >= self.fail_after:
            raise KeyboardInterrupt
        self.asked += texts
        rows = [np.frombuffer(hashlib.sha256(t.encode("utf-8", "surrogatepass")).digest()[:8], np.uint8) for t in texts]
        found = np.asarray(rows, dtype=np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def count_tokens(self, text: str) -> int:
        return len(text.split())


def test_each_text_is_embedded_once(tmp_path: Path) -> None:
    embedder = Hashed()
    kept = KeptVectors(embedder, tmp_path / "sub" / "v.sqlite")
    texts = ["a", "b", "a", "", "café \udce9"]
    np.testing.assert_array_equal(kept.embed(texts), Hashed().embed(texts))
    np.testing.assert_array_equal(kept.embed(["c", "a"]), Hashed().embed(["c", "a"]))
    assert sorted(embedder.asked) == sorted(["a", "b", "", "café \udce9", "c"]) and kept.embedded == 5
    assert kept.embed([]).shape == (0, 8) and kept.count_tokens("a b") == 2
    kept.close()


def test_what_a_killed_run_embedded_is_there(tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(BATCH + 10)]
    first = Hashed()
    first.fail_after = BATCH
    kept = KeptVectors(first, tmp_path / "v.sqlite")
    try:
        kept.embed(texts)
    except KeyboardInterrupt:
        kept.close()
    again = Hashed()
    np.testing.assert_array_equal(KeptVectors(again, tmp_path / "v.sqlite").embed(texts), Hashed().embed(texts))
    assert again.asked == texts[BATCH:]
