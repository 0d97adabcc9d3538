"""Sequence classification: it learns, it is what transformers computes, it comes back from disk, and it says what is wrong."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from groundtune.config import Config, parse_config
from groundtune.dataset.labelled import LabelledText
from groundtune.errors import ConfigError, InputError, MissingArtifactError
from groundtune.methods import classifier
from groundtune.methods._classifier_figures import p_value
from groundtune.methods._setup import Setup
from groundtune.methods._systems import build_system
from groundtune.methods._tuning import LAST, tune
from groundtune.nn.classifiers import label_names, load_classifier, new_classifier
from groundtune.system import as_messages
from groundtune.training.classes import EncodedText, LabelledBatches, collate, encode, figures_of, logits_of, vectors_of
from groundtune.training.objectives import CLASSES
from groundtune.workspace import Workspace, write_json
from tiny_encoders import ANIMALS, CLASSES_OF_WORDS, FILLERS, TOOLS, topic_rows, write_bert, write_llama, write_rows

#: nats by which the loss must fall from ln 3 = 1.10, and the share of test rows that must be right (by chance: 0.33)
FALL, RIGHT = 0.6, 0.9


def pair_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Pairs that are 1 where one of the texts has a tool in it."""
    rng = random.Random(seed)
    out = []
    for n in range(count):
        words = [rng.choice(ANIMALS), rng.choice(TOOLS if n % 2 else ANIMALS)]
        rng.shuffle(words)
        texts = [" ".join([rng.choice(FILLERS), word, rng.choice(FILLERS)]) for word in words]
        out.append({"sentence1": texts[0], "sentence2": texts[1], "label": n % 2})
    return out


def project(folder: Path, *, model: str = "bert", **tuning: Any) -> Setup:
    """A project with labelled rows and a tiny model; ``tuning`` goes into the config's ``tune``."""
    folder.mkdir(exist_ok=True)
    if not (folder / model).exists():
        {
            "bert": write_bert,
            "sentences": lambda f: write_bert(f, sentence=True),
            "llama": write_llama,
            "llama_end": lambda f: write_llama(f, pad_is_end=True),
        }[model](folder / model)
    write_rows(folder / "train.jsonl", topic_rows(240, 1))
    write_rows(folder / "test.jsonl", topic_rows(60, 2))
    settings = {
        "method": "classifier",
        "model": model,
        "data": "train.jsonl",
        "test": "test.jsonl",
        "epochs": 10,
        "learning_rate": 5e-3,
        "batch_tokens": 192,
        "save_every_steps": 5,
        **tuning,
    }
    return Setup(Workspace(folder), parse_config({"tune": settings}, "test"))


def figures_of_run(setup: Setup) -> dict[str, Any]:
    manifest = setup.workspace.manifest("runs/classifier")
    assert manifest is not None
    figures: dict[str, Any] = manifest["figures"]
    return figures


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """A project whose classifier is trained. Not to be written to."""
    setup = project(tmp_path_factory.mktemp("trained"))
    assert tune(setup)[1]
    return setup


# ---------------------------------------------------------------- learning


@pytest.mark.parametrize("model", ["bert", "sentences", "llama", "llama_end"])
def test_it_learns(model: str, tmp_path: Path) -> None:
    setup = project(tmp_path, model=model)
    folder, made = tune(setup)
    figures = figures_of_run(setup)
    assert made
    assert tune(setup) == (folder, False)
    assert figures["first_loss"] > 0.8
    assert figures["last_loss"] < figures["first_loss"] - FALL
    assert figures["test"]["accuracy"] >= RIGHT
    assert figures["test"]["majority"]["accuracy"] == pytest.approx(1 / 3, abs=0.01)
    assert figures["test"]["p_value"] < 1e-6
    assert figures["reload_difference"] < 1e-4
    assert figures["labels"] == {"animal": 72, "colour": 72, "tool": 72}  # 24 of 240 rows are held out
    assert figures["validation"]["rows"] == 24
    assert len(figures["epochs"]) == 10
    assert figures["milliseconds_per_query"] > 0


