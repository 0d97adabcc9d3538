"""The guards of `groundtune tune` (``docs/guards.md``): each is seen to speak, and with the guard off the failure itself is seen."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.backends.local import LocalBackend
from groundtune.config import parse_config
from groundtune.dataset.lengths import Lengths
from groundtune.dataset.prompts import closed_book
from groundtune.dataset.render import VERSION, TokenRow, render_example, render_prompt
from groundtune.errors import ConfigError, InputError
from groundtune.methods import _causal_training, _tuning
from groundtune.methods._finished import stop_where_turns_end
from groundtune.methods._material import gather, token_rows
from groundtune.methods._overlap import check_overlap, nearly_trained
from groundtune.methods._setup import Setup
from groundtune.methods._tuning import figures_of, training_row, tune, tuned_backend
from groundtune.nn import checkpoints
from groundtune.records import Conversation, Message
from groundtune.training.data import IGNORED, RowBatches
from groundtune.training.guards import TrainingError
from groundtune.training.learned import logits
from groundtune.training.learned_rows import shown_row
from groundtune.training.objectives import mean_loss
from groundtune.training.trainer import TrainSettings, train
from groundtune.workspace import Workspace, digest

Maker = Callable[..., Any]
FACTS = (
    ("Who keeps the mill?", "Rolf"),
    ("Who keeps the bell?", "Ada"),
    ("Who rows the boat?", "Mina"),
    ("Who owns the barn?", "Jon"),
)
OTHER_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} said: {{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant said: {% endif %}"
)


def write_rows(path: Path, pairs: Sequence[tuple[str, str]]) -> Path:
    lines = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in pairs]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def named(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, Conversation]]:
    chats = [Conversation((Message("user", q), Message("assistant", a))) for q, a in pairs]
    return [(f"row {n}", chat) for n, chat in enumerate(chats, 1)]


def project(folder: Path, model: Path, pairs: Sequence[tuple[str, str]] = FACTS, **tuning: Any) -> Setup:
    """A project with its own copy of the tiny model, and rows to train on."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model").exists():
        shutil.copytree(model, folder / "model")
    write_rows(folder / "rows.jsonl", pairs)
    settings = {"data": "rows.jsonl", "epochs": 40, "learning_rate": 1e-2, "options": {}, **tuning}
    return Setup(Workspace(folder), parse_config({"model": "./model", "tune": settings}, "test"))


def right(backend: Any) -> int:
    """How many of the four questions a backend answers as it was trained to."""
    asked = backend.generate_batch([[Message("user", q)] for q, _ in FACTS], max_tokens=8)
    return sum(g.text == a for g, (_, a) in zip(asked, FACTS, strict=True))


