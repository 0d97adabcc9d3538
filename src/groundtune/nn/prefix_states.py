"""The hidden states that a frozen prefix wrote, of every row once: in memory, or in a file mapped into memory.

Legend: B rows, T tokens, D width of the model, N tokens of all rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from groundtune.errors import ConfigError, WorkspaceError
from groundtune.nn.frozen_prefix import STATES, FrozenPrefix


class PrefixStates:
    """The hidden states of many rows below the first trained layer, computed once, row by row.

    Args:
        prefix: of the model that is trained.
        rows: token ids of every row.
        dtype: ``torch.float32`` keeps them as they are on a CPU; ``torch.bfloat16`` halves them and rounds them.
        memory_bytes: beyond it they go into a file in ``folder`` that is mapped into memory.
        folder: for that file, ``prefix_states.bin``; the caller removes it.
        progress: called with (rows done, rows).

    Attributes:
        nbytes: N x D x bytes of a number.
        file: where they are, or None: in memory.

    Raises:
        ConfigError: more than ``memory_bytes``, and no folder.
        WorkspaceError: no room on the disk.
    """

    def __init__(
        self,
        prefix: FrozenPrefix,
        rows: Sequence[Sequence[int]],
        *,
        dtype: torch.dtype = torch.float32,
        memory_bytes: int = 2**31,
        folder: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        device, width = prefix.device, prefix.width
        self._ends = [0, *accumulate(len(row) for row in rows)]
        self.nbytes = self._ends[-1] * width * dtype.itemsize
        self.file: Path | None = None
        if self.nbytes > memory_bytes:
            self.file = _room_for(self.nbytes, memory_bytes, folder)
            self._states_ND = torch.from_file(
                str(self.file), shared=True, size=self._ends[-1] * width, dtype=dtype
            ).view(-1, width)
        else:
            self._states_ND = torch.empty((self._ends[-1], width), dtype=dtype)
        for number, row in enumerate(rows):
            states_1TD = prefix.run(torch.tensor([list(row)], device=device))
            self._states_ND[self._ends[number] : self._ends[number + 1]].copy_(states_1TD[0])
            if progress:
                progress(number + 1, len(rows))

    def row(self, index: int) -> torch.Tensor:
        """States (T, D) of one row."""
        return self._states_ND[self._ends[index] : self._ends[index + 1]]

    def padded(self, indices: Sequence[int], width: int) -> torch.Tensor:
        """States (B, T, D) of rows beside each other, zero behind each row's end; ``width`` is T."""
        out_BTD = self._states_ND.new_zeros((len(indices), width, self._states_ND.shape[1]))
        for b, index in enumerate(indices):
            states_TD = self.row(index)
            out_BTD[b, : len(states_TD)] = states_TD
        return out_BTD

    def packed(self, indices: Sequence[int]) -> torch.Tensor:
        """States (1, T, D) of rows one behind the other."""
        return torch.cat([self.row(index) for index in indices])[None]


def _room_for(size: int, memory_bytes: int, folder: Path | None) -> Path:
    if folder is None:
        raise ConfigError(
            f"the hidden states need {size:,} bytes, over the {memory_bytes:,} they may have in memory",
            expected="a folder for them, or more memory",
        )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prefix_states.bin"
    try:
        with file.open("wb") as opened:  # all of it now: a full disk under a mapping kills the process
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(opened.fileno(), 0, size)
            else:
                opened.truncate(size)
    except OSError as error:
        file.unlink(missing_ok=True)
        raise WorkspaceError(
            f"{file}: no room for {size:,} bytes of hidden states: {error.strerror}",
            next_step="free the space, or train all layers",
        ) from None
    return file


class PrefixBatches(Dataset[dict[str, torch.Tensor]]):
    """Micro-batches as they are, each with its rows' hidden states under ``prefix_states``.

    Args:
        batches: its ``plan`` gives the rows' indices of every item, in their order; an item with ``cu_seq_lens_q`` is packed,
            any other is padded on the right.
        states: of the same rows.
    """

    def __init__(self, batches: Any, states: PrefixStates) -> None:
        self.batches, self.states = batches, states

    def __len__(self) -> int:
        return len(self.batches)

    @property
    def epoch_ends(self) -> list[int]:
        """Micro-batches done at the end of each epoch."""
        ends: list[int] = self.batches.epoch_ends
        return ends

    def tokens_of(self, step: int) -> int:
        """Tokens of a micro-batch."""
        return int(self.batches.tokens_of(step))

    def trained_of(self, step: int) -> int:
        """Supervised tokens of a micro-batch."""
        return int(self.batches.trained_of(step))

    def fingerprint(self) -> str:
        """Of the rows and their order; the states follow from them and from the model."""
        return str(self.batches.fingerprint())

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        item: dict[str, torch.Tensor] = self.batches[step]
        rows = self.batches.plan[step]
        packed = "cu_seq_lens_q" in item
        return {
            **item,
            STATES: self.states.packed(rows) if packed else self.states.padded(rows, item["input_ids"].shape[1]),
        }