def test_the_epoch_that_is_best_on_validation_is_kept(trained: Setup) -> None:
    figures = figures_of_run(trained)
    best = max(row["accuracy"] for row in figures["epochs"])
    first = next(row for row in figures["epochs"] if row["accuracy"] == best)
    assert figures["best_step"] == first["step"]
    assert figures["best_epoch"] == first["epoch"]
    assert figures["validation"]["accuracy"] == pytest.approx(best)
    assert figures["validation"]["loss"] == pytest.approx(first["loss"], abs=1e-4)


def test_the_best_epoch_can_be_chosen_by_loss(tmp_path: Path) -> None:
    setup = project(tmp_path, epochs=6, options={"choose_by": "loss"})
    tune(setup)
    rows = figures_of_run(setup)["epochs"]
    assert figures_of_run(setup)["best_step"] == min(rows, key=lambda row: row["loss"])["step"]


def test_pairs_are_learnt_in_both_orders(tmp_path: Path) -> None:
    setup = project(
        tmp_path, data="pairs.jsonl", test=None, epochs=10, options={"swap": True, "batch_rows": 8, "names": {1: "tool"}}
    )  # fmt: skip
    write_rows(tmp_path / "pairs.jsonl", pair_rows(200, 3))
    tune(setup)
    figures = figures_of_run(setup)
    assert figures["labels"] == {"0": 90, "tool": 90}
    assert figures["positive"] == "tool"
    assert figures["last_loss"] < figures["first_loss"] - 0.4
    system = build_system("classifier", setup)
    for first, second in (("sentence1", "sentence2"), ("sentence2", "sentence1")):
        rows = pair_rows(60, 4)
        answers = system.answer_batch([as_messages(f"{r[first]}\t{r[second]}") for r in rows])
        right = sum((a.text == "tool") == bool(r["label"]) for a, r in zip(answers, rows, strict=True))
        assert right >= RIGHT * 60
    assert system.answer(as_messages("there saw a\nthe goat now")).text == "tool"
    with pytest.raises(InputError, match="compares two texts"):
        system.answer(as_messages("the goat"))


def test_a_classifier_that_learnt_nothing_is_called_so(tmp_path: Path) -> None:
    setup = project(tmp_path, epochs=1, learning_rate=1e-7)
    tune(setup)
    said = "\n".join(classifier.lines(setup, figures_of_run(setup)))
    assert "no better than always answering" in said
    assert figures_of_run(setup)["test"]["p_value"] > 0.05


def test_what_is_told_of_a_run(trained: Setup) -> None:
    published = {"name": "someone's table", "epochs": [{"accuracy": 0.123}] * 11}
    figures = figures_of_run(trained)
    options = {"tune": trained.config.tune.model_copy(update={"options": {"published": published}})}
    told = classifier.lines(Setup(trained.workspace, trained.config.model_copy(update=options)), figures)
    said = "\n".join(told)
    assert "animal 72, colour 72, tool 72" in said
    assert "someone's table" in said
    assert said.count("0.123") == 11
    assert f"{figures['test']['accuracy']:.4f}" in said
    assert "no better" not in said


def test_many_classes_are_counted_not_listed() -> None:
    figures = {
        "labels": {f"c{n}": n + 1 for n in range(30)}, "epochs": [], "best_step": None, "test_rows_seen_in_training": 2,
        "rows_over_limit": 0, "parameters": 1, "training_seconds": 1.0, "milliseconds_per_query": 1.0,
    }  # fmt: skip
    said = classifier.table(figures, None)
    assert said[0] == "classes: 30, with 1 (c0) to 30 (c29) rows"
    assert any("2 test rows" in line for line in said)


# ---------------------------------------------------------------- the same numbers as elsewhere