@pytest.fixture(scope="module")
def trained(tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose model was trained by `full` and by `lora`. Not to be written to."""
    folder = tmp_path_factory.mktemp("trained") / "project"
    tune(project(folder, tiny_model_path, method="full"))
    tune(project(folder, tiny_model_path, method="lora", epochs=80))
    return folder


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained project to spoil; its figures name the base by the old path, so that is corrected."""
    folder = Path(shutil.copytree(trained, tmp_path / "project"))
    for manifest in (folder / ".groundtune" / "runs").glob("*/manifest.json"):
        text = manifest.read_text(encoding="utf-8")
        manifest.write_text(text.replace(str(trained), str(folder)), encoding="utf-8")
    return folder


def reopened(folder: Path, **tuning: Any) -> Setup:
    settings = {"data": "rows.jsonl", "epochs": 40, "learning_rate": 1e-2, **tuning}
    return Setup(Workspace(folder), parse_config({"model": "./model", "tune": settings}, "test"))


# ---------------------------------------------------------------- rows: 1, 2, 3, 5, 9, 31


def test_row_01_generation_stops_where_the_template_ends_a_turn(trained: Path) -> None:
    """A base model that stops at another token than its template ends turns with, as Qwen's base models do."""
    weights = trained / ".groundtune" / "runs" / "full" / "weights"
    loaded, tokenizer = checkpoints.open_model(str(weights), torch.float32)
    loaded.generation_config.eos_token_id = tokenizer.pad_token_id
    ids = torch.tensor([render_prompt(tokenizer, [Message("user", FACTS[0][0])])])

    def written() -> list[int]:
        return loaded.generate(ids, max_new_tokens=20, do_sample=False)[0, ids.shape[1] :].tolist()

    assert len(written()) == 20  # with the guard off it never stops
    stop_where_turns_end(loaded, tokenizer)
    assert loaded.generation_config.eos_token_id == [tokenizer.pad_token_id, tokenizer.eos_token_id]
    assert tokenizer.decode(written()) == "Rolf<|end|>"

    backend = LocalBackend(str(weights))  # answering: at both, whatever the model's own settings say
    backend.model.generation_config.eos_token_id = tokenizer.pad_token_id
    backend.tokenizer = copy.deepcopy(tokenizer)
    backend.tokenizer.eos_token = tokenizer.pad_token
    assert backend.generate([Message("user", FACTS[0][0])], max_tokens=20).usage.completion_tokens <= 4


LONG = ("Who keeps the hall, the mill, the bell and the boat, and since when, and why, and how?", "Rolf and Ada " * 6)


def test_row_02_nothing_is_cut_off_unasked(tiny_tokenizer: Any) -> None:
    chats = named([*FACTS, LONG])
    whole, lengths = token_rows(tiny_tokenizer, chats, max_tokens=256)
    limit = sorted(lengths.tokens)[-2] + 8
    with pytest.raises(InputError, match=rf"row 5: {len(whole[-1].ids)} tokens, over the limit of {limit}") as caught:
        token_rows(tiny_tokenizer, chats, max_tokens=limit)
    assert f"1 rows are over it by {len(whole[-1].ids) - limit} tokens" in caught.value.problem
    kept, counted = token_rows(tiny_tokenizer, chats, max_tokens=limit, truncation="drop")
    assert (len(kept), counted.over) == (4, 1)
    parts, _ = token_rows(tiny_tokenizer, chats, max_tokens=limit, truncation="window")
    assert sum(sum(row.trained) for row in parts) == sum(sum(row.trained) for row in whole)

    cut = TokenRow(whole[-1].ids[:limit], whole[-1].trained[:limit])  # what truncation at the limit leaves
    assert sum(cut.trained) < sum(whole[-1].trained) / 2
    assert tiny_tokenizer.eos_token_id not in [i for i, t in zip(cut.ids, cut.trained, strict=True) if t]


def test_row_03_the_limit_is_the_model_s_context_and_the_lengths_are_said_first(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    happened: list[str] = []

    def run(name: str, **tuning: Any) -> dict[str, Any]:
        setup = project(tmp_path / name, tiny_model_path, [*FACTS, LONG], method="full", epochs=1, **tuning)
        tune(setup, progress=lambda *_: happened.append("step"), announce=happened.append)
        return figures_of(setup, "full")

    figures = run("default")
    assert happened[0] == (
        f"5 rows: half have up to {figures['lengths']['p50']} tokens, 95 % up to {figures['lengths']['longest']}, "
        f"the longest {figures['lengths']['longest']}; the limit is 256"
    )
    assert "step" in happened[1:]
    assert (figures["rows"], figures["lengths"]["limit"], figures["rows_over_limit"]) == (5, 256, 0)
    page = (tmp_path / "default" / ".groundtune" / "runs" / "full" / "learned.html").read_text(encoding="utf-8")
    assert 'class="histogram"' in page

    happened.clear()
    short = run("a limit of its own", max_tokens=64, truncation="drop")  # what a fixed default does, made loud
    lost = short["lengths"]["tokens_over"]
    assert happened[0].endswith(f"the limit is 64, 1 rows are over it by {lost} tokens")
    assert (short["rows"], short["rows_over_limit"]) == (4, 1)
    assert short["tokens"] < figures["tokens"] / 2  # half of what was to be learnt is gone


def test_row_03_lengths_are_counted_right() -> None:
    lengths = Lengths((5, 1, 9, 3, 7), 6)
    assert lengths.figures() == {"p50": 5, "p95": 9, "longest": 9, "limit": 6, "rows_over": 2, "tokens_over": 4}
    assert Lengths((), 6).figures()["p95"] == 0
    assert Lengths(tuple(range(1, 101)), 99).figures()["p95"] == 95


def masked_by_marker(tokenizer: Any, ids: Sequence[int], marker: str) -> list[bool]:
    """The loss mask of collators that look for a string: everything after its token ids, nothing where they are not found."""
    wanted = tokenizer(marker, add_special_tokens=False)["input_ids"]
    at = next((n for n in range(len(ids)) if list(ids[n : n + len(wanted)]) == wanted), None)
    return [at is not None and n >= at + len(wanted) for n in range(len(ids))]


def test_row_05_the_mask_does_not_come_from_marker_strings(tiny_tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '\n Question: ' if m['role'] == 'user' else '\n Answer: ' }}{{ m['content'] }}"
        "{% endfor %}{{ '\n Answer: ' if add_generation_prompt }}"
    )
    chat = [Message("user", "When do you open?"), Message("assistant", "9:30")]
    row = render_example(tokenizer, chat, max_tokens=256, where="row")
    ours = tokenizer.decode([i for i, t in zip(row.ids, row.trained, strict=True) if t])
    assert ours == "9:30<|end|>"
    theirs = masked_by_marker(
        tokenizer, row.ids, " Answer:"
    )  # in the row its blank belongs to the line break before it
    assert not any(theirs)
    labels = torch.where(torch.tensor(theirs), torch.tensor(row.ids), IGNORED)
    assert torch.isnan(
        torch.nn.functional.cross_entropy(torch.zeros(len(row.ids), 500), labels)
    )  # ... and the loss is this


