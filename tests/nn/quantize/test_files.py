"""Quantized folders: they load as what was saved, weigh what they should, answer questions; spoilt ones are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from groundtune.backends.local import LocalBackend
from groundtune.dataset.prompts import closed_book
from groundtune.errors import ConfigError, GroundtuneError, InputError
from groundtune.nn.checkpoints import load_model, open_model
from groundtune.nn.quantize.files import quantization_of, register, save_quantized
from groundtune.nn.quantize.linear import QuantizedLinear, quantize, quantized_layers

IDS = torch.tensor([[5, 60, 70, 200, 33, 120, 399, 8]])
Maker = Callable[..., Any]


@pytest.fixture(scope="module", params=[8, 4])
def saved(
    request: Any, make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Path, int]:
    """A quantized model, the folder it was written to, its bits."""
    model = make_tiny_model().eval()
    quantize(model, request.param, clip="mse")
    folder = tmp_path_factory.mktemp("quantized")
    save_quantized(model, tiny_tokenizer, folder)
    return model, folder, request.param


def test_it_loads_as_what_was_saved(saved: tuple[Any, Path, int]) -> None:
    model, folder, bits = saved
    loaded, tokenizer = open_model(str(folder), torch.float32)
    layers = quantized_layers(loaded)
    assert set(layers) == set(quantized_layers(model))
    for name, layer in layers.items():
        assert torch.equal(layer.qweight, quantized_layers(model)[name].qweight)
        assert torch.equal(layer.scales, quantized_layers(model)[name].scales)
        assert layer.scales.dtype == torch.float16
        assert layer.qweight.dtype == (torch.uint8 if bits == 4 else torch.int8)
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight
    with torch.no_grad():
        assert float((loaded.eval()(IDS).logits - model(IDS).logits).abs().max()) < 1e-6
    assert tokenizer.chat_template


def test_the_rest_takes_the_dtype_asked_for(saved: tuple[Any, Path, int]) -> None:
    loaded, _ = open_model(str(saved[1]), torch.bfloat16)
    assert loaded.get_input_embeddings().weight.dtype == torch.bfloat16
    assert {layer.scales.dtype for layer in quantized_layers(loaded).values()} == {torch.float16}


def test_config_and_file_say_and_hold_what_is_stored(saved: tuple[Any, Path, int]) -> None:
    _, folder, bits = saved
    said = quantization_of(folder)
    assert said is not None
    assert said["quant_method"] == "groundtune"
    assert (said["bits"], said["group_size"], said["clip"]) == (bits, 64 if bits == 4 else None, "mse")
    assert said["modules_to_not_convert"] == ["lm_head"]
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.down_proj"
    assert tensors[f"{name}.qweight"].shape == (64, 64 if bits == 4 else 128)
    assert tensors[f"{name}.scales"].dtype == torch.float16
    assert f"{name}.weight" not in tensors


def test_it_answers_through_the_local_backend(saved: tuple[Any, Path, int]) -> None:
    written = LocalBackend(str(saved[1])).generate(closed_book("Who keeps the mill?"), max_tokens=5)
    assert 1 <= written.usage.completion_tokens <= 5


def test_a_loaded_model_is_saved_again(saved: tuple[Any, Path, int], tmp_path: Path) -> None:
    loaded, tokenizer = open_model(str(saved[1]), torch.float32)
    save_quantized(loaded, tokenizer, tmp_path)
    again, _ = open_model(str(tmp_path), torch.float32)
    with torch.no_grad():
        assert torch.equal(again.eval()(IDS).logits, loaded.eval()(IDS).logits)


def test_nothing_is_merged_into_it(saved: tuple[Any, Path, int], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be merged into .* quantized"):
        load_model(str(saved[1]), adapter=str(tmp_path))


@pytest.mark.parametrize("make", ["gpt2", "untied head and odd widths"])
def test_other_makes_load_too(make: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    from groundtune.nn.architectures import Shape, new_model

    torch.manual_seed(0)
    model: Any
    if make == "gpt2":
        ends = {"bos_token_id": 0, "eos_token_id": 0}
        model = GPT2LMHeadModel(GPT2Config(vocab_size=400, n_positions=64, n_embd=32, n_layer=2, n_head=2, **ends))
    else:
        shape = Shape(layers=1, width=36, heads=2, feed_forward=57, context_tokens=128, tied=False)
        model = new_model(shape, tiny_tokenizer, seed=0)
    quantize(model.eval(), 4, 16, head=make != "gpt2")
    save_quantized(model, tiny_tokenizer, tmp_path)
    loaded, _ = open_model(str(tmp_path), torch.float32)
    with torch.no_grad():
        assert float((loaded.eval()(IDS).logits - model(IDS).logits).abs().max()) < 1e-5
    assert isinstance(loaded.lm_head, QuantizedLinear) == (make != "gpt2")


def test_an_encoder_is_read_by_transformers_once_it_knows_us(tiny_tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=400, **shape)).eval()
    quantize(model, 4, 16)
    save_quantized(model, tiny_tokenizer, tmp_path)
    register()
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert len(quantized_layers(loaded)) == 13
    with torch.no_grad():
        assert float((loaded(IDS).logits - model(IDS).logits).abs().max()) < 1e-6


SPOILT = {
    "bits": {"bits": 5},
    "other bits": {"bits": 8, "group_size": 64},
    "other groups": {"group_size": 16},
    "other layers": {"modules_to_not_convert": []},
    "other method": {"quant_method": "nobodys"},
}


@pytest.mark.parametrize("spoil", [*SPOILT, "a missing tensor"])
def test_a_spoilt_folder_is_refused(spoil: str, make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path: Path) -> None:
    model = make_tiny_model()
    quantize(model, 4, 32)
    save_quantized(model, tiny_tokenizer, tmp_path)
    if spoil in SPOILT:
        file = tmp_path / "config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        config["quantization_config"].update(SPOILT[spoil])
        file.write_text(json.dumps(config), encoding="utf-8")
    else:
        tensors = load_file(tmp_path / "model.safetensors")
        del tensors["model.layers.1.mlp.up_proj.scales"]
        save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(GroundtuneError, match=r"bits is 5|missing or of another shape|lacks lm_head, which is tied"):
        open_model(str(tmp_path), torch.float32)


def test_a_plain_model_is_not_saved_as_quantized(make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 kinds of quantized layers"):
        save_quantized(make_tiny_model(), tiny_tokenizer, tmp_path)
    shutil.rmtree(tmp_path)
    assert quantization_of(tmp_path) is None
