"""Encoder-decoder tuning: transformers' own loss, less of it, the same weights after a kill, the same answers in a batch."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.backends.encoder_decoder import EncoderDecoderBackend, Search, cut, input_ids, target_ids
from groundtune.config import AnswerConfig, Config, TuneConfig
from groundtune.dataset.examples import write_examples
from groundtune.errors import ConfigError, InputError, MissingArtifactError
from groundtune.methods import _pairs, _tuning, seq2seq
from groundtune.methods._setup import Setup
from groundtune.methods._systems import build_system
from groundtune.nn.copying_start import copying_start
from groundtune.nn.encoder_decoder import context_tokens, new_encoder_decoder, open_encoder_decoder, warm_start
from groundtune.records import Conversation, Example, Message
from groundtune.system import System, as_messages
from groundtune.training.guards import TrainingError
from groundtune.training.objectives import TARGETS, mean_loss
from groundtune.training.pairs import PairBatches, PairRow, padded
from groundtune.training.watch import Status
from groundtune.workspace import Workspace

WORDS = "red blue cat dog runs sits tall old tree house near under river boat".split()
KINDS = ("t5", "bart", "marian")


def pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Inputs of four to nine words, each with its first and last word as the answer."""
    rng = random.Random(seed)
    texts = dict.fromkeys(" ".join(rng.choices(WORDS, k=rng.randint(4, 9))) for _ in range(count * 2))
    return [(t, f"{t.split()[0]} {t.split()[-1]}") for t in texts][:count]


def token_rows(tokenizer: Any, rows: list[tuple[str, str]]) -> list[PairRow]:
    return [PairRow(tuple(input_ids(tokenizer, q)), tuple(target_ids(tokenizer, a))) for q, a in rows]


def tiny(kind: str, tokenizer: Any) -> Any:
    """A random encoder-decoder of two layers, width 32, whose start and end are those of its kind."""
    from transformers import (
        BartConfig,
        BartForConditionalGeneration,
        MarianConfig,
        MarianMTModel,
        T5Config,
        T5ForConditionalGeneration,
    )

    torch.manual_seed(1)
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    ids = {"vocab_size": len(tokenizer), "pad_token_id": pad, "eos_token_id": end}
    if kind == "t5":
        shape: dict[str, Any] = {"d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 64, "num_layers": 2}
        return T5ForConditionalGeneration(T5Config(**ids, **shape, decoder_start_token_id=pad))
    sides = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 64))}  # fmt: skip
    shape = {"d_model": 32, "max_position_embeddings": 64, "bos_token_id": end, "forced_eos_token_id": None, **sides}
    if kind == "bart":
        return BartForConditionalGeneration(BartConfig(**ids, **shape, decoder_start_token_id=end))
    return MarianMTModel(MarianConfig(**ids, **shape, decoder_vocab_size=len(tokenizer), decoder_start_token_id=pad))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from groundtune.nn.tokenizer import train_tokenizer

    return train_tokenizer(iter([" ".join(WORDS)] * 20), vocabulary=340, context_tokens=64)


