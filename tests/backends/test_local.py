"""Generating in this process: a batch answers as one by one, long prompts still answer, probabilities add up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from groundtune.backends.local import Draws, LocalBackend, open_backend
from groundtune.dataset.prompts import closed_book, with_passages
from groundtune.dataset.render import render_prompt
from groundtune.records import Generation, Message


@pytest.fixture(scope="module")
def backend(
    make_tiny_model: Callable[..., Any], tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> LocalBackend:
    """A random model with large weights: its answers differ from prompt to prompt, as a fresh one's do not."""
    folder = tmp_path_factory.mktemp("lively")
    model = make_tiny_model()
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.15 if "norm" not in name else 1.0))
    model.save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return open_backend(str(folder))


CONVERSATIONS: list[list[Message]] = [
    *(closed_book(f"What is the {word}?") for word in "price date name colour rule".split()),
    *(with_passages(["The fair is on 9 August. " * n], "When is the fair?") for n in (1, 2, 4, 6)),
    closed_book("Why?", shots=[("Who?", "Ann"), ("Where?", "Oslo")]),
]


def same(a: Generation, b: Generation) -> bool:
    return (a.text, a.usage) == (b.text, b.usage) and a.logprobs == pytest.approx(b.logprobs, abs=1e-3)


def test_a_batch_answers_as_one_by_one(backend: LocalBackend) -> None:
    alone = [backend.generate(c, max_tokens=12) for c in CONVERSATIONS]
    assert len({g.text for g in alone}) > len(alone) / 2  # else nothing would be compared
    for size in (3, 16):
        together = backend.generate_batch(CONVERSATIONS, max_tokens=12, batch_size=size)
        assert all(same(a, b) for a, b in zip(alone, together, strict=True))


def test_answers_come_in_the_order_of_the_questions(backend: LocalBackend) -> None:
    backwards = backend.generate_batch(CONVERSATIONS[::-1], max_tokens=8)
    assert [g.text for g in backwards[::-1]] == [g.text for g in backend.generate_batch(CONVERSATIONS, max_tokens=8)]


def test_no_questions_no_answers(backend: LocalBackend) -> None:
    assert backend.generate_batch([]) == []


def test_an_over_long_prompt_still_answers(backend: LocalBackend) -> None:
    long = with_passages(["The fair is on 9 August. " * 200], "When is the fair?")
    assert len(render_prompt(backend.tokenizer, long)) > 2 * backend.context_tokens
    alone, beside = (
        backend.generate(long, max_tokens=10),
        backend.generate_batch([CONVERSATIONS[0], long], max_tokens=10)[1],
    )
    assert alone.usage.prompt_tokens == backend.context_tokens - 10
    assert alone.usage.completion_tokens >= 1
    assert same(alone, beside)


def test_the_end_of_a_long_prompt_is_kept(backend: LocalBackend) -> None:
    answers = [
        backend.generate(with_passages(["The fair. " * 400], q), max_tokens=6).text
        for q in ("When is it?", "Who pays for it?")
    ]
    assert answers[0] != answers[1]


def test_log_probabilities_belong_to_the_written_tokens(backend: LocalBackend) -> None:
    for conversation, generation in zip(
        CONVERSATIONS, backend.generate_batch(CONVERSATIONS, max_tokens=12), strict=True
    ):
        assert len(generation.logprobs) == generation.usage.completion_tokens
        assert all(p <= 0 for p in generation.logprobs)
        assert generation.usage.prompt_tokens == len(render_prompt(backend.tokenizer, conversation))


def test_log_probabilities_are_the_model_s(backend: LocalBackend) -> None:
    prompt = render_prompt(backend.tokenizer, CONVERSATIONS[0])
    generation = backend.generate(CONVERSATIONS[0], max_tokens=4)
    ids, expected = list(prompt), []
    for _ in generation.logprobs:
        with torch.no_grad():
            log_probabilities = torch.log_softmax(backend.model(torch.tensor([ids])).logits[0, -1].float(), -1)
        token = int(log_probabilities.argmax())
        expected.append(float(log_probabilities[token]))
        ids.append(token)
    assert generation.logprobs == pytest.approx(expected, abs=1e-3)


def test_an_end_marker_ends_the_answer(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = backend.generate(CONVERSATIONS[0], max_tokens=8)
    ids, end = render_prompt(backend.tokenizer, CONVERSATIONS[0]), None
    with torch.no_grad():
        for _ in range(3):
            end = int(backend.model(torch.tensor([ids])).logits[0, -1].argmax())
            ids.append(end)
    monkeypatch.setattr(backend.model.generation_config, "eos_token_id", [end])
    cut = backend.generate(CONVERSATIONS[0], max_tokens=8)
    assert cut.usage.completion_tokens <= 3 < whole.usage.completion_tokens
    assert cut.logprobs == pytest.approx(whole.logprobs[: cut.usage.completion_tokens], abs=1e-3)


def test_count_tokens(backend: LocalBackend) -> None:
    assert backend.count_tokens("") == 0
    assert backend.count_tokens("1234") == 4  # digits stand alone


def test_samples_are_the_same_in_any_batch_and_others_by_another_seed(backend: LocalBackend) -> None:
    seeds = list(range(len(CONVERSATIONS)))
    together = backend.sample_batch(CONVERSATIONS, temperature=1.5, seeds=seeds, max_tokens=8, batch_size=4)
    alone = [
        backend.sample_batch([c], temperature=1.5, seeds=[s], max_tokens=8)[0]
        for c, s in zip(CONVERSATIONS, seeds, strict=True)
    ]
    assert [g.text for g in together] == [g.text for g in alone]
    other = backend.sample_batch(CONVERSATIONS, temperature=1.5, seeds=[s + 99 for s in seeds], max_tokens=8)
    assert sum(a.text != b.text for a, b in zip(alone, other, strict=True)) > len(alone) / 2
    cold = backend.sample_batch(CONVERSATIONS, temperature=1e-6, seeds=seeds, max_tokens=8)
    assert [g.text for g in cold] == [g.text for g in backend.generate_batch(CONVERSATIONS, max_tokens=8)]


def test_samples_follow_the_model_s_probabilities() -> None:
    logits_BV = torch.log(torch.tensor([[0.1, 0.2, 0.7]])).repeat(6000, 1)
    for temperature, shares in ((1.0, (0.1, 0.2, 0.7)), (0.5, (0.0185, 0.0741, 0.9074))):
        drawn_B = Draws(temperature, range(6000))(torch.empty(0), logits_BV).argmax(-1)
        found = [(drawn_B == n).double().mean().item() for n in range(3)]
        assert found == pytest.approx(shares, abs=0.025)  # four standard errors
