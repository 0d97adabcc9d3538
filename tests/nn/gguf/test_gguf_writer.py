"""GGUF files read again: by gguf's reader tensor by tensor, by transformers' reader as a model, and their metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from groundtune.errors import ConfigError, InputError
from groundtune.nn.gguf.check import check_file, largest_error, open_gguf, read_metadata, read_tensors
from groundtune.nn.gguf.writer import chat_template, permuted, stored_type, tensors, write_gguf
from llama_models import MAKES, small_llama

IDS = torch.tensor([[5, 60, 70, 200, 33, 120, 399, 8]])
gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits
    return found


@pytest.fixture(params=["f32", "f16", "q8_0", "q4_0"])
def kind(request: Any) -> str:
    return str(request.param)


def test_every_tensor_is_there_within_its_types_error(kind: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    model = small_llama("untied", tiny_tokenizer)
    write_gguf(model, tiny_tokenizer, tmp_path / "m.gguf", kind)
    found, wanted = read_tensors(tmp_path / "m.gguf"), dict(tensors(model))
    assert found.keys() == wanted.keys()
    assert len(found) == 2 + 2 * 9 + 1
    errors = check_file(tmp_path / "m.gguf", model)
    assert max(errors.values()) <= {"f32": 0, "f16": 3e-4, "q8_0": 0.01, "q4_0": 0.12}[kind]
    assert (max(errors.values()) > 0) == (kind != "f32")
    types = {name: stored for name, (stored, _) in found.items()}
    assert {types[n] for n in types if n.endswith("norm.weight")} == {"F32"}
    assert types["token_embd.weight"] == types["output.weight"] == {"q4_0": "Q8_0"}.get(kind, kind.upper())
    assert types["blk.1.ffn_down.weight"] == kind.upper()


@pytest.mark.parametrize("make", MAKES)
def test_transformers_reads_the_same_model(make: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    model = small_llama(make, tiny_tokenizer)
    write_gguf(model, tiny_tokenizer, tmp_path / "m.gguf", "f32")
    assert float((logits(open_gguf(tmp_path / "m.gguf", model.config)) - logits(model)).abs().max()) < 1e-5


def test_queries_that_are_not_permuted_would_be_seen(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_llama("untied", tiny_tokenizer)
    monkeypatch.setattr("groundtune.nn.gguf.writer.permuted", lambda weight, heads: weight)
    write_gguf(model, tiny_tokenizer, tmp_path / "m.gguf", "f32")
    assert float((logits(open_gguf(tmp_path / "m.gguf", model.config)) - logits(model)).abs().max()) > 0.1


def test_a_tied_head_is_stored_once(tiny_tokenizer: Any, tmp_path: Path) -> None:
    write_gguf(small_llama("grouped heads, tied", tiny_tokenizer), tiny_tokenizer, tmp_path / "m.gguf", "f16")
    assert "output.weight" not in read_tensors(tmp_path / "m.gguf")


def test_the_metadata_says_everything(tiny_tokenizer: Any, tmp_path: Path) -> None:
    model = small_llama("wide heads", tiny_tokenizer)
    words = write_gguf(model, tiny_tokenizer, tmp_path / "m.gguf", "q8_0", name="small")
    said = read_metadata(tmp_path / "m.gguf")
    assert said["general.architecture"] == "llama"
    assert said["general.name"] == "small"
    assert said["general.file_type"] == gguf.LlamaFileType.MOSTLY_Q8_0
    shape = {
        "vocab_size": 400, "context_length": 128, "embedding_length": 64, "block_count": 2, "feed_forward_length": 96,
        "attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": 32, "rope.dimension_count": 32,
        "rope.freq_base": 10_000.0,
    }  # fmt: skip
    assert {key: said[f"llama.{key}"] for key in shape} == shape
    assert said["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-6)
    assert said["tokenizer.ggml.model"] == "gpt2"
    assert said["tokenizer.ggml.pre"] == words.pre == "qwen2"
    assert said["tokenizer.ggml.tokens"] == words.tokens
    assert said["tokenizer.ggml.token_type"] == words.types
    assert said["tokenizer.ggml.merges"] == words.merges
    assert said["tokenizer.ggml.eos_token_id"] == tiny_tokenizer.eos_token_id
    assert said["tokenizer.ggml.padding_token_id"] == tiny_tokenizer.pad_token_id
    assert "tokenizer.ggml.bos_token_id" not in said
    assert (said["tokenizer.ggml.add_bos_token"], said["tokenizer.ggml.add_eos_token"]) == (False, False)
    assert said["tokenizer.chat_template"] == chat_template(tiny_tokenizer)
    assert "generation %}" not in said["tokenizer.chat_template"]


def test_the_template_renders_the_same_without_its_marks(tiny_tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ann"}]
    rendered = [
        tiny_tokenizer.apply_chat_template(messages, tokenize=False, chat_template=template)
        for template in (tiny_tokenizer.chat_template, chat_template(tiny_tokenizer))
    ]
    assert rendered[0] == rendered[1] == "<|user|>Who?<|end|><|assistant|>Ann<|end|>"
    assert "generation" in tiny_tokenizer.chat_template


def test_halves_become_pairs() -> None:
    """Two heads of four rows: x1 x2 y1 y2 become x1 y1 x2 y2."""
    assert permuted(np.arange(8).reshape(8, 1), 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize(
    ("name", "shape", "kind", "stored"),
    [
        ("blk.0.attn_q.weight", (64, 64), "q4_0", "Q4_0"),
        ("blk.0.ffn_down.weight", (64, 80), "q4_0", "F16"),  # 80 is no multiple of 32
        ("token_embd.weight", (400, 64), "q4_0", "Q8_0"),
        ("output_norm.weight", (64,), "q8_0", "F32"),
        ("output.weight", (400, 64), "f16", "F16"),
    ],
)
def test_which_tensor_is_stored_as_what(name: str, shape: tuple[int, ...], kind: str, stored: str) -> None:
    assert stored_type(name, shape, kind) == stored


@pytest.mark.parametrize("stored", ["F16", "Q8_0", "Q4_0"])
def test_the_allowed_error_is_no_wider_than_needed(stored: str) -> None:
    """What gguf itself makes of random weights uses most of what is allowed, and never more."""
    weight = np.random.default_rng(0).normal(0, 0.1, (64, 256)).astype(np.float32)
    qtype = gguf.GGMLQuantizationType[stored]
    error = np.abs(gguf.quants.dequantize(gguf.quants.quantize(weight, qtype), qtype) - weight)
    assert 0.8 < float((error / largest_error(weight, stored)).max()) <= 1


@pytest.mark.parametrize("spoil", ["a value", "a swapped layer", "missing", "too many"])
def test_a_file_that_is_not_the_model_is_refused(spoil: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    model = small_llama("untied", tiny_tokenizer)
    write_gguf(model, tiny_tokenizer, tmp_path / "m.gguf", "q8_0")
    layers = model.model.layers
    with torch.no_grad():
        match spoil:
            case "a value":
                layers[0].mlp.up_proj.weight[3, 5] += 0.01
            case "a swapped layer":
                layers[0].mlp.up_proj, layers[1].mlp.up_proj = layers[1].mlp.up_proj, layers[0].mlp.up_proj
            case "missing":
                layers[0].mlp.up_proj.bias = torch.nn.Parameter(torch.zeros(96))
            case "too many":
                model.lm_head.weight = model.model.embed_tokens.weight
    with pytest.raises(InputError, match=r"is not what was written|tensors that the model does not have"):
        check_file(tmp_path / "m.gguf", model)


def test_a_cut_off_file_is_refused(tiny_tokenizer: Any, tmp_path: Path) -> None:
    model = small_llama("untied", tiny_tokenizer)
    write_gguf(model, tiny_tokenizer, tmp_path / "m.gguf", "q8_0")
    (tmp_path / "m.gguf").write_bytes((tmp_path / "m.gguf").read_bytes()[:-5000])
    with pytest.raises(InputError, match="cannot be read as GGUF"):
        check_file(tmp_path / "m.gguf", model)


def test_what_cannot_be_written_is_refused(tiny_tokenizer: Any, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = small_llama("untied", tiny_tokenizer)
    with pytest.raises(ConfigError, match="gguf type 'q5_0'"):
        write_gguf(model, tiny_tokenizer, tmp_path / "m.gguf", "q5_0")
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=1, n_head=2))
    with pytest.raises(InputError, match="gpt2 models cannot be written to GGUF here"):
        write_gguf(gpt2, tiny_tokenizer, tmp_path / "m.gguf")
    model.config.rope_parameters = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}
    with pytest.raises(InputError, match="cannot be written to GGUF here"):
        write_gguf(model, tiny_tokenizer, tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()


def test_without_the_extra_it_says_what_to_install(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(ConfigError, match=r"needs the package gguf") as caught:
        write_gguf(small_llama("untied", tiny_tokenizer), tiny_tokenizer, tmp_path / "m.gguf")
    assert "pip install 'groundtune[gguf]'" in str(caught.value)
