"""Published shapes: counted by formula and from the modules alike, and to the printed number where that number is right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from groundtune.errors import UnknownNameError
from groundtune.nn import architectures
from groundtune.nn.architectures import new_named_model
from groundtune.nn.shapes import SHAPES, count_parameters, named_shape, on_meta, shape_config

NAMES = (
    "gpt1 gpt2 gpt2-medium gpt2-large gpt2-xl gpt3-small gpt3-medium gpt3-large gpt3-xl gpt3-2.7b gpt3-6.7b gpt3-13b "
    "gpt3-175b llama2-7b llama2-13b llama2-70b llama3.2-1b llama3.2-3b tinyllama-1.1b qwen3-0.6b pebble-24m"
).split()
#: printed numbers that no count of the printed shape gives; what it gives instead (see each shape's note)
UNLIKE_PRINTED = {
    "gpt3-medium": 355_871_744,
    "gpt3-13b": 12_853_386_240,
    "gpt3-175b": 174_604_259_328,
    "llama3.2-1b": 1_235_814_400,
}


def as_printed(count: int, printed: str) -> str:
    """A count with the digits of a printed number: 1_315_723_264 like "1.3B" is "1.3B". Final zeros are no digits."""
    unit = {"M": 1e6, "B": 1e9}[printed[-1]]
    whole, _, decimals = printed[:-1].partition(".")
    if decimals:
        return f"{count / unit:.{len(decimals)}f}{printed[-1]}"
    zeros = len(whole) - len(whole.rstrip("0"))
    return f"{round(count / unit, -zeros):.0f}{printed[-1]}"


def test_every_shape_has_a_name() -> None:
    assert list(SHAPES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_formula_counts_what_the_modules_have(name: str) -> None:
    shape = SHAPES[name]
    assert count_parameters(shape) == sum(p.numel() for p in on_meta(shape_config(shape)).parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_count_is_the_printed_number(name: str) -> None:
    shape = SHAPES[name]
    same = as_printed(count_parameters(shape), shape.published) == shape.published
    if name in UNLIKE_PRINTED:
        assert not same
        assert count_parameters(shape) == UNLIKE_PRINTED[name]
        assert "counts" in shape.note
    else:
        assert same


def test_125m_is_125m() -> None:
    assert count_parameters(SHAPES["gpt3-small"]) == 125_226_240


@pytest.mark.parametrize("name", NAMES)
def test_heads_make_the_width(name: str) -> None:
    """The rule that shows the slips of GPT-3's table: XL with 24 heads and 13B at width 5,140 break it."""
    shape = SHAPES[name]
    if shape.architecture != "qwen3":  # whose heads are wider than the stream
        assert shape.heads * shape.head_size == shape.width


def test_what_the_printed_slips_would_count() -> None:
    narrow = SHAPES["gpt3-13b"]
    assert narrow.width == 5120
    assert as_printed(count_parameters(replace(narrow, width=5140, feed_forward=4 * 5140)), "13.0B") == "13.0B"
    assert SHAPES["gpt3-xl"].heads == 16
    assert SHAPES["gpt3-xl"].width % 24  # 24 heads do not divide it


def test_published_rates_and_batches() -> None:
    table = {
        "gpt3-small": (500_000, 6.0e-4),
        "gpt3-medium": (500_000, 3.0e-4),
        "gpt3-large": (500_000, 2.5e-4),
        "gpt3-xl": (1_000_000, 2.0e-4),
        "gpt3-2.7b": (1_000_000, 1.6e-4),
        "gpt3-6.7b": (2_000_000, 1.2e-4),
        "gpt3-13b": (2_000_000, 1.0e-4),
        "gpt3-175b": (3_200_000, 0.6e-4),
        "gpt2": (524_288, None),
        "qwen3-0.6b": (None, None),
    }
    assert {n: (SHAPES[n].batch_tokens, SHAPES[n].learning_rate) for n in table} == table


def test_an_unknown_shape_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="gpt3-small"):
        named_shape("gpt3-smal")


def small(name: str) -> Any:
    """A shape of the same kind in two layers."""
    shape = SHAPES[name]
    heads = (2, 1) if shape.key_value_heads < shape.heads else (2, 2)
    return replace(
        shape,
        layers=2,
        width=32,
        heads=2,
        key_value_heads=heads[1],
        head_size=32 if name.startswith("qwen") else 16,
        feed_forward=48 if shape.architecture != "gpt2" else 128,
        context_tokens=64,
    )


@pytest.mark.parametrize("name", ["gpt1", "gpt3-13b", "llama2-70b", "llama3.2-1b", "qwen3-0.6b", "pebble-24m"])
def test_a_new_model_has_the_tokenizers_vocabulary_and_runs(
    name: str, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = small(name)
    monkeypatch.setattr(architectures, "named_shape", lambda _: shape)
    model = new_named_model(name, tiny_tokenizer, seed=3)
    counted = replace(shape, vocabulary=len(tiny_tokenizer))
    assert sum(p.numel() for p in model.parameters()) == count_parameters(counted)
    assert model.config.model_type == shape.architecture
    assert model.config.eos_token_id == tiny_tokenizer.eos_token_id
    logits_BTV = model(torch.tensor([[1, 2, 3]])).logits
    assert logits_BTV.shape == (1, 3, len(tiny_tokenizer))
    assert abs(float(torch.log_softmax(logits_BTV.detach(), -1).mean()) + torch.tensor(len(tiny_tokenizer)).log()) < 0.1
    again = new_named_model(name, tiny_tokenizer, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(("name", "ending"), [("gpt1", "c_proj.weight"), ("llama2-70b", "down_proj.weight")])
def test_writes_to_the_residual_stream_start_smaller(
    name: str, ending: str, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(architectures, "named_shape", lambda _: small(name))
    model = new_named_model(name, tiny_tokenizer, seed=0)
    scaled = torch.cat([p.detach().flatten() for n, p in model.named_parameters() if n.endswith(ending)])
    assert float(scaled.std()) == pytest.approx(0.02 / 2, rel=0.05)  # 1/sqrt(2 x 2 layers)


def test_another_context(tiny_tokenizer: Any) -> None:
    model = new_named_model("pebble-24m", tiny_tokenizer, seed=0, context_tokens=128)
    assert model.config.max_position_embeddings == 128
