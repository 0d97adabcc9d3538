"""How tokens are chosen: OpenAI's penalties, biases, the nucleus, seeds that nobody else in the batch disturbs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from groundtune.generation.sampling import Sampler, Sampling, choose, prompt_choices

V = 12


def sampler(**how: Any) -> Sampler:
    return Sampler(Sampling(**{"max_tokens": 8, **how}), None)


def logits(seed: int = 0, rows: int = 1) -> torch.Tensor:
    return torch.randn(rows, V, generator=torch.Generator().manual_seed(seed)) * 2


def drawn(row: torch.Tensor, count: int, **how: Any) -> list[int]:
    own = sampler(**{"seed": 5, **how})
    return [choose(row, [own], V)[0].id for _ in range(count)]


def test_greedy_is_the_likeliest() -> None:
    rows = logits(rows=6)
    chosen = choose(rows, [sampler(temperature=0) for _ in range(6)], V)
    assert [c.id for c in chosen] == rows.argmax(-1).tolist()
    own = torch.log_softmax(rows, -1)
    assert [c.logprob for c in chosen] == pytest.approx(own.max(-1).values.tolist(), abs=1e-6)


@pytest.mark.parametrize("seed", [5, None])
def test_draws_follow_the_probabilities(seed: int | None) -> None:
    row, count = logits(1), 20_000
    for temperature in (1.0, 0.5, 2.0):
        own = torch.softmax(row[0] / temperature, -1)
        found = torch.bincount(torch.tensor(drawn(row, count, temperature=temperature, seed=seed)), minlength=V) / count
        assert (found - own).abs().max() < 4 * 0.5 / count**0.5  # four standard deviations at most


def test_the_nucleus_is_the_smallest_set_that_has_its_share() -> None:
    row = torch.tensor([[0.5, 0.2, 0.15, 0.1, 0.05] + [0.0] * (V - 5)]).log().clamp(min=-1e9)
    for top_p, kept in (
        (1e-9, {0}),
        (0.4, {0}),
        (0.5001, {0, 1}),
        (0.69, {0, 1}),
        (0.71, {0, 1, 2}),
        (0.96, {0, 1, 2, 3, 4}),
    ):
        assert set(drawn(row, 2000, top_p=top_p)) == kept, top_p
    assert set(drawn(row, 200, top_p=0)) == {0}


def test_the_nucleus_of_one_row_is_not_anothers() -> None:
    row = logits(2)
    pair = torch.cat([row, row])
    narrow, wide = sampler(seed=1, top_p=0.01), sampler(seed=1, top_p=1)
    found = [choose(pair, [narrow, wide], V) for _ in range(300)]
    assert {two[0].id for two in found} == {int(row.argmax())} and len({two[1].id for two in found}) > 4


@pytest.mark.parametrize(("frequency", "presence"), [(0.7, 0.0), (0.0, 1.5), (-2.0, 2.0), (0.3, -0.4)])
def test_penalties_are_openais(frequency: float, presence: float) -> None:
    """mu[j] - c[j] * frequency - (c[j] > 0) * presence, c over what was written."""
    own, row = sampler(frequency_penalty=frequency, presence_penalty=presence), logits(3)[0]
    for id in (3, 3, 3, 7):
        own.took(id)
    expected = row.clone()
    expected[3] -= 3 * frequency + presence
    expected[7] -= 1 * frequency + presence
    assert torch.allclose(own.changed(row.clone()), expected)


def test_penalties_change_what_is_chosen_and_not_what_is_told() -> None:
    row = torch.zeros(1, V)
    row[0, 4], row[0, 5] = 2.0, 1.5
    own = sampler(temperature=0, presence_penalty=1.0)
    chosen = [choose(row, [own], V)[0] for _ in range(2)]
    assert [c.id for c in chosen] == [4, 5]
    expected = torch.log_softmax(row[0], -1)
    assert chosen[1].logprob == pytest.approx(float(expected[5]))


def test_biases() -> None:
    row = logits(4)
    assert choose(row, [sampler(temperature=0, logit_bias={9: 100.0})], V)[0].id == 9
    best = int(row.argmax())
    assert choose(row, [sampler(temperature=0, logit_bias={best: -100.0})], V)[0].id != best
    assert best not in drawn(row, 500, logit_bias={best: -100.0})
    assert choose(row, [sampler(temperature=0, logit_bias={9: 100.0})], V)[0].logprob == pytest.approx(
        float(torch.log_softmax(row[0], -1)[9]), abs=1e-6
    )


def test_a_seed_is_nobody_elses_business() -> None:
    """The same draws alone, in a batch, and in another row of it."""
    steps = [logits(n) for n in range(40)]
    alone, first, last = sampler(seed=11), sampler(seed=11), sampler(seed=11)
    others = [sampler(seed=n, top_p=0.5, temperature=0.7) for n in range(5)]
    for row in steps:
        noise = torch.randn(5, V)
        expected = choose(row, [alone], V)[0].id
        assert choose(torch.cat([row, noise]), [first, *others], V)[0].id == expected
        assert choose(torch.cat([noise, row]), [*others, last], V)[-1].id == expected
    assert drawn(logits(1), 30) == drawn(logits(1), 30)


def test_a_seed_is_no_matter_of_rounding() -> None:
    """Logits that differ in their last digits, as those of another batch do, over a flat vocabulary of 8,192 tokens."""
    draws = torch.Generator().manual_seed(0)
    one, other, wrong = sampler(seed=3), sampler(seed=3), 0
    for _ in range(2000):
        row = torch.randn(1, 8192, generator=draws)
        noise = 1 + torch.randn(1, 8192, generator=draws) * 3e-7
        wrong += choose(row, [one], 8192)[0].id != choose(row * noise, [other], 8192)[0].id
    assert wrong <= 1


def test_no_seed_draws_the_impossible() -> None:
    """Many draws over a large vocabulary of which two tokens have all the probability."""
    row = torch.full((1, 30_000), -1e4)
    row[0, [7, 8]] = 0.0
    own = sampler(seed=11)
    assert {choose(row, [own], 30_000)[0].id for _ in range(1000)} == {7, 8}


def test_no_token_that_the_tokenizer_does_not_know() -> None:
    row = torch.zeros(1, V)
    row[0, 10:] = 50.0
    assert choose(row, [sampler(temperature=0)], 10)[0].id < 10
    own = sampler(seed=0)
    assert all(choose(row, [own], 10)[0].id < 10 for _ in range(200))


def test_alternatives() -> None:
    rows = logits(6, rows=3)
    found = choose(rows, [sampler(temperature=0, alternatives=n) for n in (0, 2, 5)], V)
    own = torch.log_softmax(rows, -1)
    assert [len(c.alternatives) for c in found] == [0, 2, 5]
    for b, count in ((1, 2), (2, 5)):
        best = own[b].topk(count)
        assert [id for id, _ in found[b].alternatives] == best.indices.tolist()
        assert [value for _, value in found[b].alternatives] == pytest.approx(best.values.tolist(), abs=1e-6)


def test_given_tokens() -> None:
    rows = logits(7, rows=3)
    found, own = prompt_choices(rows, [1, 5, 2], 4), torch.log_softmax(rows, -1)
    for place, (id, choice) in enumerate(zip([1, 5, 2], found, strict=True)):
        assert choice.id == id and choice.logprob == pytest.approx(float(own[place, id]), abs=1e-6)
        assert [v for _, v in choice.alternatives] == pytest.approx(own[place].topk(4).values.tolist(), abs=1e-6)


def test_rounding_never_draws_the_impossible() -> None:
    row = torch.full((1, V), -torch.inf)
    row[0, 2], row[0, 5] = 0.0, -30.0
    own = sampler(seed=3)
    assert {choose(row, [own], V)[0].id for _ in range(2000)} <= {2, 5}
