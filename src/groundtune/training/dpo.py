"""DPO: learning from pairs of a better and a worse answer, without a reward model (Rafailov et al., NeurIPS 2023, equation 7).

    loss = -log sigmoid(beta * ((log pi(chosen) - log ref(chosen)) - (log pi(rejected) - log ref(rejected))))

The reference is the model as it was before training. Its log-probabilities never change, so they are taken once, before
the first step: no second model stays in memory, and a step costs what it costs without one. Log-probabilities of an answer
are sums over its tokens, as in the paper. Leaves out rendering (``dataset.render``) and the loop (``trainer``).

Legend: B pairs, R = 2B rows, chosen ones first, T tokens, N supervised positions of all rows, D width, V vocabulary.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy, logsigmoid
from torch.utils.checkpoint import checkpoint

from groundtune.dataset.render import TokenRow
from groundtune.training.data import IGNORED, PlannedBatches
from groundtune.training.objectives import Batch, Objective, TokenHits, before_head, supervised_positions
from groundtune.training.steps import divided, shuffled_steps

#: positions whose logits are held at a time
_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class PairRow:
    """A prompt with its better and its worse answer, each as one row; only the answers count."""

    chosen: TokenRow
    rejected: TokenRow


class PairSteps(PlannedBatches):
    """So many pairs an optimizer step; see :class:`groundtune.training.steps.ExampleSteps`.

    An item has ``input_ids`` and ``labels`` (R, T), and ``reference`` (R), the reference's log-probabilities: NaN until
    :func:`take_reference` has put them there, so that nothing is trained without them.
    """

    def __init__(
        self, pairs: Sequence[PairRow], *, rows_per_step: int, batch_tokens: int, epochs: int, seed: int
    ) -> None:
        self.pairs = pairs
        lengths = [len(p.chosen.ids) + len(p.rejected.ids) for p in pairs]
        steps = shuffled_steps(len(pairs), rows_per_step=rows_per_step, epochs=epochs, seed=seed)
        self.steps_per_epoch = len(steps) // epochs
        self.batches_per_step, plan = divided(steps, lengths, batch_tokens)
        self.reference_PS = torch.full((len(pairs), 2), float("nan"))
        super().__init__(plan, lengths)

    def __getitem__(self, step: int) -> Batch:
        return self.batch(self.plan[step])

    def batch(self, numbers: Sequence[int]) -> Batch:
        """Pairs as one micro-batch; of none, one that counts nothing."""
        rows = [self.pairs[n].chosen for n in numbers] + [self.pairs[n].rejected for n in numbers]
        width = max((len(row.ids) for row in rows), default=2)
        ids_RT = torch.zeros((max(1, len(rows)), width), dtype=torch.long)
        labels_RT = torch.full_like(ids_RT, IGNORED)
        for r, row in enumerate(rows):
            ids = torch.tensor(row.ids)
            ids_RT[r, : len(ids)] = ids
            labels_RT[r, : len(ids)] = torch.where(torch.tensor(row.trained), ids, IGNORED)
        return {"input_ids": ids_RT, "labels": labels_RT, "reference": self.reference_PS[list(numbers)].T.reshape(-1)}

    def trained_of(self, step: int) -> int:
        """Tokens of a micro-batch's answers."""
        pairs = (self.pairs[n] for n in self.plan[step])
        return sum(sum(pair.chosen.trained[1:]) + sum(pair.rejected.trained[1:]) for pair in pairs)

    def row_bytes(self, number: int) -> bytes:
        """What a pair is told apart by: tokens, masks, the reference."""
        sides = (self.pairs[number].chosen, self.pairs[number].rejected)
        tokens = b"".join(array("q", side.ids).tobytes() + bytes(side.trained) for side in sides)
        return tokens + self.reference_PS[number].numpy().tobytes()


