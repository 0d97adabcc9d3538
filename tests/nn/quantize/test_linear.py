"""Quantized layers in models of several makes: what is replaced, what is left, what it answers, what it weighs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from groundtune.errors import ConfigError
from groundtune.nn.quantize.linear import QuantizedLinear, quantize, quantized_layers
from groundtune.nn.quantize.weights import Scheme

IDS = torch.tensor([[5, 60, 70, 200, 33, 120, 399, 8]])


def tiny_gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=400, n_positions=64, n_embd=32, n_layer=2, n_head=2)).eval()


def tiny_bert() -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(vocab_size=400, **shape)).eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits
    return found


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(((found - wanted).norm() / wanted.norm()).detach())


@pytest.mark.parametrize(("bits", "group_size", "limit"), [(8, None, 0.01), (4, 16, 0.13)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_multiplies_by_nearly_the_same_matrix(
    bits: int, group_size: int | None, limit: float, dtype: torch.dtype
) -> None:
    torch.manual_seed(1)
    plain, x = nn.Linear(33, 20), torch.randn(4, 7, 33)
    layer = QuantizedLinear.from_weight(plain.weight, plain.bias, Scheme(bits, group_size))
    found = layer(x.to(dtype))
    assert found.dtype == dtype
    assert found.shape == (4, 7, 20)
    exact = nn.functional.linear(x, layer.dequantized(torch.float32), plain.bias)
    assert relative(found.float(), exact) < (1e-6 if dtype == torch.float32 else 0.02)
    assert 0 < relative(exact, plain(x)) < limit


def test_a_layer_takes_the_bytes_it_says() -> None:
    layer = QuantizedLinear.from_weight(torch.randn(128, 256), None, Scheme(4, 64))
    assert layer.qweight.nbytes == 128 * 256 // 2
    assert layer.scales.nbytes == 128 * 4 * 2


def test_casting_and_moving_leave_the_scales_as_they_are() -> None:
    layer = QuantizedLinear.from_weight(torch.randn(8, 16), nn.Parameter(torch.randn(8)), Scheme(4, 8))
    before = layer.dequantized(torch.float32)
    for cast in (layer.to(torch.bfloat16), layer.float(), layer.double(), layer.half(), layer.to("cpu")):
        assert cast.scales.dtype == torch.float16
        assert cast.qweight.dtype == torch.uint8
    assert layer.bias is not None
    assert layer.bias.dtype == torch.float16
    assert torch.equal(layer.dequantized(torch.float32), before)


def test_a_llama_keeps_its_embeddings_and_its_tied_head(make_tiny_model: Callable[..., Any]) -> None:
    model = make_tiny_model().eval()
    before, embeddings = logits(model), model.get_input_embeddings().weight.clone()
    names = quantize(model, 4, 32)
    assert len(names) == 2 * 7
    assert set(names) == set(quantized_layers(model))
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert torch.equal(model.lm_head.weight, embeddings)
    assert 0 < relative(logits(model), before) < 0.3


def test_a_tied_head_is_not_quantized_even_when_asked_for(make_tiny_model: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="it is tied"):
        quantize(make_tiny_model(), 8, head=True)


def test_an_untied_head_is_quantized_when_asked_for(tiny_tokenizer: Any) -> None:
    from groundtune.nn.architectures import Shape, new_model

    shape = Shape(layers=1, width=64, heads=2, feed_forward=128, context_tokens=128, tied=False)
    model = new_model(shape, tiny_tokenizer, seed=0).eval()
    before = logits(model)
    assert "lm_head" not in quantize(copy.deepcopy(model), 8)
    assert "lm_head" in quantize(model, 8, head=True)
    assert 0 < relative(logits(model), before) < 0.02


def test_gpt2_keeps_its_matrices_turned_and_answers_the_same() -> None:
    model = tiny_gpt2()
    before = logits(model)
    assert len(quantize(model, 8)) == 2 * 4
    layer = model.transformer.h[0].attn.c_attn
    assert (layer.in_features, layer.out_features) == (32, 96)
    assert 0 < relative(logits(model), before) < 0.02


def test_an_encoder_keeps_its_task_head() -> None:
    model = tiny_bert()
    before = logits(model)
    names = quantize(model, 8)
    assert len(names) == 2 * 6 + 1  # and the pooler
    assert "classifier" not in names
    assert isinstance(model.classifier, nn.Linear)
    assert 0 < relative(logits(model), before) < 0.05


def test_layers_that_an_architecture_wants_in_float32_are_left() -> None:
    from transformers import T5Config, T5EncoderModel

    shape = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    torch.manual_seed(0)
    model = T5EncoderModel(T5Config(vocab_size=400, **shape)).eval()
    with torch.no_grad():
        before = model(IDS).last_hidden_state
        names = quantize(model, 8)
        after = model(IDS).last_hidden_state
    assert len(names) == 2 * 5  # four of attention and wi, not wo
    assert not [name for name in names if name.endswith(".wo")]
    assert 0 < relative(after, before) < 0.05


def test_twice_is_refused(make_tiny_model: Callable[..., Any]) -> None:
    model = make_tiny_model()
    quantize(model, 8)
    with pytest.raises(ConfigError, match="no linear layer to quantize"):
        quantize(model, 4)