def test_row_05_one_row_is_shown_with_its_trained_part(trained: Path) -> None:
    setup = reopened(trained)
    row = training_row(setup, "full", 2)
    assert row.marked() == "<|user|>Who keeps the bell?<|end|><|assistant|>⟦Ada<|end|>⟧"
    assert (row.where.rpartition(":")[2], row.trained) == ("2", sum(k in ("trained", "end") for _, k, _ in row.pieces))
    with pytest.raises(InputError, match="no row 5"):
        training_row(setup, "full", 5)
    page = (trained / ".groundtune" / "runs" / "full" / "learned.html").read_text(encoding="utf-8")
    assert '<span class="t end">&lt;|end|&gt;</span>' in page
    assert '<span class="t mark">&lt;|user|&gt;</span>' in page


def test_row_09_a_beginning_of_text_stands_once(tiny_tokenizer: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.add_special_tokens({"bos_token": "<|begin|>"})
    begin = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        "<|begin|> $A", special_tokens=[("<|begin|>", begin)]
    )
    tokenizer.chat_template = "{{ bos_token }}" + str(tiny_tokenizer.chat_template)
    chat = [*closed_book(FACTS[0][0]), Message("assistant", FACTS[0][1])]
    row = render_example(tokenizer, chat, max_tokens=256, where="row")
    assert list(row.ids).count(begin) == 1
    text = tokenizer.apply_chat_template([{"role": m.role, "content": m.content} for m in chat], tokenize=False)
    assert tokenizer(text)["input_ids"][:2] == [begin, begin]  # text from the template, tokenized again
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    with pytest.raises(InputError, match="begins with two"):
        render_example(tokenizer, chat, max_tokens=256, where="row")


def test_row_31_a_faulty_row_is_not_left_out_in_silence(tiny_model_path: Path, tmp_path: Path) -> None:
    setup, path = project(tmp_path, tiny_model_path), tmp_path / "rows.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + '{"messages": [{"role": "user"}]}\n{"text', encoding="utf-8")
    with pytest.raises(InputError, match=r"2 rows cannot be trained on; the first: .*rows\.jsonl:5") as caught:
        gather(setup, setup.config.tune)
    assert "--quarantine" in caught.value.next_step

    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():  # "Dropped invalid example"
        try:
            kept.append([m["content"] for m in json.loads(line)["messages"]])
        except (ValueError, KeyError):
            continue
    assert len(kept) == 4  # two of six rows are gone, and nobody was told