@pytest.mark.parametrize("model", ["bert", "llama"])
def test_the_loss_is_that_of_transformers(model: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    setup = project(tmp_path, model=model)
    made, tokenizer = new_classifier(str(tmp_path / model), ["animal", "colour", "tool"], dropout=0.0)
    made.save_pretrained(tmp_path / "out")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    rows = [encode(tokenizer, r["text"], "", n % 3, max_tokens=64)[0] for n, r in enumerate(topic_rows(9, 4))]
    batch = collate(rows, tokenizer.pad_token_id)
    with torch.no_grad():
        loss = CLASSES.loss(made.eval(), batch, None)
        assert float(loss) == pytest.approx(float(theirs(**batch).loss), abs=1e-4)
        assert float(CLASSES.loss(made, batch, 18)) == pytest.approx(float(loss) / 2, abs=1e-4)
    assert CLASSES.count(batch) == 9
    assert setup.config.tune.model == model


def test_mean_pooling_is_the_mean_of_the_encoder(tmp_path: Path) -> None:
    from transformers import AutoModel

    write_bert(tmp_path, sentence=True)
    made, tokenizer = new_classifier(str(tmp_path), ["a", "b"])
    encoder = AutoModel.from_pretrained(tmp_path).eval()
    text = "the small horse and the goat"
    with torch.no_grad():
        hidden_TD = encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = made.classifier(hidden_TD.mean(0))
    row, _ = encode(tokenizer, text, "", 0, max_tokens=64)
    longer, _ = encode(tokenizer, text + " here there now", "", 0, max_tokens=64)
    found = logits_of(made, [row, longer], tokenizer.pad_token_id)[0]
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("model", ["bert", "sentences", "llama", "llama_end"])
def test_padding_changes_nothing(model: str, tmp_path: Path) -> None:
    project(tmp_path, model=model)
    made, tokenizer = new_classifier(str(tmp_path / model), ["a", "b", "c"])
    rows = [encode(tokenizer, r["text"], "", 0, max_tokens=64)[0] for r in topic_rows(12, 5)]
    together = logits_of(made, rows, tokenizer.pad_token_id)
    alone = torch.cat([logits_of(made, [row], tokenizer.pad_token_id) for row in rows])
    assert torch.allclose(together, alone, atol=1e-5)
    assert together.std() > 1e-3


def test_the_mask_goes_by_length_not_by_the_padding_token(tmp_path: Path) -> None:
    write_bert(tmp_path)
    _, tokenizer = new_classifier(str(tmp_path), ["a", "b"])
    inside = EncodedText((2, tokenizer.pad_token_id, 7, 3), (0, 0, 0, 0), 1)
    batch = collate([inside, EncodedText((2, 7, 8, 9, 10, 3), (0,) * 6, 0)], tokenizer.pad_token_id)
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0], [1] * 6]
    assert batch["labels"].tolist() == [1, 0]


def test_a_decoder_reads_the_last_word_even_where_padding_is_the_end(tmp_path: Path) -> None:
    write_llama(tmp_path, pad_is_end=True)
    _, tokenizer = new_classifier(str(tmp_path), ["a", "b"])
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    row, _ = encode(tokenizer, "the horse <end> <end>", "", 0, max_tokens=64)
    assert row.ids == tuple(tokenizer("the horse")["input_ids"])


def test_a_head_at_the_means_answers_with_the_nearest_before_training(tmp_path: Path) -> None:
    write_bert(tmp_path, sentence=True)
    made, tokenizer = new_classifier(str(tmp_path), sorted(CLASSES_OF_WORDS))
    labels = sorted(CLASSES_OF_WORDS)
    rows = [encode(tokenizer, r["text"], "", labels.index(r["label"]), max_tokens=64)[0] for r in topic_rows(90, 6)]
    vectors, right = vectors_of(made, rows, 0), torch.tensor([row.label for row in rows])
    made.start_at_means(vectors, right, scale=10.0)
    centred = vectors - vectors.mean(0)
    means = torch.stack([centred[right == k].mean(0) for k in range(3)])
    cosines = torch.nn.functional.normalize(means, dim=-1) @ centred.T
    assert torch.allclose(logits_of(made, rows, 0), 10 * (cosines / centred.norm(dim=-1).mean()).T, atol=1e-3)
    assert figures_of(logits_of(made, rows, 0), right.tolist(), 2)["accuracy"] > 0.5


