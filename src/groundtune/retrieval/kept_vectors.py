"""An embedder that remembers: vectors by text, in one SQLite file that outlives the process.

For making many indexes of the same documents: sentences stay the same however they are cut into chunks, so that only
new chunk texts cost anything. Every batch is committed before the next begins; a killed run keeps what it has. Leaves out
which texts are embedded (``index``) and which embedder it is (``embedding``): each embedder has a file of its own.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from groundtune.nn.encoders import Vectors
from groundtune.retrieval.embedding import Embedder

#: texts embedded between two commits, and keys asked for in one query (SQLite takes 999 variables everywhere)
BATCH = 256


class KeptVectors:
    """Stands in for an embedder and asks it for each text once.

    Args:
        embedder: what embeds.
        path: of the SQLite file; made where it is missing. Only vectors of this embedder may be in it.

    Attributes:
        embedded: texts that the embedder was asked for by this object.
    """

    def __init__(self, embedder: Embedder, path: Path) -> None:
        self._embedder = embedder
        self.NAME, self.DIMENSIONS, self.MAX_TOKENS = embedder.NAME, embedder.DIMENSIONS, embedder.MAX_TOKENS
        self.count_tokens = embedder.count_tokens
        self.embedded = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(path)
        self._file.execute("CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")

    def __getattr__(self, name: str) -> Any:
        """What else the embedder can do, it does itself; nothing of that is remembered."""
        return getattr(self._embedder, name)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), DIMENSIONS), as the embedder gives them."""
        keys = [hashlib.sha256(t.encode("utf-8", "surrogatepass")).digest() for t in texts]
        text_of = dict(zip(keys, texts, strict=True))
        known = self._known(list(text_of))
        missing = [k for k in text_of if k not in known]
        for at in range(0, len(missing), BATCH):
            part = missing[at : at + BATCH]
            made = np.asarray(self._embedder.embed([text_of[k] for k in part]), dtype=np.float32)
            with self._file:
                self._file.executemany(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                    [(k, v.tobytes()) for k, v in zip(part, made, strict=True)],
                )
            known.update(zip(part, made, strict=True))
            self.embedded += len(part)
        out = np.empty((len(keys), self.DIMENSIONS), dtype=np.float32)
        for n, key in enumerate(keys):
            out[n] = known[key]
        return out

    def _known(self, keys: list[bytes]) -> dict[bytes, Vectors]:
        found: dict[bytes, Vectors] = {}
        for at in range(0, len(keys), BATCH):
            part = keys[at : at + BATCH]
            marks = ",".join("?" * len(part))
            rows = self._file.execute(f"SELECT text, vector FROM vectors WHERE text IN ({marks})", part)
            found.update((key, np.frombuffer(vector, dtype=np.float32)) for key, vector in rows)
        return {k: v for k, v in found.items() if v.size == self.DIMENSIONS}

    def close(self) -> None:
        """Close the file; what was embedded is in it."""
        self._file.close()