# ---------------------------------------------------------------- pairs of settings: 12, 29, 30


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning", "p_tuning", "llama_adapter"])
def test_row_12_packing_is_refused_for_learnt_prompts(method: str, tiny_model_path: Path, tmp_path: Path) -> None:
    setup = project(tmp_path, tiny_model_path, method=method, packing=True)
    with pytest.raises(ConfigError, match=rf"tune\.packing: rows cannot be packed with {method}"):
        tune(setup)


def test_row_29_prefix_tuning_with_checkpointing_is_refused_in_a_sentence(
    tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = project(tmp_path, tiny_model_path, method="prefix_tuning", gradient_checkpointing=True, epochs=1)
    with pytest.raises(ConfigError, match=r"tune\.gradient_checkpointing: not with prefix_tuning"):
        tune(setup)
    monkeypatch.setattr(_tuning, "_check_pairs", lambda *_: None)
    with pytest.raises(RuntimeError, match=r"size of tensor a .* must match the size of tensor b"):
        tune(setup)


def test_row_30_adaption_prompts_are_trained(tiny_tokenizer: Any, make_tiny_model: Maker, tmp_path: Path) -> None:
    from groundtune.methods import llama_adapter

    rows, _ = token_rows(tiny_tokenizer, named(FACTS), max_tokens=256)
    batches = RowBatches(rows, batch_tokens=1024, epochs=60, seed=0)

    def adapted() -> Any:
        return llama_adapter.attach(make_tiny_model(), llama_adapter.Options(layers=2), base="")

    model = adapted()
    before = mean_loss(model, RowBatches(rows, batch_tokens=1024, epochs=1, seed=0))
    train(model, batches, TrainSettings(learning_rate=0.1, warmup_steps=2), tmp_path)
    assert mean_loss(model, RowBatches(rows, batch_tokens=1024, epochs=1, seed=0)) < before - 0.2

    other = adapted()  # a trainer that swaps the model's forward for one that gives log-probabilities
    base, plain = other.get_base_model(), other.get_base_model().forward

    def with_log_probabilities(*args: Any, **kwargs: Any) -> Any:
        out = plain(*args, **kwargs)
        out.log_probs = torch.log_softmax(out.logits, -1)
        return out

    base.forward = with_log_probabilities
    assert hasattr(base(input_ids=torch.tensor([rows[0].ids])), "log_probs")
    with pytest.raises(AttributeError, match="log_probs"):
        assert other(input_ids=torch.tensor([rows[0].ids])).log_probs.shape


# ---------------------------------------------------------------- templates and caches: 7, 8, 27


@pytest.mark.parametrize("change", ["template", "vocabulary"])
def test_row_07_what_was_trained_with_one_template_is_not_asked_in_another(
    change: str, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = reopened(copied, method="lora")
    assert right(tuned_backend(setup, "lora")) == 4
    if change == "template":
        (copied / "model" / "chat_template.jinja").write_text(OTHER_TEMPLATE, encoding="utf-8")
    else:  # two merges change places: other ids from the same text
        file = copied / "model" / "tokenizer.json"
        held = json.loads(file.read_text(encoding="utf-8"))
        names = [name for name in held["model"]["vocab"] if name.strip("Ġ").isalpha() and len(name) == 1][:20]
        ids = [held["model"]["vocab"][name] for name in names]
        held["model"]["vocab"].update(zip(names, [*ids[1:], ids[0]], strict=True))
        file.write_text(json.dumps(held), encoding="utf-8")
    checkpoints._load.cache_clear()
    with pytest.raises(ConfigError, match="is not the one that runs/lora was trained with"):
        tuned_backend(reopened(copied, method="lora"), "lora")
    kept = figures_of(setup, "lora")["template"]
    monkeypatch.setattr(_tuning, "template_digest", lambda tokenizer: kept)
    assert right(tuned_backend(reopened(copied, method="lora"), "lora")) <= 1  # 4 of 4 before
    checkpoints._load.cache_clear()


def test_row_08_a_template_that_is_not_saved_is_missed(
    tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedTokenizerFast

    whole = PreTrainedTokenizerFast.save_pretrained

    def without_template(tokenizer: Any, folder: Any, **options: Any) -> Any:
        written = whole(tokenizer, folder, **options)
        (Path(folder) / "chat_template.jinja").unlink()
        return written

    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", without_template)
    with pytest.raises(TrainingError, match="the saved tokenizer renders chats otherwise"):
        tune(project(tmp_path / "guarded", tiny_model_path, method="full"))
    off = project(tmp_path / "off", tiny_model_path, method="full", guards=False)
    folder, _ = tune(off)
    assert right(LocalBackend(str(folder / "weights"))) <= 1
    shutil.copy(tiny_model_path / "chat_template.jinja", folder / "weights")
    checkpoints._load.cache_clear()
    assert right(LocalBackend(str(folder / "weights"))) == 4


def test_row_27_what_changes_the_rows_changes_the_key(
    tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(Workspace, "make", lambda self, name, inputs, work: (made.append(inputs), (Path(), False))[1])

    def key(**tuning: Any) -> str:
        tune(reopened(tmp_path, method="full", **tuning))
        return digest(made[-1])

    project(tmp_path, tiny_model_path)
    keys = [key(), key(truncation="drop")]
    assert key() == keys[0]
    template = tmp_path / "model" / "chat_template.jinja"
    template.write_text(
        template.read_text(encoding="utf-8").replace("<|assistant|>", "<|assistant|> "), encoding="utf-8"
    )
    keys.append(key())
    file = tmp_path / "model" / "tokenizer_config.json"
    file.write_text(file.read_text(encoding="utf-8").replace("{", '{"add_prefix_space": true, ', 1), encoding="utf-8")
    keys.append(key())
    write_rows(tmp_path / "rows.jsonl", FACTS[:3])
    keys.append(key())
    monkeypatch.setattr(_tuning, "RENDER_VERSION", VERSION + 1)
    keys.append(key())
    assert len(set(keys)) == len(keys)

    monkeypatch.setattr(_tuning, "model_identity", lambda base: base)  # a key of the rows' texts alone ...
    stale = key()
    template.write_text(OTHER_TEMPLATE, encoding="utf-8")
    assert key() == stale  # ... takes rows of another template for the same


#: what the chats below come to, by version of rendering; a change to `render` that alters them needs a new VERSION
RENDERED = {
    1: [
        "<|system|>Answer in a few words.<|end|><|user|>Question: When?<|end|><|assistant|>⟦9:30<|end|>⟧",
        "<|user|>a<|end|><|assistant|>⟦b<|end|>⟧<|user|>c<|end|><|end|><|assistant|>⟦ d <|end|>⟧",
        "<|system|>x<|end|><|user|>y<|end|><|assistant|>z<|end|><|user|>!<|end|><|assistant|>⟦?<|end|>⟧",
        "system said: Answer in a few words.<|end|>\nuser said: Question: When?<|end|>\nassistant said: ⟦9:30<|end|>⟧\n",
        "user said: a<|end|>\nassistant said:⟦ b<|end|>⟧\nuser said: c<|end|><|end|>\nassistant said: ⟦ d <|end|>⟧\n",
        "system said: x<|end|>\nuser said: y<|end|>\nassistant said: z<|end|>\nuser said: !<|end|>\nassistant said: ⟦?<|end|>⟧\n",
    ]
}


def test_row_27_another_rendering_is_another_version(tiny_tokenizer: Any) -> None:
    context = Message("assistant", "z", trained=False)
    chats = [
        [*closed_book("When?"), Message("assistant", "9:30")],
        [Message("user", "a"), Message("assistant", "b"), Message("user", "c<|end|>"), Message("assistant", " d ")],
        [Message("developer", "x"), Message("user", "y"), context, Message("user", "!"), Message("assistant", "?")],
    ]
    found = []
    for template in (tiny_tokenizer.chat_template, OTHER_TEMPLATE):
        tokenizer = copy.deepcopy(tiny_tokenizer)
        tokenizer.chat_template = template
        rows = [render_example(tokenizer, chat, max_tokens=256, where="row") for chat in chats]
        found += [shown_row("row", row, tokenizer, 256).marked() for row in rows]
    assert found == RENDERED[VERSION]


def test_row_27_a_model_of_the_hub_is_told_apart_by_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.utils import hub

    path = "/cache/models--a--b/snapshots/{}/config.json"
    monkeypatch.setattr(hub, "cached_file", lambda *_: path.format("abc"))
    first = _tuning.model_identity("a/b")
    monkeypatch.setattr(hub, "cached_file", lambda *_: path.format("def"))
    assert (first, _tuning.model_identity("a/b")) == ("a/b@abc", "a/b@def")


# ---------------------------------------------------------------- finished weights: 16, 17, 20, 21


def test_row_16_training_that_changes_nothing_is_no_success(tiny_model_path: Path, tmp_path: Path) -> None:
    nothing = {"method": "lora", "learning_rate": 1e-30, "epochs": 2}
    with pytest.raises(TrainingError, match="training changed nothing"):
        tune(project(tmp_path / "guarded", tiny_model_path, **nothing))
    setup = project(tmp_path / "off", tiny_model_path, **nothing, guards=False)
    tune(setup)
    figures = figures_of(setup, "lora")
    assert figures["steps"] > 0
    assert all(loss["before"] == loss["after"] for loss in figures["learned"].values())


def test_row_17_an_adapter_that_is_not_applied_is_missed(
    tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = checkpoints.load_model
    monkeypatch.setattr(checkpoints, "load_model", lambda name, adapter=None: honest(name))
    adapting = {"method": "lora", "learning_rate": 2e-2}
    with pytest.raises(TrainingError, match="the weights read back"):
        tune(project(tmp_path / "guarded", tiny_model_path, **adapting))
    folder, _ = tune(project(tmp_path / "off", tiny_model_path, **adapting, guards=False))
    plain, _ = honest(str(tiny_model_path))
    weights = folder / "weights"
    applied, tokenizer = honest(str(tiny_model_path), adapter=str(weights))
    rows, _ = token_rows(tokenizer, named(FACTS), max_tokens=256)
    ignored, _ = checkpoints.load_model(str(tiny_model_path), adapter=str(weights))
    assert torch.equal(logits(ignored, rows), logits(plain, rows))  # the base answers, under the adapter's name
    assert float((logits(applied, rows) - logits(plain, rows)).abs().max()) > 1


def test_row_20_an_adapter_is_merged_into_the_unquantized_base(
    tiny_model_path: Path, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes", reason="qlora needs bitsandbytes")
    from bitsandbytes.functional import dequantize_4bit

    from groundtune.methods import qlora

    rows, _ = token_rows(tiny_tokenizer, named(FACTS), max_tokens=256)
    four_bit, _ = qlora.load(str(tiny_model_path))
    model = qlora.attach(four_bit, qlora.Options(rank=4), base="")
    batches = RowBatches(rows, batch_tokens=1024, epochs=2, seed=0)
    train(model, batches, TrainSettings(learning_rate=2e-4, warmup_steps=0), tmp_path / "run")
    model.save_pretrained(tmp_path / "weights")
    name = "model.layers.0.mlp.down_proj"
    adapter = model.get_base_model().get_submodule(name)
    learnt = adapter.get_delta_weight("default").detach().clone()

    answering, _ = checkpoints.load_model(str(tiny_model_path), adapter=str(tmp_path / "weights"))
    plain, _ = checkpoints.load_model(str(tiny_model_path))
    assert {type(p) for p in answering.parameters()} == {torch.nn.Parameter}
    ours = (answering.get_submodule(name).weight - plain.get_submodule(name).weight).detach()
    assert float((ours - learnt).norm() / learnt.norm()) < 0.01

    def unpacked(layer: Any) -> torch.Tensor:
        return dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()

    before = unpacked(adapter.base_layer).clone()
    with pytest.warns(UserWarning, match="4-bit"):
        merged = model.merge_and_unload()
    theirs = unpacked(merged.get_submodule(name)) - before
    assert float((theirs - learnt).norm() / learnt.norm()) > 1  # what was learnt is smaller than a step of the 4 bits


def test_row_21_a_merge_that_gives_another_model_is_missed(
    tiny_model_path: Path, tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, _ = token_rows(tiny_tokenizer, named(FACTS), max_tokens=256)
    check, apart = _causal_training.check_reload, []

    def with_another_scale(model: Any, *given: Any) -> float:
        """The check, after someone changed the scaling that the adapter is merged by."""
        weights = next(part for part in given if isinstance(part, Path))
        config = json.loads((weights / "adapter_config.json").read_text(encoding="utf-8"))
        (weights / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 64}), encoding="utf-8")
        merged, _ = checkpoints.load_model(str(tmp_path / "model"), adapter=str(weights))
        apart.append(float((logits(merged, rows) - logits(model, rows)).abs().max()))
        return check(model, *given)

    setup = project(tmp_path, tiny_model_path, method="lora", epochs=10)
    folder, _ = tune(setup)
    assert figures_of(setup, "lora")["reload_difference"] < 1e-4  # the number that the page publishes
    assert "standard deviations" in (folder / "learned.html").read_text(encoding="utf-8")
    monkeypatch.setattr(_causal_training, "check_reload", with_another_scale)
    with pytest.raises(TrainingError, match="the weights read back"):
        tune(project(tmp_path, tiny_model_path, method="lora", epochs=9))
    assert apart[0] > 0.1  # what would have been served


# ---------------------------------------------------------------- validation: 26


def test_row_26_validation_rows_that_are_trained_on_are_refused(tiny_model_path: Path, tmp_path: Path) -> None:
    setup = project(tmp_path, tiny_model_path, validation="validation.jsonl")
    write_rows(tmp_path / "validation.jsonl", [("who keeps  the BELL?", "Somebody"), ("Who sells the fish?", "Ida")])
    with pytest.raises(InputError, match=r"1 validation rows are trained on, too: .*validation\.jsonl:1"):
        gather(setup, setup.config.tune)

    def task(language: str, answer: str) -> list[tuple[str, Conversation]]:
        system = Message("system", f"Translate into {language}.")
        return [("row", Conversation((system, Message("user", "the sea"), Message("assistant", answer))))]

    check_overlap(task("French", "la mer"), task("German", "das Meer"))  # another task
    with pytest.raises(InputError):
        check_overlap(task("French", "la mer"), task("French", "mer"))


def test_row_26_a_validation_over_trained_rows_says_nothing(
    tiny_tokenizer: Any, make_tiny_model: Maker, tmp_path: Path
) -> None:
    """With the guard off: the loss on leaked rows falls as training goes on, that on honest ones rises."""
    rows, _ = token_rows(tiny_tokenizer, named(FACTS), max_tokens=256)
    unseen, _ = token_rows(tiny_tokenizer, named([("Who keeps the hall?", "Berit"), ("Who owns the quay?", "Knut")]), max_tokens=256)  # fmt: skip
    found: dict[str, list[float]] = {}
    for name, held in (("leaked", rows), ("honest", unseen)):
        batches = RowBatches(held, batch_tokens=1024, epochs=1, seed=0)
        result = train(
            make_tiny_model(),
            RowBatches(rows, batch_tokens=1024, epochs=30, seed=0),
            TrainSettings(learning_rate=1e-2, warmup_steps=2),
            tmp_path / name,
            validate=lambda model, b=batches: {"loss": mean_loss(model, b)},
        )
        found[name] = [v["loss"] for v in result.validations]
    assert found["leaked"][-1] < min(0.2, min(found["leaked"]) + 0.02)
    assert found["honest"][-1] > min(found["honest"]) + 1


def test_row_26_nearly_trained_validation_rows_are_told(tiny_model_path: Path, tmp_path: Path) -> None:
    asked = (
        "On which day of the week does the harbour office of Port Ellery open its counter for visitors in the summer?"
    )
    train_rows = named(
        [(asked, "Monday"), ("How long is the boat number 7 of the harbour office of Port Ellery?", "6 m")]
    )
    near = named([(asked.replace("summer", "season"), "Monday")])
    assert nearly_trained(train_rows, near) == [("row 1", "row 1")]
    assert nearly_trained(train_rows, []) == []
    other_answer = named([(near[0][1].messages[0].content, "Friday")])
    other_number = named([("How long is the boat number 8 of the harbour office of Port Ellery?", "6 m")])
    assert nearly_trained(train_rows, other_answer) == nearly_trained(train_rows, other_number) == []

    told: list[str] = []
    setup = project(
        tmp_path, tiny_model_path, [(asked, "Monday")], epochs=1, validation="validation.jsonl", method="full"
    )
    write_rows(tmp_path / "validation.jsonl", [(near[0][1].messages[0].content, "Monday")])
    tune(setup, announce=told.append)
    note = "1 of 1 validation rows are nearly trained ones, their loss says little"
    assert any(line.startswith(note) for line in told)
    assert figures_of(setup, "full")["notes"][0].startswith(note)
    tune(project(tmp_path, tiny_model_path, epochs=1, method="full"), announce=told.append)
    assert "no validation rows" in told[-1]


def test_row_26_validation_rows_over_the_limit_are_told(tiny_model_path: Path, tmp_path: Path) -> None:
    told: list[str] = []
    setup = project(tmp_path, tiny_model_path, epochs=1, method="full", max_tokens=64, validation="validation.jsonl")
    write_rows(tmp_path / "validation.jsonl", [LONG, ("Who sells the fish?", "Ida")])
    tune(setup, announce=told.append)
    assert told[2:] == ["1 of 2 validation rows are over the limit and left out"]
    write_rows(tmp_path / "validation.jsonl", [LONG])
    tune(setup, announce=told.append)
    assert told[-1].startswith("no validation rows")


def test_row_05_the_row_that_is_shown_is_one_that_was_trained(tiny_model_path: Path, tmp_path: Path) -> None:
    dropping = {"max_tokens": 64, "truncation": "drop", "epochs": 1, "method": "full"}
    folder, _ = tune(project(tmp_path, tiny_model_path, [LONG, *FACTS], **dropping))
    page = (folder / "learned.html").read_text(encoding="utf-8")
    assert "rows.jsonl:2: " in page
    assert "rows.jsonl:1: " not in page


def test_a_model_is_asked_as_its_rows_ask(tiny_model_path: Path, tmp_path: Path) -> None:
    setup = project(tmp_path, tiny_model_path, method="full")
    rows = [
        {"messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in FACTS
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tune(setup)
    assert figures_of(setup, "full")["asked_as"] == {"system": "Be short."}
    system, asked = _tuning.tuned_system(setup, "tuned", "full"), []
    backend = system._backend  # type: ignore[attr-defined]
    own = backend.generate_batch
    backend.generate_batch = lambda prompts, **how: asked.extend(prompts) or own(prompts, **how)
    answers = [c.text for c in system.answer_batch([[Message("user", q)] for q, _ in FACTS])]  # type: ignore[attr-defined]
    assert asked[0] == [Message("system", "Be short."), Message("user", FACTS[0][0])]
    assert answers == [a for _, a in FACTS]


@pytest.mark.parametrize(
    ("given", "said"), [({"rnk": 4}, "did you mean 'rank'"), ({"rank": "x"}, "--help-method lora")]
)
def test_a_wrong_option_says_what_to_do(
    given: dict[str, Any], said: str, tiny_model_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        tune(project(tmp_path, tiny_model_path, method="lora", options=given))
    assert said in caught.value.next_step
