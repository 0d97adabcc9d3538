"""A model from zero by the name of its size: the mixture has the weights asked for, the count is the shape's, a kill loses nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import AutoTokenizer

from groundtune.errors import ConfigError, InputError, UnknownNameError
from groundtune.methods._from_shape import Corpus, NewModel, documents, parse_corpus, pretrain_shape
from groundtune.nn import shapes
from groundtune.nn.shapes import count_parameters, named_shape

SMALL = shapes.NamedShape(
    "test-small", "gpt2", 2, 32, 2, 2, 16, 128, 400, 64, tied=True, published="0.04M", batch_tokens=512
)


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Corpus, Corpus]:
    monkeypatch.setitem(shapes.SHAPES, SMALL.name, SMALL)
    large, small = tmp_path / "large", tmp_path / "small.jsonl"
    large.mkdir()
    for n in range(60):
        (large / f"{n:02}.txt").write_text(f"The boat number {n} leaves the quay at {n % 12} o'clock. " * 20, "utf-8")
    rows = [{"text": f"A barrel of salt costs {n} crowns in the year {1400 + n}. " * 4} for n in range(60)]
    small.write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    return Corpus(large, 1.0), Corpus(small, 3.0)


WANTED = NewModel("test-small", tokens=12_000, learning_rate=1e-2)


def test_corpora_are_mixed_by_weight_and_the_model_learns(texts: tuple[Corpus, Corpus], tmp_path: Path) -> None:
    folder = pretrain_shape(WANTED, texts, tmp_path / "out")
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    shares = [part["share"] for part in figures["mixture"]]
    assert shares == pytest.approx([0.25, 0.75], abs=0.01)  # by weight, though the first has more text
    assert figures["mixture"][1]["passes_begun"] > figures["mixture"][0]["passes_begun"]
    entries = len(AutoTokenizer.from_pretrained(folder))  # what so little text has pieces for
    assert figures["parameters"] == count_parameters(replace(SMALL, vocabulary=entries))
    assert figures["first_loss"] - figures["last_loss"] > 1.5
    bits = figures["held_out_bits_per_byte"]
    assert bits["before"] and all(bits["after"][k] < v - 0.5 for k, v in bits["before"].items())


def test_a_killed_run_ends_in_the_same_model(texts: tuple[Corpus, Corpus], tmp_path: Path) -> None:
    whole = pretrain_shape(WANTED, texts, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(step: int, *_: object) -> None:
        if step == 15:
            raise Killed

    with pytest.raises(Killed):
        pretrain_shape(WANTED, texts, tmp_path / "rough", progress=kill)
    rough = pretrain_shape(WANTED, texts, tmp_path / "rough")
    a, b = load_file(whole / "model.safetensors"), load_file(rough / "model.safetensors")
    assert a.keys() == b.keys() and all((a[k] == b[k]).all() for k in a)


def test_another_model_does_not_go_on_in_its_folder(texts: tuple[Corpus, Corpus], tmp_path: Path) -> None:
    pretrain_shape(WANTED, texts, tmp_path / "out")
    with pytest.raises(ConfigError, match="another recipe"):
        pretrain_shape(NewModel("test-small", tokens=13_000), texts, tmp_path / "out")


def test_sizes_are_known_by_name(tmp_path: Path) -> None:
    assert count_parameters(named_shape("gpt3-small")) // 1_000_000 == 125
    with pytest.raises(UnknownNameError, match="gpt3-smal"):
        pretrain_shape(NewModel("gpt3-smal", tokens=10), [], tmp_path)


@pytest.mark.parametrize(("text", "said"), [("x=0", "weight"), ("x=many", "weight"), ("nowhere", "no file")])
def test_a_source_that_cannot_be_is_said(text: str, said: str) -> None:
    with pytest.raises((ConfigError, InputError), match=said):
        parse_corpus(text)


def test_rows_without_text_are_said_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a"}\n{"content": "b"}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"rows.jsonl:2: no text"):
        list(documents(file))
    empty = tmp_path / "folder"
    empty.mkdir()
    with pytest.raises(InputError, match="no text"):
        list(documents(empty))