def test_figures_are_those_of_the_definitions() -> None:
    logits = torch.tensor([[2.0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 2, 0], [0, 0, 2]])
    labels = [0, 1, 1, 1, 0]
    found = figures_of(logits, labels, 2)
    log_p = [2 - math.log(math.e**2 + 2), 0 - math.log(math.e**2 + 2)]
    assert found["loss"] == pytest.approx(-(log_p[0] * 3 + log_p[1] * 2) / 5, abs=1e-6)
    assert found["accuracy"] == pytest.approx(0.6)
    assert found["f1"] == pytest.approx((2 * 1 / (2 + 2) + 2 * 2 / (2 + 3) + 0) / 3)
    two = figures_of(logits[:4, :2], [0, 1, 1, 0], 1)
    assert two["f1"] == pytest.approx(2 * 1 / (2 + 2))


def test_the_p_value_is_the_exact_mcnemar_one() -> None:
    right = [1] * 5 + [0] * 5
    assert p_value([1] * 5 + [0] * 5, 1, right) == pytest.approx(0.5**5)  # five won, none lost
    assert p_value([1] * 10, 1, right) == 1.0
    assert p_value([0] * 5 + [1] * 5, 1, right) == 1.0


# ---------------------------------------------------------------- batches


def test_batches_of_a_number_of_rows_are_as_many_as_they_say() -> None:
    rows = [EncodedText((2,) * (3 + n % 7), (), 0) for n in range(3668)]
    batches = LabelledBatches(rows, pad_id=0, batch_tokens=1024, batch_rows=8, epochs=3, seed=0)
    assert len(batches) == 1377  # the lesson's steps: 3 epochs of 3,668 pairs by 8
    assert max(len(plan) for plan in batches.plan) == 8
    seen = [n for plan in batches.plan[:459] for n in plan]
    assert sorted(seen) == list(range(3668))


def test_pairs_come_in_each_order_in_turns() -> None:
    there = [EncodedText((2, n, 3), (), 0) for n in range(10, 20)]
    back = [EncodedText((2, n + 100, 3), (), 0) for n in range(10, 20)]
    batches = LabelledBatches(there, pad_id=0, batch_tokens=9, epochs=4, seed=0, swapped=back)
    seen: dict[int, list[int]] = {}
    for step in range(len(batches)):
        for token in batches[step]["input_ids"][:, 1].tolist():
            seen.setdefault(token % 100, []).append(token)
    assert all(len(set(tokens)) == 2 and tokens[0] == tokens[2] and tokens[1] == tokens[3] for tokens in seen.values())
    plain = LabelledBatches(there, pad_id=0, batch_tokens=9, epochs=4, seed=0)
    assert plain.fingerprint() != batches.fingerprint()


# ---------------------------------------------------------------- from disk, after a kill


class Killed(Exception):
    """Stands for the kill of a run."""


def killer(at: int) -> Callable[..., None]:
    def progress(step: int, steps: int, status: Any) -> None:
        if step == at:
            raise Killed

    return progress


