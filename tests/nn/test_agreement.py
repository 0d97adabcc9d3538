"""Comparing two models by their logits: nothing for the same, a little for rounding, one and more for strangers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from groundtune.errors import InputError
from groundtune.nn.agreement import check_tokenizers, compare_logits, probe_logits

Maker = Callable[..., Any]


def test_the_same_model_agrees_with_itself(make_tiny_model: Maker, tiny_tokenizer: Any) -> None:
    logits = probe_logits(make_tiny_model().eval(), tiny_tokenizer)
    assert logits.shape[1] == len(tiny_tokenizer)
    assert logits.shape[0] > 60
    same = compare_logits(logits, logits)
    assert (same.error, same.largest, same.same_token) == (0, 0, 1)


def test_strangers_are_far_apart(make_tiny_model: Maker, tiny_tokenizer: Any) -> None:
    one, other = (probe_logits(make_tiny_model(seed).eval(), tiny_tokenizer) for seed in (0, 1))
    assert compare_logits(one, other).error > 1


def test_the_error_is_in_standard_deviations() -> None:
    wanted = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
    found = torch.tensor([[1.5, -1.5], [-1.0, 1.0]])
    measured = compare_logits(wanted, found)
    assert measured.error == pytest.approx(((0.25 + 4) / 2) ** 0.5)
    assert measured.largest == 2
    assert measured.same_token == 0.5


def test_what_is_added_to_all_logits_of_a_place_is_no_difference() -> None:
    wanted = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert compare_logits(wanted, wanted + torch.arange(5.0)[:, None]).error < 1e-6


def test_numbers_that_are_none_are_far_away() -> None:
    wanted = torch.ones(2, 3)
    assert not compare_logits(wanted, wanted * float("nan")).error <= 1e9


def test_other_vocabularies_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(2, 4\) where \(2, 3\)"):
        compare_logits(torch.zeros(2, 3), torch.zeros(2, 4))


def test_a_lost_template_and_other_tokens_are_seen(tiny_tokenizer: Any) -> None:
    from groundtune.nn.tokenizer import train_tokenizer

    check_tokenizers(tiny_tokenizer, copy.deepcopy(tiny_tokenizer), "out")
    bare = copy.deepcopy(tiny_tokenizer)
    bare.chat_template = None
    with pytest.raises(InputError, match="out: the chat template"):
        check_tokenizers(tiny_tokenizer, bare, "out")
    other = train_tokenizer(iter(["Other words make other tokens."]), vocabulary=300, context_tokens=256)
    with pytest.raises(InputError, match="out: the tokens"):
        check_tokenizers(tiny_tokenizer, other, "out")
