"""Sentence encoders in sentence-transformers' folders: read, pooled, written, and refused where they are something else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from groundtune.errors import InputError
from groundtune.nn.encoders import encode, open_encoder, padded, save_encoder, unit_vectors
from tiny_bert import write_tiny_bert

TEXTS = [
    "The duty officer answers on extension 4471.",
    "A yearly card costs 48 crowns.",
    "Keys.",
    "The reading rooms open at 9:30 on weekdays, and they close at 18:15 on every day of the week. " * 12,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bert(tmp_path_factory.mktemp("bert") / "plain", TEXTS, vocabulary=150)


@pytest.fixture
def saved(folder: Path, tmp_path: Path) -> Path:
    save_encoder(open_encoder(folder), tmp_path / "saved")
    return tmp_path / "saved"


def test_mean_pooling_is_the_mean_of_the_tokens_vectors(folder: Path) -> None:
    encoder = open_encoder(folder)
    ids = torch.tensor([encoder.ids(TEXTS[:1])[0]])
    with torch.no_grad():
        mean = encoder.model(input_ids=ids).last_hidden_state[0].mean(0)
    assert np.allclose(encode(encoder, TEXTS[:1])[0], (mean / mean.norm()).numpy(), atol=1e-6)


def test_a_text_has_the_same_vector_alone_and_among_longer_ones(folder: Path) -> None:
    encoder = open_encoder(folder)
    together = encode(encoder, TEXTS)
    assert together.shape == (4, 32)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    for n, text in enumerate(TEXTS):
        assert np.allclose(encode(encoder, [text])[0], together[n], atol=1e-6)
    assert encode(encoder, []).shape == (0, 32)


def test_a_long_text_counts_with_its_beginning_and_its_end_mark(folder: Path) -> None:
    encoder = open_encoder(folder)
    (ids,) = encoder.ids(TEXTS[3:])
    assert encoder.max_tokens == len(ids) == 128  # the model's positions
    assert encoder.count_tokens(TEXTS[3]) > 128
    assert ids[-1] == encoder.counter.token_to_id("[SEP]")
    assert len(open_encoder(folder, max_tokens=16).ids(TEXTS[3:])[0]) == 16


def test_what_was_written_gives_the_same_vectors(folder: Path, saved: Path) -> None:
    again = open_encoder(saved)
    assert np.array_equal(encode(open_encoder(folder), TEXTS), encode(again, TEXTS))
    assert again.pooling == "mean"
    assert sorted(p.name for p in saved.glob("*.safetensors")) == ["model.safetensors"]
    assert not [p for p in saved.rglob("*") if p.suffix in {".bin", ".pt", ".pkl"}]


def test_a_lower_limit_is_written_too(folder: Path, tmp_path: Path) -> None:
    save_encoder(open_encoder(folder, max_tokens=20), tmp_path / "short")
    assert open_encoder(tmp_path / "short").max_tokens == 20


def test_first_token_pooling(saved: Path) -> None:
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (saved / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    encoder = open_encoder(saved)
    assert encoder.pooling == "cls"
    ids, mask = padded(encoder.ids(TEXTS[:2]))
    with torch.no_grad():
        first = encoder.model(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
    assert torch.allclose(unit_vectors(encoder.model, ids, mask, "cls"), first / first.norm(dim=1, keepdim=True))


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def max_pooling(folder: Path) -> None:
    write(folder / "1_Pooling" / "config.json", {"pooling_mode": "max"})


def dense_layer(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    write(folder / "modules.json", [*modules[:2], {**modules[2], "type": "sentence_transformers.models.Dense"}])


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"a": torch.zeros(1)}, folder / "pytorch_model.bin")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{", encoding="utf-8")


def no_modules(folder: Path) -> None:
    (folder / "modules.json").write_text("[{}]", encoding="utf-8")


def half_a_file(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("damage", [max_pooling, dense_layer, pickled, no_tokenizer, no_modules, half_a_file])
def test_what_cannot_be_read_rightly_is_refused(saved: Path, tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    shutil.copytree(saved, tmp_path / "damaged")
    damage(tmp_path / "damaged")
    with pytest.raises(InputError, match="no sentence encoder"):
        open_encoder(tmp_path / "damaged")


def test_a_folder_that_wants_lower_case_from_a_tokenizer_that_keeps_capitals_is_refused(saved: Path) -> None:
    settings = json.loads((saved / "tokenizer.json").read_text(encoding="utf-8"))
    settings["normalizer"]["lowercase"] = False
    write(saved / "tokenizer.json", settings)
    write(saved / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": True})
    with pytest.raises(InputError, match="lower case"):
        open_encoder(saved)
