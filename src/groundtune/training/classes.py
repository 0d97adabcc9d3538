"""Labelled texts as batches for a classifier, and how well it does on them.

Padding is on the right and masked by length, never by the padding token's id: where that is a token of the text too
(pad = end), a mask by id would hide it.

Legend: B rows, T tokens, N rows in all, K classes.
"""

from __future__ import annotations

import bisect
import random
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from groundtune.dataset.pack import plan_batches
from groundtune.training.data import PlannedBatches


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A text or a pair of texts as tokens.

    Attributes:
        ids: token ids, special ones included.
        types: 0 or 1, first or second text; empty where the model does not read them.
        label: number of its class.
    """

    ids: tuple[int, ...]
    types: tuple[int, ...]
    label: int


def encode(tokenizer: Any, text: str, pair: str, label: int, *, max_tokens: int) -> tuple[EncodedText, bool]:
    """A text as tokens, and whether its end had to be cut off (of a pair: of the longer text).

    A tokenizer without a separator (of decoders) gets the two with a line break between them. Padding tokens at the
    end are taken off: decoders' heads read the last token that is not padding.
    """
    given = (text, pair) if pair and tokenizer.sep_token_id is not None else (f"{text}\n{pair}" if pair else text,)
    made = tokenizer(*given, truncation="longest_first", max_length=max_tokens)
    ids, types = list(made["input_ids"]), list(made.get("token_type_ids", ()))
    while len(ids) > 1 and ids[-1] == tokenizer.pad_token_id:
        ids.pop()
    cut = len(ids) >= max_tokens and len(tokenizer(*given, truncation=False)["input_ids"]) > max_tokens
    return EncodedText(tuple(ids), tuple(types[: len(ids)]), label), cut


def collate(rows: Sequence[EncodedText], pad_id: int) -> dict[str, torch.Tensor]:
    """``input_ids``, ``attention_mask`` and where rows have them ``token_type_ids``, each (B, T); ``labels`` (B)."""
    width = max(len(row.ids) for row in rows)
    ids_BT = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask_BT = torch.zeros((len(rows), width), dtype=torch.long)
    types_BT = torch.zeros((len(rows), width), dtype=torch.long)
    for b, row in enumerate(rows):
        ids_BT[b, : len(row.ids)] = torch.tensor(row.ids)
        mask_BT[b, : len(row.ids)] = 1
        types_BT[b, : len(row.types)] = torch.tensor(row.types, dtype=torch.long)
    batch = {"input_ids": ids_BT, "attention_mask": mask_BT, "labels": torch.tensor([row.label for row in rows])}
    return {**batch, "token_type_ids": types_BT} if rows[0].types else batch


class LabelledBatches(PlannedBatches):
    """Batches of labelled texts of similar length; see :func:`groundtune.dataset.pack.plan_batches`.

    Args:
        rows: the texts.
        pad_id: what padding is filled with.
        batch_tokens: token budget of a batch, padding included.
        batch_rows: rows of a batch; 0: as many as the budget allows.
        epochs, seed: passes over the rows, and their orders.
        swapped: the same pairs with their texts in the other order: every pair comes in turns in this and in the other.
    """

    def __init__(
        self,
        rows: Sequence[EncodedText],
        *,
        pad_id: int,
        batch_tokens: int,
        batch_rows: int = 0,
        epochs: int = 1,
        seed: int = 0,
        swapped: Sequence[EncodedText] = (),
    ) -> None:
        self.rows, self.swapped, self.pad_id = rows, swapped, pad_id
        lengths = [len(r.ids) for r in rows]
        plan = plan_batches(lengths, batch_tokens=batch_tokens, batch_rows=batch_rows, epochs=epochs, seed=seed)
        super().__init__(plan, lengths)
        rng = random.Random(seed)
        self.turn = [rng.randrange(2) for _ in rows]

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        epoch = bisect.bisect_right(self._ends, step)
        return collate([self.row(i, epoch) for i in self.plan[step]], self.pad_id)

    @cached_property
    def _ends(self) -> list[int]:
        return self.epoch_ends

    def row(self, number: int, epoch: int) -> EncodedText:
        """A row as it comes in an epoch, counted from 0."""
        other = bool(self.swapped) and (self.turn[number] + epoch) % 2
        return self.swapped[number] if other else self.rows[number]

    def row_bytes(self, number: int) -> bytes:
        """Token ids and label in both orders."""
        both = [self.rows[number], *([self.swapped[number]] if self.swapped else [])]
        return b"".join(array("q", [*row.ids, -1, *row.types, row.label]).tobytes() for row in both)


def logits_of(model: Any, rows: Sequence[EncodedText], pad_id: int, *, batch_tokens: int = 2048) -> torch.Tensor:
    """A classifier's logits (N, K) for texts, in their order, in float32 on the CPU."""
    return _over(model, lambda batch: model(**batch).logits, rows, pad_id, batch_tokens)


def vectors_of(model: Any, rows: Sequence[EncodedText], pad_id: int, *, batch_tokens: int = 2048) -> torch.Tensor:
    """What the head of a :class:`groundtune.nn.classifiers.PooledClassifier` reads of texts, (N, D), as above."""
    return _over(model, lambda batch: model.pooled(**batch), rows, pad_id, batch_tokens)


@torch.no_grad()
def _over(
    model: Any, read: Callable[[Any], torch.Tensor], rows: Sequence[EncodedText], pad_id: int, batch_tokens: int
) -> torch.Tensor:
    was = model.training
    model.eval()
    device = next(model.parameters()).device
    order = sorted(range(len(rows)), key=lambda n: len(rows[n].ids))
    out: dict[int, torch.Tensor] = {}
    while order:
        size = 1
        while size < len(order) and (size + 1) * len(rows[order[-size - 1]].ids) <= batch_tokens and size < 256:
            size += 1
        part, order = order[-size:], order[:-size]
        batch = {k: v.to(device) for k, v in collate([rows[n] for n in part], pad_id).items() if k != "labels"}
        out.update(zip(part, read(batch).float().cpu(), strict=True))
    model.train(was)
    return torch.stack([out[n] for n in range(len(rows))])


def figures_of(logits_NK: torch.Tensor, labels: Sequence[int], positive: int) -> dict[str, float]:
    """Mean cross-entropy in nats, accuracy, and F1: of the positive class where there are two, else macro over classes."""
    loss = torch.nn.functional.cross_entropy(logits_NK, torch.tensor(labels))
    return {"loss": float(loss), **_scores(logits_NK.argmax(-1).tolist(), labels, logits_NK.shape[1], positive)}


def constant_figures(answer: int, labels: Sequence[int], classes: int, positive: int) -> dict[str, float]:
    """Accuracy and F1 of always answering the same class: what a classifier must beat to have learnt anything."""
    return _scores([answer] * len(labels), labels, classes, positive)


def _scores(answers: Sequence[int], labels: Sequence[int], classes: int, positive: int) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score  # type: ignore[import-untyped]

    how: Mapping[str, Any] = (
        {"average": "binary", "pos_label": positive}
        if classes == 2
        else {"average": "macro", "labels": list(range(classes))}
    )
    f1 = f1_score(list(labels), list(answers), zero_division=0, **how)
    return {"accuracy": float(accuracy_score(list(labels), list(answers))), "f1": float(f1)}
