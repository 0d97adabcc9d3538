"""The next token of every row: biases, penalties, constraints, temperature, nucleus; and its log-probability.

Log-probabilities are the model's own: of its logits as they are, before anything here changes them. Penalties are OpenAI's:
a token's logit falls by ``count * frequency + (count > 0) * presence``, counts over what was written, not over the prompt.
Nucleus sampling is Holtzman et al. (ICLR 2020), section 3.1. A seed gives the same draws whatever else is in the batch (Gumbel-max
sampling: an exponential race, Maddison et al., NeurIPS 2014, section 2).

Legend: B rows, V vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from groundtune.generation.constraint import Constraint, Grammar

#: probabilities are added up in this order of ids, so that a draw does not depend on the sort's ties
_LEAST = 1e-5


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one sequence is written.

    Attributes:
        max_tokens: most tokens, the one that ends the answer included.
        temperature: divides logits; 0: always the likeliest token.
        top_p: the likeliest tokens that together have this probability are drawn from.
        frequency_penalty, presence_penalty: see the module's head.
        logit_bias: token -> what is added to its logit.
        stop: texts that end the answer; they are not part of it.
        seed: of the draws; None: of the system's randomness.
        alternatives: how many of the likeliest tokens are told beside each token.
        prompt_logprobs: whether the prompt's own tokens are told with their log-probabilities.
        grammar: what the answer must be; None: anything.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    seed: int | None = None
    alternatives: int = 0
    prompt_logprobs: bool = False
    grammar: Grammar | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A token with its natural-log probability, and the likeliest ones (id, log-probability), best first."""

    id: int
    logprob: float
    alternatives: tuple[tuple[int, float], ...] = ()


class Sampler:
    """The state of one sequence's sampling."""

    def __init__(self, sampling: Sampling, constraint: Constraint | None) -> None:
        self.sampling, self.constraint = sampling, constraint
        self.random = np.random.default_rng(sampling.seed)
        self.counts: Counter[int] = Counter()

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.sampling.temperature < _LEAST

    @property
    def changes_logits(self) -> bool:
        """Whether logits are not taken as they are."""
        own = self.sampling
        penalized = bool(self.counts and (own.frequency_penalty or own.presence_penalty))
        return penalized or bool(own.logit_bias) or self.constraint is not None

    def changed(self, logits_V: torch.Tensor) -> torch.Tensor:
        """Logits with biases, penalties and constraint; changed in place."""
        own = self.sampling
        if own.logit_bias:
            ids = torch.tensor(list(own.logit_bias))
            logits_V[ids] += torch.tensor(list(own.logit_bias.values()), dtype=logits_V.dtype)
        if self.counts and (own.frequency_penalty or own.presence_penalty):
            ids = torch.tensor(list(self.counts))
            counts = torch.tensor(list(self.counts.values()), dtype=logits_V.dtype)
            logits_V[ids] -= counts * own.frequency_penalty + own.presence_penalty
        if self.constraint is not None:
            self.constraint.mask(logits_V)
        return logits_V

    def took(self, id: int) -> None:
        """Remember a token."""
        self.counts[id] += 1
        if self.constraint is not None:
            self.constraint.took(id)


