"""Perplexity: by hand, in windows, and the same text in bits a byte."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from groundtune.errors import InputError
from groundtune.nn.perplexity import Perplexity, perplexity, score_windows, windows

TEXT = "The mill stands by the river. Rolf Aden keeps it, and the café opens at 9:30."


def test_windows_lie_one_behind_the_other() -> None:
    assert list(windows(range(7), 3)) == [[0, 1, 2], [3, 4, 5]]  # a single token has nothing before it
    assert list(windows(range(5), 3)) == [[0, 1, 2], [3, 4]]
    assert list(windows([], 3)) == []


def test_a_uniform_model_is_as_perplexed_as_its_vocabulary_is_large(
    make_tiny_model: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    model = make_tiny_model().eval()
    with torch.no_grad():
        model.get_input_embeddings().weight.zero_()
    measured = perplexity(model, tiny_tokenizer, TEXT, window_tokens=32)
    assert measured.perplexity == pytest.approx(len(tiny_tokenizer))
    assert measured.bits_per_byte == pytest.approx(math.log2(len(tiny_tokenizer)) * measured.tokens / measured.bytes)


def test_it_is_the_models_own_loss(make_tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    model = make_tiny_model().eval()
    ids = tiny_tokenizer(TEXT)["input_ids"]
    measured = perplexity(model, tiny_tokenizer, TEXT, window_tokens=1000)
    with torch.no_grad():
        loss = float(model(torch.tensor([ids]), labels=torch.tensor([ids])).loss)
    assert math.log(measured.perplexity) == pytest.approx(loss, abs=1e-5)
    assert measured.tokens == len(ids) - 1
    assert measured.bytes == len(TEXT.encode()) - len(tiny_tokenizer.decode(ids[:1]).encode())


def test_windows_are_scored_by_themselves(make_tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    model, ids = make_tiny_model().eval(), tiny_tokenizer(TEXT)["input_ids"]
    both = score_windows(model, tiny_tokenizer, [ids[:10], ids[10:20]])
    one, other = (score_windows(model, tiny_tokenizer, [part]) for part in (ids[:10], ids[10:20]))
    assert both.nats == pytest.approx(one.nats + other.nats)
    assert (both.tokens, both.bytes) == (18, one.bytes + other.bytes)
    assert Perplexity(2 * math.log(2), 2, 1).bits_per_byte == pytest.approx(2.0)


def test_an_empty_text_is_refused(make_tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    with pytest.raises(InputError, match="is empty"):
        perplexity(make_tiny_model(), tiny_tokenizer, "", window_tokens=8)