class PairFigures:
    """What a run's pairs look like to the model, gathered in passing.

    The implicit reward of an answer is beta * (log pi - log ref) (section 4 of the paper).
    """

    def __init__(self) -> None:
        self.hits = TokenHits()
        self._margins: list[torch.Tensor] = []

    def add(self, margins_B: torch.Tensor) -> None:
        """Chosen less rejected rewards."""
        self._margins.append(margins_B)

    def take(self) -> dict[str, float]:
        """Since the last call: tokens of chosen answers ranked first, pairs in the right order, mean margin."""
        margins, self._margins = torch.cat(self._margins) if self._margins else torch.zeros(0), []
        accuracy = self.hits.take()
        out = {} if accuracy is None else {"mean_token_accuracy": accuracy}
        if len(margins):
            out |= {"reward_accuracy": float((margins > 0).float().mean()), "reward_margin": float(margins.mean())}
        return out


def dpo(beta: float, figures: PairFigures | None = None) -> Objective:
    """The objective: mean over the pairs of a step, in nats.

    Args:
        beta: how dear it is to move away from the reference.
        figures: filled in passing.
    """

    def loss(model: Any, batch: Batch, pairs_in_step: torch.Tensor | int | None) -> torch.Tensor:
        policy_R = row_logprobs(model, batch, figures.hits if figures else None)
        if not pairs(batch):
            return policy_R.sum() * 0.0
        margins_B = _margins(policy_R, batch["reference"], beta)
        if figures is not None:
            figures.add(margins_B.detach().cpu())
        return -logsigmoid(margins_B).sum() / (len(margins_B) if pairs_in_step is None else pairs_in_step)

    return Objective("dpo", loss, pairs)


def pairs(batch: Batch) -> int:
    """Pairs of a batch."""
    return batch["reference"].numel() // 2


def _margins(policy_R: torch.Tensor, reference_R: torch.Tensor, beta: float) -> torch.Tensor:
    chosen_B, rejected_B = (policy_R - reference_R).chunk(2)
    return beta * (chosen_B - rejected_B)


def row_logprobs(model: Any, batch: Batch, chosen_hits: TokenHits | None = None) -> torch.Tensor:
    """Log-probability (R) of each row's supervised tokens, in nats.

    Args:
        chosen_hits: counts tokens of the first half of the rows that the model ranks first.
    """
    keep_RT, targets_N = supervised_positions(batch["labels"])
    row_of_N = keep_RT.nonzero()[:, 0]
    hidden_ND, head = before_head(model, batch, keep_RT)
    chosen_N = row_of_N < len(keep_RT) // 2

    def part(hidden_CD: torch.Tensor, at: slice) -> torch.Tensor:
        logits_CV = (head(hidden_CD) if head is not None else hidden_CD).float()
        return -cross_entropy(logits_CV, targets_N[at], reduction="none")

    found = []
    for start in range(0, max(1, len(hidden_ND)), _CHUNK):
        at = slice(start, start + _CHUNK)
        if len(hidden_ND) <= _CHUNK:
            found.append(part(hidden_ND[at], at))
        else:
            found.append(checkpoint(part, hidden_ND[at], at, use_reentrant=False))
        if chosen_hits is not None:
            _count(head, hidden_ND[at].detach(), targets_N[at], chosen_N[at], chosen_hits)
    logprobs_N = torch.cat(found)
    return logprobs_N.new_zeros(len(keep_RT)).index_add(0, row_of_N, logprobs_N)


@torch.no_grad()
def _count(
    head: Any, hidden_CD: torch.Tensor, targets_C: torch.Tensor, chosen_C: torch.Tensor, hits: TokenHits
) -> None:
    if bool(chosen_C.any()):
        wanted = hidden_CD[chosen_C]
        hits.add(head(wanted) if head is not None else wanted, targets_C[chosen_C])


@torch.no_grad()
def take_reference(model: Any, batches: PairSteps, *, batch_tokens: int) -> None:
    """Put the model's log-probabilities of every pair into the batches: it is the reference from now on.

    Taken in an order of their own, by length, so that they depend neither on epochs nor on the seed.
    """
    was = model.training
    model.eval()
    device = next(model.parameters()).device
    _, plan = divided([range(len(batches.pairs))], batches.lengths, batch_tokens)
    for numbers in plan:
        batch = {name: value.to(device) for name, value in batches.batch(numbers).items()}
        batches.reference_PS[numbers] = row_logprobs(model, batch).float().cpu().reshape(2, -1).T
    model.train(was)
