"""Text with some tokens masked, to learn an encoder's words by: windows of text, masks, batches.

15 % of a window's tokens are to be guessed; of these 80 % are replaced by the mask token, 10 % by a random token, 10 %
stay (Devlin et al., BERT, NAACL 2019, section 3.1). Masks are drawn anew in each epoch (RoBERTa, Liu et al. 2019,
section 4.1), from seed, epoch and window alone, so that a resumed run sees what the undisturbed one sees.

Legend: B windows, T tokens.
"""

from __future__ import annotations

import bisect
import math
import random
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import torch

from groundtune.dataset.pack import plan_batches
from groundtune.training.data import IGNORED, PlannedBatches

SHARE = 0.15
_REPLACED, _RANDOM = 0.8, 0.1


def windows_of(texts: Iterable[str], tokenizer: Any, *, max_tokens: int) -> list[tuple[int, ...]]:
    """Texts one behind the other, a separator between them, cut into windows of ``max_tokens``, special tokens included.

    As RoBERTa's FULL-SENTENCES: a window may begin in one document and end in the next. The last may be shorter.
    """
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    stream: list[int] = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False, truncation=False)["input_ids"]
        if ids:
            stream += [*ids, last]
    room = max_tokens - 2
    pieces = (stream[n : n + room] for n in range(0, len(stream), room))
    return [(first, *(piece[:-1] if piece[-1] == last else piece), last) for piece in pieces if len(piece) > 1]


class Masker:
    """Draws masks for windows of one vocabulary.

    Args:
        tokenizer: names the mask token and the special ones, which are never masked.
        seed: of the draws.
    """

    def __init__(self, tokenizer: Any, seed: int) -> None:
        self.mask_id, self.seed = int(tokenizer.mask_token_id), seed
        self.special = frozenset(tokenizer.all_special_ids)
        self.words = [n for n in range(len(tokenizer)) if n not in self.special]

    def masked(self, window: Sequence[int], number: int, epoch: int) -> tuple[list[int], list[int]]:
        """What the model reads, and its labels: the token where it is to be guessed, elsewhere -100."""
        rng = random.Random(f"{self.seed} {epoch} {number}")
        ids, labels = list(window), [IGNORED] * len(window)
        places = [n for n, token in enumerate(window) if token not in self.special]
        for place in rng.sample(places, min(len(places), max(1, round(SHARE * len(places))))):
            labels[place] = ids[place]
            draw = rng.random()
            if draw < _REPLACED:
                ids[place] = self.mask_id
            elif draw < _REPLACED + _RANDOM:
                ids[place] = rng.choice(self.words)
        return ids, labels


class MaskedBatches(PlannedBatches):
    """Batches of masked windows: ``input_ids``, ``attention_mask`` and ``labels``, each (B, T), -100 where not asked.

    Args:
        windows: of :func:`windows_of`.
        masker: draws the masks.
        pad_id: what the shorter windows are filled with.
        batch_tokens: token budget of a batch.
        epochs: passes over the windows, each with masks of its own; counted on from ``first_epoch``.
        seed: of the order.
    """

    def __init__(
        self,
        windows: Sequence[tuple[int, ...]],
        masker: Masker,
        *,
        pad_id: int,
        batch_tokens: int,
        epochs: int = 1,
        seed: int = 0,
        first_epoch: int = 0,
    ) -> None:
        self.windows, self.masker, self.pad_id, self.first_epoch = windows, masker, pad_id, first_epoch
        lengths = [len(w) for w in windows]
        super().__init__(plan_batches(lengths, batch_tokens=batch_tokens, epochs=epochs, seed=seed), lengths)

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        epoch = self.first_epoch + bisect.bisect_right(self._ends, step)
        rows = [self.masker.masked(self.windows[n], n, epoch) for n in self.plan[step]]
        width = max(len(ids) for ids, _ in rows)
        fill = {"input_ids": self.pad_id, "attention_mask": 0, "labels": IGNORED}
        batch = {name: torch.full((len(rows), width), value) for name, value in fill.items()}
        for b, (ids, labels) in enumerate(rows):
            batch["input_ids"][b, : len(ids)] = torch.tensor(ids)
            batch["attention_mask"][b, : len(ids)] = 1
            batch["labels"][b, : len(ids)] = torch.tensor(labels)
        return batch

    @cached_property
    def _ends(self) -> list[int]:
        return self.epoch_ends

    def row_bytes(self, number: int) -> bytes:
        """Token ids, and the seed of the masks."""
        return array("q", [*self.windows[number], self.masker.seed]).tobytes()


def frequency_loss(trained: Sequence[tuple[int, ...]], judged: Sequence[tuple[int, ...]], tokenizer: Any) -> float:
    """Cross-entropy in nats a token of guessing by how often a token stands in the training windows, add-one smoothed.

    What a model must beat to have learnt more than which words there are.
    """
    special = set(tokenizer.all_special_ids)
    counts = Counter(token for window in trained for token in window if token not in special)
    total = counts.total() + len(tokenizer) - len(special)
    asked = [token for window in judged for token in window if token not in special]
    return -sum(math.log((counts[token] + 1) / total) for token in asked) / max(1, len(asked))
