"""Merging LoRA by hand: the same logits as PEFT's, and no adapter that does not fit goes by unseen."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.dataset.prompts import closed_book
from groundtune.dataset.render import render_example
from groundtune.errors import InputError
from groundtune.methods import lora
from groundtune.nn.adapters import merge_lora
from groundtune.nn.checkpoints import load_model
from groundtune.records import Message
from groundtune.training.data import RowBatches
from groundtune.training.trainer import TrainSettings, train

Maker = Callable[..., Any]
IDS = torch.tensor([[5, 60, 70, 200, 33, 120, 399, 8]])


@pytest.fixture(scope="module")
def adapted(make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A PEFT model after one training step, and the folder its adapter is saved in."""
    model = lora.attach(make_tiny_model(), lora.Options(rank=4, alpha=12), base="")
    conversation = [*closed_book("Who keeps the mill?"), Message("assistant", "Rolf Aden")]
    row = render_example(tiny_tokenizer, conversation, max_tokens=256, where="test")
    folder = tmp_path_factory.mktemp("adapter")
    train(
        model,
        RowBatches([row], batch_tokens=256, epochs=1, seed=0),
        TrainSettings(learning_rate=0.05, warmup_steps=0),
        folder / "checkpoints",
    )
    model.save_pretrained(folder / "weights")
    return model.eval(), folder / "weights"


@pytest.fixture
def adapter(adapted: tuple[Any, Path], tmp_path: Path) -> Path:
    """A copy of the adapter to spoil."""
    return Path(shutil.copytree(adapted[1], tmp_path / "adapter"))


def test_one_step_moves_every_matrix(adapted: tuple[Any, Path]) -> None:
    moved = {name: float(p.detach().abs().max()) for name, p in adapted[0].named_parameters() if "lora_B" in name}
    assert len(moved) == 2 * 7
    assert all(size > 0 for size in moved.values()), moved


def test_merged_weights_answer_as_peft_does(adapted: tuple[Any, Path], make_tiny_model: Maker) -> None:
    plain = make_tiny_model().eval()
    with torch.no_grad():
        before = plain(IDS).logits
        assert merge_lora(plain, adapted[1]) == 2 * 7
        theirs, ours = adapted[0](IDS).logits, plain(IDS).logits
    assert float((theirs - before).abs().max()) > 1e-2
    assert float((theirs - ours).abs().max()) < 1e-5


def test_a_model_that_keeps_its_matrices_turned_is_adapted_and_merged_too(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    plain = GPT2LMHeadModel(GPT2Config(vocab_size=400, n_positions=64, n_embd=32, n_layer=2, n_head=2)).eval()
    adapted = lora.attach(copy.deepcopy(plain), lora.Options(rank=4), base="").eval()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    adapted.save_pretrained(tmp_path)
    assert merge_lora(plain, tmp_path) == 2 * 4
    with torch.no_grad():
        assert float((adapted(IDS).logits - plain(IDS).logits).abs().max()) < 1e-4


def test_a_model_is_loaded_with_its_adapter(adapted: tuple[Any, Path], tiny_model_path: Path) -> None:
    model, _ = load_model(str(tiny_model_path), adapter=str(adapted[1]))
    with torch.no_grad():
        assert float((adapted[0](IDS).logits - model(IDS).logits).abs().max()) < 1e-5


def test_an_adapter_of_a_wider_model_is_refused(adapter: Path, tiny_tokenizer: Any) -> None:
    from groundtune.nn.architectures import Shape, new_model

    wider = new_model(Shape(layers=2, width=96, heads=2, feed_forward=128), tiny_tokenizer, seed=0)
    with pytest.raises(InputError, match=r"is \(96, 128\), the adapter \(64, 128\)"):
        merge_lora(wider, adapter)


def test_an_adapter_of_a_deeper_model_is_refused(adapter: Path, tiny_tokenizer: Any) -> None:
    from groundtune.nn.architectures import Shape, new_model

    shallow = new_model(Shape(layers=1, width=64, heads=2, feed_forward=128), tiny_tokenizer, seed=0)
    with pytest.raises(InputError, match=r"layers\.1\.\S+ is not in this model"):
        merge_lora(shallow, adapter)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("spoil", ["missing", "cut off"])
def test_a_missing_or_cut_off_file_is_refused(adapter: Path, make_tiny_model: Maker, name: str, spoil: str) -> None:
    if spoil == "missing":
        (adapter / name).unlink()
    else:
        (adapter / name).write_bytes((adapter / name).read_bytes()[:200])
    with pytest.raises(InputError, match="no adapter"):
        merge_lora(make_tiny_model(), adapter)


@pytest.mark.parametrize(
    "change", [{"peft_type": "IA3"}, {"use_dora": True}, {"use_rslora": True}, {"rank_pattern": {"q_proj": 2}}]
)
def test_another_kind_of_adapter_is_refused(adapter: Path, make_tiny_model: Maker, change: dict[str, Any]) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(InputError, match="not a plain LoRA adapter"):
        merge_lora(make_tiny_model(), adapter)


@pytest.mark.parametrize("change", ["one too many", "half a pair"])
def test_a_matrix_without_a_place_is_refused(adapter: Path, make_tiny_model: Maker, change: str) -> None:
    from safetensors.torch import load_file, save_file

    file = adapter / "adapter_model.safetensors"
    weights = load_file(file)
    if change == "one too many":
        weights["base_model.model.lm_head.weight"] = torch.zeros(2, 2)
    else:
        del weights[next(k for k in weights if "lora_B" in k)]
    save_file(weights, file)
    with pytest.raises(InputError, match="have no place"):
        merge_lora(make_tiny_model(), adapter)
