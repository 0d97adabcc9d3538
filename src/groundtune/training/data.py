"""What the trainer iterates over: one item is one micro-batch, ready to go into the model.

Legend: B rows, T tokens. Padding is on the right and never looked at: attention is causal and the loss skips it, so
no attention mask is needed.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np
import torch
from torch.utils.data import Dataset

from groundtune.dataset.pack import plan_batches, plan_packs
from groundtune.dataset.render import TokenRow

IGNORED = -100


class PlannedBatches(Dataset[dict[str, torch.Tensor]]):
    """Micro-batches by a plan laid out before training: step -> row numbers, every row once an epoch.

    Args:
        plan: row numbers of every micro-batch.
        lengths: tokens of each row.
    """

    def __init__(self, plan: list[list[int]], lengths: Sequence[int]) -> None:
        self.plan, self.lengths = plan, lengths

    def __len__(self) -> int:
        return len(self.plan)

    @property
    def epoch_ends(self) -> list[int]:
        """Micro-batches done at the end of each epoch."""
        ends: list[int] = []
        seen = 0
        for step, rows in enumerate(self.plan, 1):
            seen += len(rows)
            if seen >= len(self.lengths) * (len(ends) + 1):
                ends.append(step)
        return ends

    def tokens_of(self, step: int) -> int:
        """Tokens of a micro-batch, padding not counted."""
        return sum(self.lengths[i] for i in self.plan[step])

    def fingerprint(self) -> str:
        """SHA-256 of the rows and their order."""
        sha = hashlib.sha256(json.dumps(self.plan).encode())
        for number in range(len(self.lengths)):
            sha.update(self.row_bytes(number))
        return sha.hexdigest()

    def row_bytes(self, number: int) -> bytes:
        """What a row is told apart by."""
        raise NotImplementedError  # each kind of row has bytes of its own


class _TokenRowBatches(PlannedBatches):
    rows: Sequence[TokenRow]

    def row_bytes(self, number: int) -> bytes:
        row = self.rows[number]
        return array("q", row.ids).tobytes() + bytes(row.trained)

    @cached_property
    def _trained(self) -> list[int]:
        return [sum(row.trained[1:]) for row in self.rows]

    def trained_of(self, step: int) -> int:
        """Tokens of a micro-batch that count in the loss."""
        return sum(self._trained[i] for i in self.plan[step])


class RowBatches(_TokenRowBatches):
    """Micro-batches of token rows under a token budget; see :func:`groundtune.dataset.pack.plan_batches`."""

    def __init__(self, rows: Sequence[TokenRow], *, batch_tokens: int, epochs: int, seed: int) -> None:
        self.rows = rows
        lengths = [len(r.ids) for r in rows]
        super().__init__(plan_batches(lengths, batch_tokens=batch_tokens, epochs=epochs, seed=seed), lengths)

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        rows = [self.rows[i] for i in self.plan[step]]
        width = max(len(r.ids) for r in rows)
        ids_BT = torch.zeros((len(rows), width), dtype=torch.long)
        labels_BT = torch.full((len(rows), width), IGNORED, dtype=torch.long)
        for b, row in enumerate(rows):
            ids = torch.tensor(row.ids)
            ids_BT[b, : len(ids)] = ids
            labels_BT[b, : len(ids)] = torch.where(torch.tensor(row.trained), ids, IGNORED)
        return {"input_ids": ids_BT, "labels": labels_BT}


class PackedBatches(_TokenRowBatches):
    """Sequences of whole rows one behind the other, without padding; see :func:`groundtune.dataset.pack.plan_packs`.

    An item has ``input_ids`` and ``labels`` (1, T), ``position_ids`` (1, T) that begin at 0 in every row, and
    ``cu_seq_lens_q`` (rows + 1), where each row begins and the last ends. The first label of a row is never asked for:
    no token of the row before predicts it.
    """

    def __init__(self, rows: Sequence[TokenRow], *, batch_tokens: int, epochs: int, seed: int) -> None:
        self.rows = rows
        lengths = [len(r.ids) for r in rows]
        super().__init__(plan_packs(lengths, pack_tokens=batch_tokens, epochs=epochs, seed=seed), lengths)

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        return pack([self.rows[i] for i in self.plan[step]])


def pack(rows: Sequence[TokenRow]) -> dict[str, torch.Tensor]:
    """Rows as one packed sequence, as :class:`PackedBatches` describes it."""
    ids: list[int] = []
    labels: list[int] = []
    positions: list[int] = []
    bounds = [0]
    for row in rows:
        ids.extend(row.ids)
        labels.extend(i if t and n else IGNORED for n, (i, t) in enumerate(zip(row.ids, row.trained, strict=True)))
        positions.extend(range(len(row.ids)))
        bounds.append(len(ids))
    return {
        "input_ids": torch.tensor([ids]),
        "labels": torch.tensor([labels]),
        "position_ids": torch.tensor([positions]),
        "cu_seq_lens_q": torch.tensor(bounds, dtype=torch.int32),
    }


class CompactRows(Sequence[TokenRow]):
    """Many rows at three bytes a token: a hundred thousand rows as Python tuples would fill gigabytes.

    Args:
        rows: read once; token ids below 65,536.
        wide: token ids may be larger: five bytes a token.
    """

    def __init__(self, rows: Iterable[TokenRow], *, wide: bool = False) -> None:
        ids, trained, ends = array("I" if wide else "H"), array("b"), array("q", [0])
        for row in rows:
            ids.extend(row.ids)
            trained.extend(row.trained)
            ends.append(len(ids))
        self._ids, self._trained, self._ends = ids, trained, ends

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return len(self._ids)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> TokenRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[TokenRow]: ...
    def __getitem__(self, index: int | slice) -> TokenRow | list[TokenRow]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        at = slice(self._ends[index % len(self)], self._ends[index % len(self) + 1])
        return TokenRow(tuple(self._ids[at]), tuple(map(bool, self._trained[at])))


class StreamBatches(Dataset[dict[str, torch.Tensor]]):
    """Windows of a flat uint16 token stream, every token trained on: pretraining.

    Args:
        tokens: memory-mapped token ids.
        sequence_tokens: T.
        rows_per_batch: B.
        steps: number of micro-batches; the stream is passed over as often as that needs, each pass with its own
            order and its own offset.
        seed: of order and offsets.
    """

    def __init__(
        self, tokens: np.ndarray[Any, Any], *, sequence_tokens: int, rows_per_batch: int, steps: int, seed: int
    ) -> None:
        self.tokens = tokens
        self.width = sequence_tokens
        windows = (len(tokens) - sequence_tokens) // sequence_tokens
        if windows < 1:
            raise ValueError(f"{len(tokens)} tokens are fewer than two windows of {sequence_tokens}")
        rng = np.random.default_rng(seed)
        starts: list[np.ndarray[Any, Any]] = []
        while sum(len(s) for s in starts) < steps * rows_per_batch:
            starts.append(rng.permutation(windows) * sequence_tokens + int(rng.integers(0, sequence_tokens)))
        self.starts = np.concatenate(starts)[: steps * rows_per_batch].reshape(steps, rows_per_batch)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        rows = np.stack([self.tokens[s : s + self.width] for s in self.starts[step]]).astype(np.int64)
        ids_BT = torch.from_numpy(rows)
        return {"input_ids": ids_BT, "labels": ids_BT.clone()}

    def tokens_of(self, step: int) -> int:
        """Tokens of a micro-batch."""
        return int(self.starts.shape[1]) * self.width

    def fingerprint(self) -> str:
        """SHA-256 of the windows' places and of the stream's length, beginning and end."""
        sha = hashlib.sha256(self.starts.tobytes() + f"{self.width} {len(self.tokens)}".encode())
        sha.update(np.ascontiguousarray(self.tokens[: 1 << 20]).tobytes())
        sha.update(np.ascontiguousarray(self.tokens[-(1 << 20) :]).tobytes())
        return sha.hexdigest()