def choose(logits_BV: torch.Tensor, samplers: Sequence[Sampler], known: int) -> list[Choice]:
    """The next token of every row.

    Args:
        logits_BV: the model's, in float32 on the CPU.
        samplers: one a row; they are told what was chosen.
        known: tokens of the vocabulary that the tokenizer knows; a head may have more rows, which are never chosen.
    """
    weighed_BV = logits_BV
    if known < logits_BV.shape[1] or any(s.changes_logits for s in samplers):
        weighed_BV = logits_BV.clone()
        weighed_BV[:, known:] = -torch.inf
        for b, sampler in enumerate(samplers):
            if sampler.changes_logits:
                sampler.changed(weighed_BV[b])
    chosen_B = weighed_BV.argmax(-1)
    drawn = [b for b, sampler in enumerate(samplers) if not sampler.greedy]
    if drawn:
        chosen_B[drawn] = _draw(weighed_BV[drawn], [samplers[b] for b in drawn])
    total_B = logits_BV.logsumexp(-1)
    logprob_B = logits_BV.gather(1, chosen_B[:, None])[:, 0] - total_B
    most = max(s.sampling.alternatives for s in samplers)
    best = logits_BV.topk(most, dim=-1) if most else None
    out = []
    for b, (id, logprob) in enumerate(zip(chosen_B.tolist(), logprob_B.tolist(), strict=True)):
        count = samplers[b].sampling.alternatives
        told: tuple[tuple[int, float], ...] = ()
        if best is not None and count:
            values = (best.values[b, :count] - total_B[b]).tolist()
            told = tuple(zip(best.indices[b, :count].tolist(), values, strict=True))
        samplers[b].took(id)
        out.append(Choice(id, logprob, told))
    return out


def _draw(logits_BV: torch.Tensor, samplers: Sequence[Sampler]) -> torch.Tensor:
    """A draw of every row: by inverting its cumulative distribution, or, where it has a seed, by an exponential race.

    A forward pass of more rows rounds differently. Added up over a vocabulary that shifts what a uniform number falls on about
    once in a hundred draws; in a race the first is as far ahead of the second as tokens are apart.
    """
    heat_B1 = torch.tensor([[max(_LEAST, s.sampling.temperature)] for s in samplers])
    probabilities_BV = torch.softmax(logits_BV / heat_B1, -1)
    kept_B = [s.sampling.top_p for s in samplers]
    if min(kept_B) < 1:
        sorted_BV, order_BV = probabilities_BV.sort(dim=-1, descending=True, stable=True)
        before_BV = sorted_BV.cumsum(-1) - sorted_BV
        sorted_BV[before_BV >= torch.tensor(kept_B)[:, None].clamp(min=_LEAST)] = 0.0
        probabilities_BV = torch.zeros_like(sorted_BV).scatter_(1, order_BV, sorted_BV)
    sums_BV = probabilities_BV.double().cumsum(-1)
    uniform_B1 = torch.tensor([[s.random.random() if s.sampling.seed is None else 0.5] for s in samplers], dtype=torch.float64)  # fmt: skip
    found_B = torch.searchsorted(sums_BV, uniform_B1 * sums_BV[:, -1:], right=True)[:, 0]
    last_B = logits_BV.shape[1] - 1 - probabilities_BV.flip(-1).ne(0).int().argmax(-1)  # rounding may run past the end
    found_B = torch.minimum(found_B, last_B)
    for b, sampler in enumerate(samplers):
        if sampler.sampling.seed is not None:
            waits_V = torch.from_numpy(
                sampler.random.standard_exponential(logits_BV.shape[1])
            )  # in float32 one in 2^23 is 0
            found_B[b] = (waits_V / probabilities_BV[b]).nan_to_num_(torch.inf).argmin()
    return found_B


def prompt_choices(logits_TV: torch.Tensor, ids: Sequence[int], alternatives: int) -> list[Choice]:
    """Log-probabilities of given tokens: row t of the logits is what stands before token t."""
    total_T1 = logits_TV.logsumexp(-1, keepdim=True)
    own_T = (logits_TV.gather(1, torch.tensor(ids)[:, None]) - total_T1)[:, 0].tolist()
    told: list[tuple[tuple[int, float], ...]] = [()] * len(ids)
    if alternatives:
        best = logits_TV.topk(alternatives, dim=-1)
        values = (best.values - total_T1).tolist()
        told = [tuple(zip(i, v, strict=True)) for i, v in zip(best.indices.tolist(), values, strict=True)]
    return [Choice(*row) for row in zip(ids, own_T, told, strict=True)]
