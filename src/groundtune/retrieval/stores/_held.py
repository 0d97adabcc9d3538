"""Vectors of one column in memory, searched exactly: up to some 100,000 of them quicker than a table or a graph.

Many vectors are first scored in whole numbers of 4 bits, which reads an eighth of the memory; all that rounding may have kept
from the best are then scored exactly. Leaves out conditions: what they are on is in the table. Legend: N rows, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from groundtune.nn.onnx.graph import Graph
from groundtune.nn.onnx.session import open_session

#: most memory of a column's vectors; larger columns are searched in their table
MOST_BYTES = 256 << 20
#: rows from which they are first scored in 4 bits
_ROUNDED_FROM = 8192
#: dimensions that share a scale
_BLOCK = 128
#: what is scored exactly: rows at most so many standard errors of rounding below the last of those that are wanted
_ERRORS = 5


def fits(rows: int, dimensions: int) -> bool:
    """Whether so many vectors are held."""
    return rows * dimensions * 4 <= MOST_BYTES


class Held:
    """The vectors of a column.

    Args:
        ids: of the chunk that each row belongs to.
        vectors: float32, (N, D); need not be unit vectors.
    """

    def __init__(self, ids: Sequence[str], vectors: Any) -> None:
        self._ids = np.array(ids, dtype=object)
        self._unit_ND = np.array(vectors, dtype=np.float32)
        self._unit_ND /= np.maximum(np.linalg.norm(self._unit_ND, axis=1, keepdims=True), 1e-12)
        self._rounded, self._error = None, 0.0
        if len(ids) >= _ROUNDED_FROM:
            self._rounded, self._error = _rounded_product(self._unit_ND)

    def nearest(self, vector: Any, k: int) -> list[str]:
        """Ids of the ``k`` rows with the greatest cosine, greatest first; of equal ones the first row's; each id once."""
        asked_D = np.asarray(vector, dtype=np.float32)
        rows = self._candidates(asked_D, k)
        scores = (self._unit_ND if rows is None else self._unit_ND[rows]) @ asked_D
        best = _greatest(scores, k)
        best = best[np.argsort(-scores[best], kind="stable")[:k]]
        return list(dict.fromkeys(self._ids[best if rows is None else rows[best]].tolist()))

    def _candidates(self, asked_D: Any, k: int) -> Any:
        """Rows that may be among the ``k`` nearest, in order; None where that is most of them."""
        if self._rounded is None:
            return None
        (scores_1N,) = self._rounded.run(None, {"asked": asked_D[None]})
        rows = _greatest(scores_1N[0], k, _ERRORS * self._error * float(np.linalg.norm(asked_D)))
        return rows if len(rows) < len(self._ids) / 4 else None


def _greatest(scores_N: Any, k: int, below: float = 0.0) -> Any:
    """Places of the ``k`` greatest scores and of those at most so far below the last of them, in order of place."""
    if k >= len(scores_N):
        return np.arange(len(scores_N))
    return np.flatnonzero(scores_N >= np.partition(scores_N, -k)[-k] - below)


def _rounded_product(unit_ND: Any) -> tuple[Any, float]:
    """(1, D) to (1, N): every row's cosine in 4 bits, one scale a block of dimensions; the question in 8 bits.

    Beside it the standard error of a cosine: of the row that loses most by rounding, with a question of any direction.
    """
    size, dimensions = unit_ND.shape
    blocks = -(-dimensions // _BLOCK)
    pairs = np.empty((size, blocks, _BLOCK // 2), dtype=np.uint8)
    scales = np.empty((size, blocks), dtype=np.float32)
    most = 0.0
    for start in range(0, size, _ROUNDED_FROM):  # all at once would take the vectors' memory twice more
        part = unit_ND[start : start + _ROUNDED_FROM]
        filled = np.zeros((len(part), blocks * _BLOCK), dtype=np.float32)
        filled[:, :dimensions] = part
        parted = filled.reshape(len(part), blocks, _BLOCK)
        scales[start : start + len(part)] = scale = np.maximum(np.abs(parted).max(2), 1e-8) / 7.5
        rounded = np.clip(np.rint(parted / scale[:, :, None]) + 8, 0, 15).astype(np.uint8)
        lost = (parted - (rounded.astype(np.float32) - 8) * scale[:, :, None]).reshape(len(part), -1)
        most = max(most, float(np.linalg.norm(lost, axis=1).max()))
        pairs[start : start + len(part)] = rounded[:, :, 0::2] | rounded[:, :, 1::2] << 4
    graph = Graph()
    inputs = ["asked", graph.weight("rows", pairs), graph.weight("scales", scales.reshape(-1))]
    sizes = {"K": dimensions, "N": size, "bits": 4, "block_size": _BLOCK, "accuracy_level": 4}
    scores = graph.add("MatMulNBits", inputs, sizes, microsoft=True)
    return open_session(graph.model([("asked", "float32", (1, dimensions))], scores, (1, size))), most / dimensions**0.5
