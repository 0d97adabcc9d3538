"""Quantization-aware training: the conversion changes nothing, gradients come through, and it pays."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.dataset.invented import invented_items
from groundtune.dataset.render import TokenRow
from groundtune.errors import ConfigError
from groundtune.nn.perplexity import perplexity
from groundtune.nn.quantize.aware import FakeQuantizedLinear, convert_qat, prepare_qat
from groundtune.nn.quantize.linear import quantize, quantized_layers
from groundtune.training.data import RowBatches
from groundtune.training.trainer import TrainSettings, train

IDS = torch.tensor([[5, 60, 70, 200, 33, 120, 399, 8]])
Maker = Callable[..., Any]
WINDOW = 64


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits
    return found


@pytest.mark.parametrize(("bits", "group_size", "clip"), [(4, 32, "max"), (4, None, "mse"), (8, None, "max")])
def test_conversion_changes_no_logit(make_tiny_model: Maker, bits: int, group_size: int | None, clip: str) -> None:
    model = make_tiny_model().eval()
    plain = logits(model)
    names = prepare_qat(model, bits, group_size, clip=clip)
    fake = logits(model)
    assert float((fake - plain).abs().max()) > 1e-4
    assert convert_qat(model) == names
    assert set(quantized_layers(model)) == set(names)
    assert torch.equal(logits(model), fake)


def test_a_wrapped_model_is_a_quantized_one_before_any_training(make_tiny_model: Maker) -> None:
    one, other = make_tiny_model().eval(), make_tiny_model().eval()
    prepare_qat(one, 4, 32)
    quantize(other, 4, 32)
    assert torch.equal(logits(one), logits(other))


def test_gpt2_is_wrapped_and_converted_too() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=400, n_positions=64, n_embd=32, n_layer=2, n_head=2)).eval()
    before = {name: p.shape for name, p in model.named_parameters()}
    prepare_qat(model, 4, 16)
    assert {name: p.shape for name, p in model.named_parameters()} == before
    fake = logits(model)
    convert_qat(model)
    assert torch.equal(logits(model), fake)


def test_gradients_reach_the_weights_as_if_they_were_not_rounded(make_tiny_model: Maker) -> None:
    model = make_tiny_model()
    prepare_qat(model, 4, 32)
    model(input_ids=IDS, labels=IDS).loss.backward()
    layers = [m for m in model.modules() if isinstance(m, FakeQuantizedLinear)]
    assert len(layers) == 14
    assert all(layer.weight.grad is not None and float(layer.weight.grad.abs().sum()) > 0 for layer in layers)
    layer = layers[0]
    x = torch.randn(3, layer.weight.shape[1])
    layer.weight.grad = None
    layer(x).sum().backward()
    assert torch.allclose(
        layer.weight.grad, x.sum(0).expand_as(layer.weight)
    )  # d sum(x W^T) / dW, whatever the rounding


def test_nothing_to_convert_is_said(make_tiny_model: Maker) -> None:
    with pytest.raises(ConfigError, match="nothing to convert"):
        convert_qat(make_tiny_model())


def test_aware_training_ends_below_rounding_afterwards(
    make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    """int4 with one scale a channel, on a model that has learnt its text: measured 1.12 as floats, 1.23 and, with the best
    clip, 1.19 rounded afterwards, 1.15 trained aware. Floats and aware ones go on from the same model for equally long."""
    text = "\n".join(item.passage for item in islice(invented_items(0), 12))
    ids = tiny_tokenizer(text)["input_ids"]
    pieces = [tuple(ids[i : i + WINDOW]) for i in range(0, len(ids) - 1, WINDOW)]
    rows = [TokenRow(piece, (True,) * len(piece)) for piece in pieces]
    channel = 10_000  # inputs a group: more than there are

    def trained(model: Any, epochs: int, rate: float, name: str) -> Any:
        batches = RowBatches(rows, batch_tokens=512, epochs=epochs, seed=0)
        train(model, batches, TrainSettings(learning_rate=rate, warmup_steps=5), tmp_path / name)
        return model

    def measured(model: Any) -> float:
        return perplexity(model.eval(), tiny_tokenizer, text, window_tokens=WINDOW).perplexity

    start = trained(make_tiny_model(), 60, 1e-2, "start")
    floats = trained(copy.deepcopy(start), 10, 1e-3, "floats")
    rounded, clipped, aware = (copy.deepcopy(m) for m in (floats, floats, start))
    quantize(rounded, 4, channel)
    quantize(clipped, 4, channel, clip="mse")
    prepare_qat(aware, 4, channel)
    trained(aware, 10, 1e-3, "aware")
    convert_qat(aware)
    real, after, best = measured(floats), measured(rounded), measured(clipped)
    assert real < 1.25 and after > 1.04 * real, (real, after)
    assert measured(aware) < min(best, real + 0.6 * (after - real)), (real, after, best, measured(aware))