@pytest.mark.parametrize("model", ["sentences", "bert"])
def test_a_killed_run_ends_in_the_same_weights(model: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {"epochs": 3, "options": {"head_rate": 5.0, "label_smoothing": 0.1}}
    if model == "sentences":
        more["options"]["head"] = "means"
    whole, _ = tune(project(tmp_path / "whole", model=model, **more))
    rough = project(tmp_path / "rough", model=model, **more)
    with pytest.raises(Killed):
        tune(rough, progress=killer(13))
    steps: list[int] = []
    folder, _ = tune(rough, progress=lambda step, *_: steps.append(step))
    assert 1 < steps[0] <= 13
    expected, found = (load_file(f / "weights" / "model.safetensors") for f in (whole, folder))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_it_loads_with_transformers_alone(trained: Setup) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = trained.workspace.path("runs/classifier") / "weights"
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "the small goat here"
    with torch.no_grad():
        logits = theirs(**tokenizer(text, return_tensors="pt")).logits[0]
    answer = build_system("classifier", trained).answer(as_messages(text))
    assert theirs.config.id2label[int(logits.argmax())] == answer.text == "animal"
    assert answer.logprobs[0] == pytest.approx(float(torch.log_softmax(logits, -1).max()), abs=1e-5)


def test_mean_pooling_says_that_it_is_not_berts_own_head(tmp_path: Path) -> None:
    write_bert(tmp_path / "base", sentence=True)
    made, tokenizer = new_classifier(str(tmp_path / "base"), ["x", "y", "z"])
    made.save_pretrained(tmp_path / "out")
    tokenizer.save_pretrained(tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert settings["model_type"] == "groundtune_pooled"
    loaded, _ = load_classifier(tmp_path / "out")
    assert label_names(loaded) == ["x", "y", "z"]
    row = EncodedText((2, 7, 8, 3), (0, 0, 0, 0), 0)
    assert torch.equal(logits_of(made, [row], 0), logits_of(loaded, [row], 0))


@pytest.mark.parametrize("sentence", [True, False])
def test_weights_that_are_not_all_there_are_refused(sentence: bool, tmp_path: Path) -> None:
    write_bert(tmp_path / "base", sentence=sentence)
    made, tokenizer = new_classifier(str(tmp_path / "base"), ["x", "y"])
    made.save_pretrained(tmp_path / "out")
    tokenizer.save_pretrained(tmp_path / "out")
    file = tmp_path / "out" / "model.safetensors"
    weights = load_file(file)
    save_file({k: v for k, v in weights.items() if k != "classifier.weight"}, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"classifier\.weight"):
        load_classifier(tmp_path / "out")


def test_a_base_without_all_of_its_weights_is_refused(tmp_path: Path) -> None:
    write_bert(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    save_file({k: v for k, v in weights.items() if "layer.1.output.dense" not in k}, file, metadata={"format": "pt"})
    for pooling in ("cls", "mean"):
        with pytest.raises(InputError, match="2 of its weights are missing"):
            new_classifier(str(tmp_path), ["x", "y"], pooling=pooling)  # type: ignore[arg-type]


# ---------------------------------------------------------------- answering


def test_it_answers_alone_as_in_a_batch(trained: Setup) -> None:
    system = build_system("classifier", trained)
    texts = ["the small goat", "a red", "here there the very big hammer now and then"]
    answers = system.answer_batch([as_messages(t) for t in texts])
    assert [a.text for a in answers] == ["animal", "colour", "tool"]
    for text, answer in zip(texts, answers, strict=True):
        alone = system.answer(as_messages(text))
        assert alone.text == answer.text
        assert alone.logprobs[0] == pytest.approx(answer.logprobs[0], abs=1e-4)
        assert math.log(1 / 3) < answer.logprobs[0] <= 0
    assert system.answer_batch([]) == []
    assert system.name == "classifier"


def test_a_long_question_is_read_as_far_as_it_fits(trained: Setup) -> None:
    answer = build_system("classifier", trained).answer(as_messages("goat " * 500))
    assert answer.text == "animal"
    assert answer.usage.prompt_tokens == 64


def test_the_system_tuned_is_the_classifier_after_it_was_tuned(trained: Setup) -> None:
    write_json(trained.workspace.path(LAST), {"method": "classifier"})
    system = build_system("tuned", trained)
    assert system.name == "tuned"
    assert system.answer(as_messages("the small goat")).text == "animal"


def test_without_training_it_says_how(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError, match="groundtune tune --method classifier"):
        build_system("classifier", Setup(Workspace(tmp_path), Config()))


# ---------------------------------------------------------------- what is wrong


def test_questions_of_the_project_are_classified_where_there_is_no_file(tmp_path: Path) -> None:
    setup = project(tmp_path, data=None, test=None)
    rows = [
        {"id": str(n), "split": "train" if n % 4 else "validation", "question": r["text"], "references": [r["label"]]}
        for n, r in enumerate(topic_rows(40, 1))
    ]
    write_rows(tmp_path / "questions.jsonl", rows)
    found = classifier.gather(setup, setup.config.tune, classifier.Options())
    assert (len(found.train), len(found.validation), found.test) == (30, 10, [])
    assert found.labels == ["animal", "colour", "tool"]


def gathered(setup: Setup, **options: Any) -> classifier.Material:
    return classifier.gather(setup, setup.config.tune, classifier.Options(**options))


def test_a_label_that_training_does_not_know_is_an_error(tmp_path: Path) -> None:
    setup = project(tmp_path)
    write_rows(tmp_path / "test.jsonl", [{"text": "the goat", "label": "anmial"}])
    with pytest.raises(InputError, match=r"test\.jsonl:1: the label 'anmial' is in no training row"):
        gathered(setup)


def test_validation_rows_that_are_trained_on_are_an_error_and_test_rows_are_counted(tmp_path: Path) -> None:
    setup = project(tmp_path, validation="validation.jsonl")
    write_rows(tmp_path / "validation.jsonl", topic_rows(9, 7))
    assert gathered(setup).seen == 0
    again = topic_rows(240, 1)[:2]
    write_rows(tmp_path / "test.jsonl", [*topic_rows(3, 8), {**again[0], "text": f" {again[0]['text'].upper()}"}])
    assert gathered(setup).seen == 1
    write_rows(tmp_path / "validation.jsonl", again)
    with pytest.raises(InputError, match="2 validation rows are trained on"):
        gathered(setup)


@pytest.mark.parametrize(
    ("rows", "said"),
    [([{"text": f"{n}", "label": "x"} for n in range(9)], "1 different labels"), ([{"text": f"{n}", "label": f"l{n}"} for n in range(9)], "9 different labels")],
)  # fmt: skip
def test_what_is_no_classification_is_refused(rows: list[dict[str, Any]], said: str, tmp_path: Path) -> None:
    setup = project(tmp_path, test=None)
    write_rows(tmp_path / "train.jsonl", rows)
    with pytest.raises(InputError, match=said):
        gathered(setup)


def test_wrong_options_are_named(tmp_path: Path) -> None:
    for options, said in (
        ({"pool": "mean"}, "pool"),
        ({"dropout": 2}, "dropout"),
        ({"positive": "no"}, "'no' is no label"),
    ):
        with pytest.raises(ConfigError, match=said):
            tune(project(tmp_path, options=options))
    with pytest.raises(InputError, match="'last' does not go with"):
        tune(project(tmp_path, options={"pooling": "last"}))
    with pytest.raises(ConfigError, match="means needs mean pooling"):
        tune(project(tmp_path, options={"head": "means"}))
    with pytest.raises(InputError, match="'mean' does not go with"):
        tune(project(tmp_path, model="llama", options={"pooling": "mean"}))


def test_a_model_that_is_elsewhere_or_nowhere_is_refused(tmp_path: Path) -> None:
    setup = project(tmp_path)
    for name, said in (("openai:gpt-5", "not on this machine"), ("no/such-model", "cannot be loaded")):
        other = setup.config.tune.model_copy(update={"model": name})
        with pytest.raises(InputError, match=said):
            tune(Setup(setup.workspace, setup.config.model_copy(update={"tune": other})))


def test_long_texts_are_refused_left_out_or_cut(tmp_path: Path) -> None:
    _, tokenizer = new_classifier(str(write_bert(tmp_path / "bert")), ["a", "b"])
    rows = [LabelledText("the goat", "a", where="f:1"), LabelledText("goat " * 20, "b", where="f:2")]
    with pytest.raises(InputError, match=r"f:2: over 8 tokens \(1 such rows\)"):
        classifier.encoded(tokenizer, rows, ["a", "b"], 8, "error")
    left, over = classifier.encoded(tokenizer, rows, ["a", "b"], 8, "drop")
    assert ([r.label for r in left], over) == ([0], 1)
    cut, over = classifier.encoded(tokenizer, rows, ["a", "b"], 8, "cut")
    assert ([len(r.ids) for r in cut], over) == ([4, 8], 1)
    assert cut[1].ids[-1] == tokenizer.sep_token_id