@pytest.fixture(scope="module")
def folders(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with model and tokenizer of each kind."""
    made = {}
    for kind in KINDS:
        made[kind] = tmp_path_factory.mktemp(kind)
        tiny(kind, tokenizer).save_pretrained(made[kind])
        tokenizer.save_pretrained(made[kind])
    return made


@pytest.fixture(scope="module")
def bert(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with a tokenizer that has its special tokens: stands for MiniLM."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    core = Tokenizer(models.WordLevel({w: n for n, w in enumerate(names)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])  # fmt: skip
    folder = tmp_path_factory.mktemp("bert")
    PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(names), max_position_embeddings=64, **shape)).save_pretrained(folder)
    return folder


def write_rows(path: Path, rows: list[tuple[str, str]], system: str = "") -> None:
    lines = [{"question": q, "answer": a, **({"system": system} if system else {})} for q, a in rows]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


def project(folder: Path, model: str, *, rows: int = 24, **tune: Any) -> Setup:
    """A project that trains on pairs; validation and test rows are others."""
    folder.mkdir(parents=True, exist_ok=True)
    found = pairs(rows + 12, seed=3)
    write_rows(folder / "train.jsonl", found[:rows])
    write_rows(folder / "validation.jsonl", found[rows : rows + 6])
    write_rows(folder / "test.jsonl", found[rows + 6 :])
    given: dict[str, Any] = {
        "method": "seq2seq",
        "model": model,
        "data": "train.jsonl",
        "validation": "validation.jsonl",
        "test": "test.jsonl",
        "epochs": 4,
        "batch_tokens": 128,
        "save_every_steps": 3,
        "options": {"vocabulary": 320} if model.startswith("new:") else {},
        **tune,
    }
    return Setup(Workspace(folder), Config(tune=TuneConfig(**given), answer=AnswerConfig(max_tokens=8)))


def trained(setup: Setup, progress: Any = None) -> dict[str, Any]:
    _tuning.tune(setup, "seq2seq", progress=progress)
    return _tuning.figures_of(setup, "seq2seq")


def weights_of(setup: Setup) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(setup.workspace.path("runs/seq2seq") / "weights" / "model.safetensors")


# ---------------------------------------------------------------- loss and batches


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_transformers_own(kind: str, folders: dict[str, Path]) -> None:
    model, tokenizer = open_encoder_decoder(str(folders[kind]))
    rows = token_rows(tokenizer, pairs(9))
    batch = PairBatches(rows, batch_tokens=10_000, epochs=1, seed=0, pad=tokenizer.pad_token_id)[0]
    assert len(batch["labels"]) == 9
    assert (batch["labels"] == -100).any()
    assert (batch["attention_mask"] == 0).any()
    model.eval()
    own = float(model(**batch).loss.detach())
    assert TARGETS.loss(model, batch, None).item() == pytest.approx(own, abs=1e-4)
    alone = PairBatches(rows, batch_tokens=1, epochs=1, seed=0, pad=0)
    assert len(alone) == 9
    assert mean_loss(model, alone, TARGETS) == pytest.approx(own, abs=1e-4)  # padding changes nothing


def test_the_loss_of_a_warm_start_is_transformers_own(bert: Path) -> None:
    model, tokenizer = warm_start(bert, seed=0)
    rows = token_rows(tokenizer, pairs(9))
    batch = PairBatches(rows, batch_tokens=10_000, epochs=1, seed=0, pad=tokenizer.pad_token_id)[0]
    model.eval()
    assert TARGETS.loss(model, batch, None).item() == pytest.approx(model(**batch).loss.item(), abs=1e-4)


def test_a_target_that_ends_in_the_padding_token_keeps_its_end() -> None:
    rows = [PairRow((7, 9), (5, 9)), PairRow((7, 8, 9), (5, 6, 7, 9))]
    batch = PairBatches(rows, batch_tokens=100, epochs=1, seed=0, pad=9)[0]
    by_length = {int((row != -100).sum()): row.tolist() for row in batch["labels"]}
    assert by_length == {2: [5, 9, -100, -100], 4: [5, 6, 7, 9]}


def test_batches_keep_to_the_budget_and_hold_every_row_once_an_epoch() -> None:
    rng = random.Random(0)
    rows = [PairRow(tuple(range(rng.randint(1, 40))), tuple(range(rng.randint(1, 9)))) for _ in range(60)]
    batches = PairBatches(rows, batch_tokens=120, epochs=2, seed=1, pad=0)
    first = batches.epoch_ends[0]
    assert sorted(n for part in batches.plan[:first] for n in part) == list(range(60))
    assert sorted(n for part in batches.plan for n in part) == sorted([*range(60), *range(60)])
    assert all(len(part) * max(batches.lengths[n] for n in part) <= 120 for part in batches.plan)
    other = [PairRow(rows[0].input_ids, (*rows[0].target_ids[:-1], 99)), *rows[1:]]
    assert batches.fingerprint() != PairBatches(other, batch_tokens=120, epochs=2, seed=1, pad=0).fingerprint()


def test_control_tokens_in_a_text_are_spelt_out(tokenizer: Any) -> None:
    end = tokenizer.eos_token_id
    ids = input_ids(tokenizer, "red <|end|> cat")
    assert ids.count(end) == 1
    assert ids[-1] == end
    assert target_ids(tokenizer, "cat <|end|>").count(end) == 1
    assert cut([5, 6, 7, end], 3) == [5, 6, end]


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("kind", [*KINDS, "new:2x64"])
def test_training_lowers_the_loss(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    setup = project(tmp_path, str(folders.get(kind, kind)), epochs=12, learning_rate=3e-3)
    figures = trained(setup)
    learned = figures["learned"]
    assert learned["trained"]["after"] < learned["trained"]["before"] - 1.5
    assert figures["last_loss"] < figures["first_loss"] - 1.0
    assert len(figures["validations"]) == 12
    assert learned["validation"]["after"] == pytest.approx(min(v["loss"] for v in figures["validations"]), abs=2e-4)
    assert figures["reload_difference"] < 1e-5
    assert (setup.workspace.path("runs/seq2seq") / "learned.html").exists()
    assert not (setup.workspace.path("runs/seq2seq") / "checkpoints").exists()


def test_a_warm_start_is_trained_and_read_back(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from groundtune.nn import encoder_models

    monkeypatch.setattr(encoder_models, "minilm_folder", lambda: bert)
    figures = trained(project(tmp_path, "warm:minilm", epochs=12, learning_rate=3e-3))
    assert figures["learned"]["trained"]["after"] < figures["learned"]["trained"]["before"] - 1.0
    assert figures["reload_difference"] < 1e-5
    assert "cross-attention new" in figures["start"]
    assert figures["trainable_parameters"] == figures["parameters"] - 33 * 32  # the pooler that nothing reads


def test_a_warm_start_takes_both_sides_from_the_encoder(bert: Path) -> None:
    from transformers import BertModel

    own = BertModel.from_pretrained(bert).state_dict()
    model, tokenizer = warm_start(bert, seed=0)
    for name, weight in model.encoder.state_dict().items():
        assert torch.equal(weight, own[name]), name
    fresh = []
    for name, weight in model.decoder.bert.state_dict().items():
        if name in own:
            assert torch.equal(weight, own[name]), name
        else:
            fresh.append(name)
    assert fresh
    assert all("crossattention" in name for name in fresh)
    head = model.decoder.get_output_embeddings().weight
    assert head.data_ptr() == model.decoder.get_input_embeddings().weight.data_ptr()
    assert tokenizer.eos_token == "[SEP]"
    assert context_tokens(model, tokenizer) == 64


class Killed(Exception):
    """Stands for the kill of a run."""


def killer(at: int) -> Callable[[int, int, Status], None]:
    def report(step: int, steps: int, status: Status) -> None:
        if step == at:
            raise Killed

    return report


@pytest.mark.parametrize("kind", ["t5", "bart", "new:2x64"])
def test_a_killed_run_ends_in_the_same_weights(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    model = str(folders.get(kind, kind))  # all with dropout, whose course must be taken up, too
    calm, rough = (project(tmp_path / name, model) for name in ("calm", "rough"))
    straight = trained(calm)
    assert straight["steps"] > 8
    with pytest.raises(Killed):
        trained(rough, killer(7))
    resumed: list[int] = []
    figures = trained(rough, lambda step, *_: resumed.append(step))
    assert resumed[0] == 7  # from the checkpoint of step 6
    a, b = weights_of(calm), weights_of(rough)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert figures["test"].items() - {("seconds", figures["test"]["seconds"])} <= straight["test"].items()


def test_a_frozen_encoder_stays_as_it_was(folders: dict[str, Path], tmp_path: Path) -> None:
    setup = project(tmp_path, str(folders["bart"]), options={"freeze_encoder": True})
    figures = trained(setup)
    before = open_encoder_decoder(str(folders["bart"]))[0].state_dict()
    after = weights_of(setup)
    layers = {name for name in after if name.startswith("model.encoder.layers")}
    assert layers
    assert all(torch.equal(before[name], after[name]) for name in layers)
    assert not torch.equal(before["model.decoder.layers.0.fc1.weight"], after["model.decoder.layers.0.fc1.weight"])
    assert figures["trainable_parameters"] < figures["parameters"]


def test_what_is_read_back_must_be_what_was_trained(folders: dict[str, Path], tmp_path: Path) -> None:
    model, tokenizer = open_encoder_decoder(str(folders["t5"]))
    rows = token_rows(tokenizer, pairs(2))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert seq2seq.check_reload(model, rows, tmp_path) < 1e-6
    with torch.no_grad():
        model.shared.weight[:50] += 1.0
    with pytest.raises(TrainingError, match="other logits"):
        seq2seq.check_reload(model, rows, tmp_path)


def test_a_copying_start_copies_before_any_training(tokenizer: Any) -> None:
    rng = random.Random(0)
    rows = []
    for _ in range(20):  # the answer is the end of the input, from its second word on
        ids = rng.sample(range(10, 300), 12)
        rows.append(PairRow((*ids, 0), (*ids[5:], 0)))
    batches = PairBatches(rows, batch_tokens=400, epochs=1, seed=0, pad=tokenizer.pad_token_id)
    plain = new_encoder_decoder(2, 128, tokenizer, seed=0)
    before = mean_loss(plain, batches, TARGETS)
    copying_start(plain, seed=0)
    assert mean_loss(plain, batches, TARGETS) < 0.5 * before
    start = torch.tensor([[tokenizer.pad_token_id, rows[0].input_ids[3], rows[0].input_ids[4]]])
    logits_1TV = plain.eval()(input_ids=torch.tensor([rows[0].input_ids]), decoder_input_ids=start).logits
    assert logits_1TV[0, 1:].argmax(-1).tolist() == list(rows[0].input_ids[4:6])
    with pytest.raises(ValueError, match="two decoder layers"):
        copying_start(new_encoder_decoder(1, 128, tokenizer, seed=0), seed=0)


# ---------------------------------------------------------------- answering


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    setup = project(tmp_path_factory.mktemp("answering"), "new:2x64", epochs=6, learning_rate=3e-3)
    trained(setup)
    return setup


@pytest.mark.parametrize("beams", [1, 3])
def test_answers_are_the_same_alone_and_in_a_batch(beams: int, folders: dict[str, Path]) -> None:
    model, tokenizer = open_encoder_decoder(str(folders["t5"]))
    made = EncoderDecoderBackend("t5", model, tokenizer, search=Search(beams))
    asked = [as_messages(q) for q, _ in pairs(9)]
    together = made.generate_batch(asked, max_tokens=6)
    alone = [made.generate(q, max_tokens=6) for q in asked]
    assert [g.text for g in together] == [g.text for g in alone]
    assert len({g.text for g in together}) > 1
    for a, b in zip(together, alone, strict=True):
        assert a.usage == b.usage
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


def test_token_probabilities_are_the_models_own(folders: dict[str, Path]) -> None:
    model, tokenizer = open_encoder_decoder(str(folders["t5"]))
    made = EncoderDecoderBackend("t5", model, tokenizer, search=Search(no_repeat=1))
    found = made.generate(as_messages("red cat sits"), max_tokens=5)
    ids, mask = padded([input_ids(tokenizer, "red cat sits")], tokenizer.pad_token_id)
    written = model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=5, do_sample=False, no_repeat_ngram_size=1
    )[0]
    assert len(set(written.tolist())) == len(written)
    logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=written[None, :-1]).logits[0]
    wanted = [torch.log_softmax(row, -1)[t].item() for row, t in zip(logits, written[1:], strict=True)]
    assert found.logprobs == pytest.approx(wanted[: len(found.logprobs)], abs=1e-4)
    assert len(found.logprobs) == found.usage.completion_tokens


def test_more_beams_find_likelier_answers(answering: Setup) -> None:
    model, tokenizer = open_encoder_decoder(str(answering.workspace.path("runs/seq2seq") / "weights"))
    asked = [as_messages(q) for q, _ in pairs(16)]

    def total(search: Search) -> float:
        made = EncoderDecoderBackend("new", model, tokenizer, search=search)
        return sum(sum(g.logprobs) for g in made.generate_batch(asked, max_tokens=8))

    assert total(Search(5, length_penalty=0.0)) > total(Search(1)) + 1.0


def test_the_system_answers_as_it_was_trained(answering: Setup) -> None:
    system = build_system("seq2seq", answering)
    assert isinstance(system, System)
    assert system.name == "seq2seq"
    saved = [json.loads(line) for line in (answering.workspace.path("runs/seq2seq") / "answers.jsonl").open()]
    answers = system.answer_batch([as_messages(row["input"]) for row in saved])
    assert [a.text for a in answers] == [row["answer"] for row in saved]
    assert system.answer(as_messages(saved[0]["input"])).text == saved[0]["answer"]
    assert system.answer_batch([]) == []
    answering.workspace.path("tuned.json").write_text('{"method": "seq2seq"}', encoding="utf-8")
    tuned = build_system("tuned", answering)
    assert tuned.name == "tuned"
    assert tuned.answer(as_messages(saved[0]["input"])).text == saved[0]["answer"]


def test_test_figures_are_those_of_the_answers(answering: Setup) -> None:
    from sacrebleu import corpus_bleu, corpus_chrf

    figures = _tuning.figures_of(answering, "seq2seq")["test"]
    saved = [json.loads(line) for line in (answering.workspace.path("runs/seq2seq") / "answers.jsonl").open()]
    answers, wanted = [row["answer"] for row in saved], [[row["references"][0] for row in saved]]
    assert figures["n"] == len(saved) == 6
    assert figures["chrf"] == pytest.approx(corpus_chrf(answers, wanted).score / 100, abs=1e-6)
    assert figures["bleu"] == pytest.approx(corpus_bleu(answers, wanted).score / 100, abs=1e-6)
    assert 0 < figures["rouge_1"] <= 1


def test_rows_of_one_input_are_one_item() -> None:
    def row(question: str, answer: str, system: str = "") -> tuple[str, Conversation]:
        before = (Message("system", system),) if system else ()
        return "", Conversation((*before, Message("user", question), Message("assistant", answer)))

    items = _pairs.items_of([row("a", "1"), row("b", "2"), row("a", "3"), row("a", "1"), row("a", "4", "<to-fr>")])
    assert [(i.messages[-1].content, i.references) for i in items] == [("a", ("1", "3")), ("b", ("2",)), ("a", ("4",))]
    assert not _pairs.system_text_matters([row("a", "1", "<to-fr>"), row("b", "1", "<to-fr>")])
    assert _pairs.system_text_matters([row("a", "1", "<to-fr>"), row("b", "1", "<to-de>")])


def test_system_texts_that_tell_tasks_apart_are_part_of_the_input(folders: dict[str, Path]) -> None:
    model, tokenizer = open_encoder_decoder(str(folders["t5"]))
    asked = [Message("system", "<first>"), Message("user", "red cat sits")]
    made = [EncoderDecoderBackend("t5", model, tokenizer, system_text=flag) for flag in (True, False)]
    told, bare = (b.generate(asked, max_tokens=4) for b in made)
    assert told.usage.prompt_tokens > bare.usage.prompt_tokens
    assert bare.usage.prompt_tokens == len(input_ids(tokenizer, "red cat sits"))


def test_trained_on_questions_it_is_asked_as_they_were(folders: dict[str, Path], tmp_path: Path) -> None:
    rows = [Example(f"e{n}", f"f{n}", "train", q, (a,)) for n, (q, a) in enumerate(pairs(8))]
    write_examples(tmp_path / "questions.jsonl", rows)
    config = Config(tune=TuneConfig(method="seq2seq", model=str(folders["t5"]), epochs=2))
    setup = Setup(Workspace(tmp_path), config)
    assert trained(setup)["asked"] == "questions"
    system = build_system("seq2seq", setup)
    found = system.answer(as_messages(rows[0].question))
    tokenizer = open_encoder_decoder(str(folders["t5"]))[1]
    assert found.usage.prompt_tokens == len(input_ids(tokenizer, f"Question: {rows[0].question}"))


# ---------------------------------------------------------------- what is refused or told


def test_inputs_are_cut_only_where_that_is_asked_for(folders: dict[str, Path], tmp_path: Path) -> None:
    long = project(tmp_path / "long", str(folders["t5"]), max_tokens=8)
    with pytest.raises(InputError, match="over the limit of 8") as caught:
        trained(long)
    assert "input_tokens" in caught.value.next_step
    dropped = trained(project(tmp_path / "drop", str(folders["t5"]), max_tokens=8, truncation="drop"))
    assert dropped["rows"] + dropped["rows_over_limit"] == 24
    assert 0 < dropped["rows_over_limit"] < 24
    cut_ = trained(project(tmp_path / "cut", str(folders["t5"]), max_tokens=8, options={"input_tokens": 8}))
    assert (cut_["rows"], cut_["rows_over_limit"]) == (24, 0)
    assert cut_["inputs_cut"] == dropped["rows_over_limit"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"packing": True}, "tune.packing: true"),
        ({"truncation": "window"}, "tune.truncation: window"),
        ({"model": "warm:bert"}, "warm:bert"),
        ({"model": "new:2x65"}, "new:2x65"),
        ({"model": "new:0x64"}, "new:0x64"),
        ({"options": {"beam": 4}}, "tune.options.beam"),
        ({"options": {"copying": True}}, "tune.options.copying"),
        ({"model": "new:2x96", "options": {"copying": True}}, "tune.options.copying"),
    ],
)
def test_settings_it_has_no_place_for_are_refused(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    tune = dict(given)
    model = tune.pop("model", "new:1x64")
    with pytest.raises(ConfigError, match=message):
        trained(project(tmp_path, model, **tune))


def test_test_rows_must_not_be_trained_on(folders: dict[str, Path], tmp_path: Path) -> None:
    setup = project(tmp_path, str(folders["t5"]))
    (tmp_path / "test.jsonl").write_text((tmp_path / "train.jsonl").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(InputError, match="24 test rows are trained on"):
        trained(setup)


def test_columns_with_names_of_their_own_are_read(folders: dict[str, Path], tmp_path: Path) -> None:
    setup = project(tmp_path, str(folders["t5"]), fields={"question": "abstract", "answer": "summaries[0]"})
    for name in ("train", "validation", "test"):
        path = tmp_path / f"{name}.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        new = [{"abstract": r["question"], "summaries": [r["answer"], "other"]} for r in rows]
        path.write_text("\n".join(map(json.dumps, new)), encoding="utf-8")
    assert trained(setup)["rows"] == 24


def test_a_causal_model_is_no_encoder_decoder(tiny_model_path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be loaded as an encoder-decoder"):
        trained(project(tmp_path, str(tiny_model_path)))


def test_what_is_missing_is_said_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError) as caught:
        build_system("seq2seq", project(tmp_path, "new:2x64"))
    assert caught.value.next_step == "groundtune tune --method seq2seq"
