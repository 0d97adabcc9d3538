"""Masked words: what is masked, that it is learnt, that it is what transformers computes, and what can start from it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from groundtune.config import parse_config
from groundtune.errors import InputError, MissingArtifactError, UnknownNameError
from groundtune.methods import masked_lm
from groundtune.methods._setup import Setup
from groundtune.methods._systems import build_system
from groundtune.methods._tuning import answers, tune
from groundtune.nn.encoder_models import is_sentence_encoder
from groundtune.nn.masked import open_masked
from groundtune.training.data import IGNORED
from groundtune.training.masking import MaskedBatches, Masker, frequency_loss, windows_of
from groundtune.training.objectives import MASKED
from groundtune.workspace import Workspace
from tiny_encoders import ANIMALS, COLOURS, WORDS, bert_config, tokenizer, write_bert, write_llama


def texts(count: int, seed: int) -> list[str]:
    """Texts of one animal and its colour each: which of the ten words is masked can be told from those around it."""
    rng = random.Random(seed)
    return [" ".join(rng.choices((COLOURS[n % 5], ANIMALS[n % 5]), k=rng.randint(30, 50))) for n in range(count)]


def project(folder: Path, *, model: str = "bert", **tuning: Any) -> Setup:
    folder.mkdir(exist_ok=True)
    make: dict[str, Callable[[Path], Path]] = {
        "bert": write_bert,
        "sentences": lambda f: write_bert(f, sentence=True),
        "llama": write_llama,
    }
    if not (folder / model).exists():
        make[model](folder / model)
    (folder / "texts.txt").write_text("\n".join(texts(60, 1)), encoding="utf-8")
    settings = {
        "method": "masked_lm",
        "model": model,
        "data": "texts.txt",
        "epochs": 10,
        "max_tokens": 24,
        "learning_rate": 5e-3,
        "batch_tokens": 240,
        "save_every_steps": 7,
        **tuning,
    }
    return Setup(Workspace(folder), parse_config({"tune": settings}, "test"))


def figures_of_run(setup: Setup) -> dict[str, Any]:
    manifest = setup.workspace.manifest("runs/masked_lm")
    assert manifest is not None
    figures: dict[str, Any] = manifest["figures"]
    return figures


# ---------------------------------------------------------------- masks and windows


def test_fifteen_of_a_hundred_are_asked_for_most_of_them_hidden() -> None:
    words = tokenizer("bert")
    masker = Masker(words, seed=0)
    first, rest = words.convert_tokens_to_ids("red"), Counter[str]()
    window = (words.cls_token_id, *[first] * 100, words.sep_token_id)
    for number in range(400):
        ids, labels = masker.masked(window, number, epoch=0)
        asked = [n for n, label in enumerate(labels) if label != IGNORED]
        assert len(asked) == 15
        assert 0 not in asked and 101 not in asked  # special tokens are not words
        assert all(labels[n] == first for n in asked)
        assert all(ids[n] == window[n] for n in range(102) if n not in asked)
        rest.update(
            "hidden" if ids[n] == words.mask_token_id else "kept" if ids[n] == first else "other" for n in asked
        )
    assert rest["hidden"] / 6000 == pytest.approx(0.8, abs=0.02)
    assert rest["other"] / 6000 == pytest.approx(0.1, abs=0.015)
    assert rest["kept"] / 6000 == pytest.approx(0.1, abs=0.015)


def test_masks_depend_on_seed_epoch_and_window_alone() -> None:
    words = tokenizer("bert")
    windows = windows_of(texts(12, 2), words, max_tokens=24)

    def batches(seed: int) -> MaskedBatches:
        return MaskedBatches(windows, Masker(words, seed), pad_id=0, batch_tokens=100, epochs=2, seed=1)

    one, same, other = batches(5), batches(5), batches(6)
    for n in reversed(range(len(one))):  # in whatever order they are asked for
        assert all(torch.equal(one[n][key], same[n][key]) for key in one[n])
    assert any(not torch.equal(one[n]["labels"], other[n]["labels"]) for n in range(len(one)))
    assert one.fingerprint() != other.fingerprint()
    (end, _) = one.epoch_ends
    places = [{}, {}]  # type: ignore[var-annotated]
    for step, plan in enumerate(one.plan):
        for row, number in enumerate(plan):
            places[step >= end][number] = (one[step]["labels"][row] != IGNORED).nonzero()[:, 0].tolist()
    assert sum(places[0][n] != places[1][n] for n in places[0]) > len(windows) / 2  # other masks in the next epoch


def test_windows_hold_every_word_once_and_are_full() -> None:
    words = tokenizer("bert")
    given = texts(10, 3)
    windows = windows_of(given, words, max_tokens=16)
    assert {len(w) for w in windows[:-1]} <= {15, 16}  # 15: a separator that fell on the end is there once
    assert all(w[0] == words.cls_token_id and w[-1] == words.sep_token_id for w in windows)
    inside = [token for w in windows for token in w[1:-1] if token != words.sep_token_id]
    assert inside == [token for text in given for token in words(text, add_special_tokens=False)["input_ids"]]
    batches = MaskedBatches(windows, Masker(words, 0), pad_id=0, batch_tokens=64, epochs=1, seed=0)
    assert batches[0]["attention_mask"].sum() == sum(len(windows[n]) for n in batches.plan[0])


def test_guessing_by_frequency_is_the_entropy_of_the_words() -> None:
    words = tokenizer("bert")
    one, two = words.convert_tokens_to_ids(["red", "blue"])
    window = (2, *[one] * 3000, *[two] * 1000, 3)
    expected = -(0.75 * torch.tensor(0.75).log() + 0.25 * torch.tensor(0.25).log())
    assert frequency_loss([window], [window], words) == pytest.approx(float(expected), abs=0.01)
    assert frequency_loss([window], [(2, words.convert_tokens_to_ids("cow"), 3)], words) > 8


# ---------------------------------------------------------------- the loss


def masked_model(kind: str) -> Any:
    import transformers as hf

    torch.manual_seed(0)
    size = {"vocab_size": 5 + len(WORDS), "pad_token_id": 0}
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    match kind:
        case "bert":
            return hf.BertForMaskedLM(bert_config())
        case "roberta":
            return hf.RobertaForMaskedLM(hf.RobertaConfig(max_position_embeddings=64, **size, **small))
        case "distilbert":
            return hf.DistilBertForMaskedLM(
                hf.DistilBertConfig(dim=32, hidden_dim=48, n_layers=1, n_heads=2, max_position_embeddings=64, **size)
            )
    return hf.ModernBertForMaskedLM(hf.ModernBertConfig(max_position_embeddings=64, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3, **size, **small))  # fmt: skip


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "modernbert"])
def test_the_loss_is_that_of_transformers(kind: str) -> None:
    words = tokenizer("bert")
    model = masked_model(kind).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)  # logits apart, so that a loss over the wrong positions shows
        windows = [w[: 12 + n % 3] for n, w in enumerate(windows_of(texts(5, 4), words, max_tokens=20))]
        batch = MaskedBatches(windows, Masker(words, 0), pad_id=0, batch_tokens=100, seed=0)[0]
        assert (batch["attention_mask"] == 0).any()
        ours = float(MASKED.loss(model, batch, None))
        assert ours == pytest.approx(float(model(**batch).loss), abs=1e-4)
        assert float(MASKED.loss(model, batch, 2 * MASKED.count(batch))) == pytest.approx(ours / 2, abs=1e-4)


# ---------------------------------------------------------------- learning


@pytest.mark.parametrize("model", ["bert", "sentences"])
def test_it_learns_which_words_go_together(model: str, tmp_path: Path) -> None:
    setup = project(tmp_path, model=model)
    folder, made = tune(setup)
    figures = figures_of_run(setup)
    assert made
    assert figures["before"] > 3.0  # ln 35 = 3.6 by chance
    assert figures["after"] < figures["before"] - 1.2
    assert figures["after"] < figures["word_frequencies"] - 0.4
    assert figures["held_out_texts"] == 6
    assert figures["new_head"] is (model == "sentences")
    assert is_sentence_encoder(str(folder / "weights")) is (model == "sentences")
    said = " ".join(masked_lm.lines(setup, figures))
    assert ("without a head" in said) is (model == "sentences")
    assert "no better than by word frequency" not in said
    assert tune(setup) == (folder, False)


def test_a_new_head_reads_the_hidden_states_as_they_are(tmp_path: Path) -> None:
    write_bert(tmp_path, sentence=True)
    model, _, new = open_masked(str(tmp_path))
    assert new
    assert torch.equal(model.cls.predictions.transform.dense.weight, torch.eye(32))
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


def test_what_was_masked_is_where_the_classifier_starts(tmp_path: Path) -> None:
    from groundtune.nn.classifiers import new_classifier

    folder, _ = tune(project(tmp_path, model="sentences", epochs=2))
    started, _ = new_classifier(str(folder / "weights"), ["a", "b"])
    saved = load_file(folder / "weights" / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight"
    assert type(started).__name__ == "PooledClassifier"
    assert torch.equal(started.encoder.state_dict()[name], saved[f"bert.{name}"])
    before = load_file(tmp_path / "sentences" / "model.safetensors")
    assert not torch.equal(saved[f"bert.{name}"], before[name])


class Killed(Exception):
    """Stands for the kill of a run."""


def test_a_killed_run_ends_in_the_same_weights(tmp_path: Path) -> None:
    def kill(step: int, *_: Any) -> None:
        if step == 17:
            raise Killed

    whole, _ = tune(project(tmp_path / "whole", epochs=3))
    rough = project(tmp_path / "rough", epochs=3)
    with pytest.raises(Killed):
        tune(rough, progress=kill)
    steps: list[int] = []
    folder, _ = tune(rough, progress=lambda step, *_: steps.append(step))
    assert 1 < steps[0] <= 17
    expected, found = (load_file(f / "weights" / "model.safetensors") for f in (whole, folder))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


# ---------------------------------------------------------------- what is wrong


def test_it_is_no_system(tmp_path: Path) -> None:
    assert not answers("masked_lm")
    assert answers("classifier")
    with pytest.raises(UnknownNameError):
        build_system("masked_lm", project(tmp_path))


def test_a_decoder_has_no_masked_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no encoder"):
        tune(project(tmp_path, model="llama"))


def test_without_documents_it_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError, match="groundtune ingest"):
        tune(project(tmp_path, data=None))


def test_documents_of_the_project_are_read(tmp_path: Path) -> None:
    from groundtune.ingest.ingest import ingest

    (tmp_path / "documents").mkdir()
    for n in range(4):
        (tmp_path / "documents" / f"{n}.txt").write_text(". ".join(texts(5, 10 + n)), encoding="utf-8")
    setup = project(tmp_path, data=None, epochs=1)
    ingest(setup.workspace, ("documents",))
    tune(setup)
    figures = figures_of_run(setup)
    assert (figures["texts"], figures["held_out_texts"]) == (3, 1)
    assert len(figures["documents"]) == 3
    assert figures["documents_complete"] is True


@pytest.mark.parametrize(
    ("content", "said"), [("", "no text"), ("one text only", "none can be held out"), ("\n\n", "no text")]
)
def test_too_little_text_is_an_error(content: str, said: str, tmp_path: Path) -> None:
    setup = project(tmp_path)
    (tmp_path / "texts.txt").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        tune(setup)


def test_rows_without_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n{"body": "b"}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"rows\.jsonl:2"):
        masked_lm.read_texts(tmp_path / "rows.jsonl")


def test_the_same_text_is_on_one_side() -> None:
    rows = [masked_lm.Text(str(n), f"text {n % 10}") for n in range(40)]
    train, held = masked_lm.hold_out(rows, 0.1)
    assert len(held) >= 4
    assert len(train) + len(held) == 40
    assert not {t.text for t in train} & {t.text for t in held}
    assert masked_lm.hold_out(rows, 0) == (rows, [])
