"""The guards of a run (``docs/guards.md``): each is seen to speak, and with the guard off the failure itself is seen."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.dataset.prompts import closed_book
from groundtune.dataset.render import TokenRow, render_example
from groundtune.errors import ConfigError
from groundtune.nn.precision import cpu_flags
from groundtune.records import Message
from groundtune.training import trainer as trainer_module
from groundtune.training.data import IGNORED, RowBatches, pack
from groundtune.training.guards import TrainingError
from groundtune.training.learned import validator
from groundtune.training.objectives import CAUSAL, Objective, mean_loss, supervised_loss
from groundtune.training.packing import TOLERANCE, logits_apart, logits_packed, prepare
from groundtune.training.trainer import TrainSettings, train
from groundtune.training.watch import Status, Watch

Maker = Callable[..., Any]
FACTS = (
    ("Who keeps the mill?", "Rolf"),
    ("Who keeps the bell?", "Ada"),
    ("Who rows the boat?", "Mina"),
    ("Who owns the barn?", "Jon"),
)
FAST = TrainSettings(learning_rate=1e-2, warmup_steps=2, weight_decay=0.0)


def chat(question: str, answer: str) -> list[Message]:
    return [*closed_book(question), Message("assistant", answer)]


@pytest.fixture(scope="module")
def rows(tiny_tokenizer: Any) -> list[TokenRow]:
    """Four questions with one-word answers."""
    return [render_example(tiny_tokenizer, chat(q, a), max_tokens=256, where=q) for q, a in FACTS]


def epochs(rows: Sequence[TokenRow], count: int) -> RowBatches:
    return RowBatches(rows, batch_tokens=1024, epochs=count, seed=0)


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def furthest(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def with_lora(model: Any, **options: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        model, LoraConfig(**{"r": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM", **options})
    )


def written(model: Any, rows: Sequence[TokenRow], most: int = 12) -> list[list[int]]:
    """What a model writes after each row's prompt, greedily."""
    out = []
    for row in rows:
        prompt = row.ids[: row.trained.index(True)]
        ids = model.generate(torch.tensor([prompt]), max_new_tokens=most, do_sample=False)
        out.append(ids[0, len(prompt) :].tolist())
    return out


# ---------------------------------------------------------------- rows and masks: 1, 4, 6, 10


def test_row_01_without_its_end_in_the_loss_an_answer_never_ends(
    rows: list[TokenRow], make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    end = tiny_tokenizer.eos_token_id
    assert all(row.ids[-1] == end and row.trained[-1] for row in rows)
    endless = [TokenRow(row.ids, (*row.trained[:-1], False)) for row in rows]  # the mask of tools that leave it out
    answers = {}
    for name, trained_on in (("ours", rows), ("without the end", endless)):
        model = make_tiny_model()
        train(model, epochs(trained_on, 40), FAST, tmp_path / name)
        answers[name] = written(model, rows)
    assert [ids[-1] for ids in answers["ours"]] == [end] * 4
    assert [len(ids) for ids in answers["without the end"]] == [12] * 4
    spoken = [tiny_tokenizer.decode(ids[:-1]) for ids in answers["ours"]]
    assert spoken == [a for _, a in FACTS]


def test_row_04_a_step_with_nothing_to_train_on_is_refused(
    rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path
) -> None:
    masked = [TokenRow(row.ids, (False,) * len(row.ids)) for row in rows]
    with pytest.raises(TrainingError, match="step 1 has no token to train on"):
        train(make_tiny_model(), epochs(masked, 3), FAST, tmp_path / "guarded")

    model = make_tiny_model()
    batch = epochs(masked, 1)[0]
    with torch.no_grad():
        theirs = model(input_ids=batch["input_ids"], labels=batch["labels"]).loss
    assert torch.isnan(theirs)  # the mean over nothing
    off = TrainSettings(learning_rate=1e-2, warmup_steps=0, weight_decay=0.0, guards=False)
    result = train(model, epochs(masked, 3), off, tmp_path / "off")
    assert [loss for _, loss in result.losses] == [0.0] * 3  # a run that says it succeeded ...
    assert furthest(weights_of(model), weights_of(make_tiny_model())) == 0.0  # ... and did nothing


def test_row_06_the_loss_is_on_the_answers_alone(rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path) -> None:
    everything = [TokenRow(row.ids, (True,) * len(row.ids)) for row in rows]
    questions = epochs([TokenRow(row.ids, tuple(not t for t in row.trained)) for row in rows], 1)
    learnt = {}
    for name, trained_on in (("ours", rows), ("all tokens", everything)):
        model = make_tiny_model()
        before = mean_loss(model, questions)
        result = train(model, epochs(trained_on, 15), FAST, tmp_path / name)
        learnt[name] = before - mean_loss(model, questions)
        assert result.tokens is not None
        assert result.trained_tokens is not None
        share = result.trained_tokens / result.tokens
        assert share > 0.9 if name == "all tokens" else share < 0.2  # the share that the run's figures keep
    assert learnt["ours"] < 0.5
    assert learnt["all tokens"] > 3.0  # the model learns to ask


def test_row_10_padding_with_the_end_token_leaves_the_end_in_the_loss(
    rows: list[TokenRow], tiny_tokenizer: Any
) -> None:
    end = tiny_tokenizer.eos_token_id
    batch = epochs(rows, 1)[0]
    lengths = [len(rows[n].ids) for n in epochs(rows, 1).plan[0]]
    assert len(set(lengths)) > 1
    assert [int(batch["labels"][n, length - 1]) for n, length in enumerate(lengths)] == [end] * 4
    padded = torch.full_like(batch["input_ids"], end)  # pad == eos, masked by id as the usual collator does
    for n, length in enumerate(lengths):
        padded[n, :length] = batch["input_ids"][n, :length]
    theirs = torch.where(padded == end, IGNORED, batch["labels"])
    assert not (theirs == end).any()  # no row says where to stop any more: the failure of row 1


# ---------------------------------------------------------------- packing: 11, 12, 13


def test_row_11_packed_rows_do_not_see_each_other(rows: list[TokenRow], make_tiny_model: Maker) -> None:
    model = make_tiny_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    apart = logits_apart(model, rows)
    with torch.no_grad():
        leaked = model(input_ids=pack(rows)["input_ids"], attention_mask=torch.ones(1, len(apart))).logits[0]
    assert float((leaked - apart).abs().max() / apart.std()) > 5  # the mask of all ones that collators make
    prepare(model, rows)
    assert float((logits_packed(model, rows) - apart).abs().max() / apart.std()) < TOLERANCE


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning", "p_tuning"])
def test_row_12_a_learnt_prompt_and_packing_do_not_go_together(
    method: str, rows: list[TokenRow], make_tiny_model: Maker
) -> None:
    from groundtune import registry

    module = registry.get("methods", method)
    assert module.PACKS is False  # which tune.packing is refused by: test_row_12_packing_is_refused_for_learnt_prompts
    model = module.attach(make_tiny_model(), module.Options(virtual_tokens=4), base="")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    model.eval()
    packed = pack(rows)
    apart = torch.cat([model(input_ids=torch.tensor([row.ids])).logits[0, -len(row.ids) :] for row in rows])
    together = model(input_ids=packed["input_ids"], position_ids=packed["position_ids"]).logits[0, -len(apart) :]
    assert float((together - apart).abs().max() / apart.std()) > 1


def test_row_13_an_architecture_whose_packed_logits_differ_is_refused() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    from groundtune.nn.packed_attention import NAME

    torch.manual_seed(0)
    shape = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    model = MistralForCausalLM(MistralConfig(**shape, **heads, sliding_window=8, initializer_range=0.2))
    rows = [TokenRow(tuple(range(5 + n, 45 + n)), (True,) * 40) for n in range(2)]
    with pytest.raises(ConfigError, match="sliding window"):
        prepare(model, rows)
    apart = logits_apart(model, rows)
    model.set_attn_implementation(NAME)
    assert float((logits_packed(model, rows) - apart).abs().max() / apart.std()) > 0.1


def test_row_13_validation_is_not_packed(rows: list[TokenRow], make_tiny_model: Maker) -> None:
    model, other = make_tiny_model(), make_tiny_model()
    prepare(model, rows)
    assert validator(rows, 1024)(model)["loss"] == pytest.approx(validator(rows, 1024)(other)["loss"], abs=1e-5)
    packed = dict(pack(rows))
    del packed["cu_seq_lens_q"]  # how rows see each other again
    with torch.no_grad():
        assert abs(float(supervised_loss(model, packed, None)) - validator(rows, 1024)(other)["loss"]) > 1e-4


# ---------------------------------------------------------------- steps and resuming: 14, 15, 16, 18, 33


def mean_of_means(model: Any, batch: dict[str, torch.Tensor], tokens: torch.Tensor | int | None) -> torch.Tensor:
    """Each micro-batch by its own tokens, as trainers did before transformers PR #34191."""
    return supervised_loss(model, batch, None) / 4


@pytest.mark.parametrize(("loss", "furthest_allowed"), [(supervised_loss, 1e-5), (mean_of_means, None)])
def test_row_14_accumulation_does_not_change_the_step(
    loss: Any, furthest_allowed: float | None, tiny_tokenizer: Any, make_tiny_model: Maker, tmp_path: Path
) -> None:
    long = "Rolf and Ada and Mina and Jon and all the others who live there and work there"
    pairs = [(q, a if n % 4 else long) for n, (q, a) in enumerate((*FACTS, *FACTS))]
    eight = [render_example(tiny_tokenizer, chat(q, a), max_tokens=256, where=q) for q, a in pairs]
    objective = Objective("test", loss, CAUSAL.count)
    settings = {"warmup_steps": 0, "weight_decay": 0.0, "learning_rate": 1e-3}
    whole, parts = make_tiny_model(), make_tiny_model()
    train(whole, [epochs(eight, 1)[0]], TrainSettings(**settings), tmp_path / "1x8")
    two = [RowBatches(eight[n : n + 2], batch_tokens=1024, epochs=1, seed=0)[0] for n in range(0, 8, 2)]
    train(parts, two, TrainSettings(**settings, accumulation=4), tmp_path / "4x2", objective=objective)
    difference = furthest(weights_of(whole), weights_of(parts))
    if furthest_allowed is None:
        assert difference > 5e-4  # half of what a step moves a weight
    else:
        assert difference < furthest_allowed


class Killed(Exception):
    """Stands for the kill of a run."""


def killed_at(step: int) -> Callable[[int, int, Status], None]:
    def progress(at: int, steps: int, status: Status) -> None:
        if at == step:
            raise Killed

    return progress


SAVING = TrainSettings(learning_rate=1e-2, warmup_steps=0, weight_decay=0.0, save_every_steps=2)


@pytest.mark.parametrize("what", ["data", "template", "order", "settings", "versions"])
def test_row_15_a_checkpoint_is_continued_only_by_the_run_that_wrote_it(
    what: str, rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(data: Any, settings: TrainSettings, folder: Path, progress: Any = None, template: str = "a") -> Any:
        model = make_tiny_model()
        train(model, data, settings, folder, identity={"template": template}, progress=progress)
        return weights_of(model)

    data, settings = RowBatches(rows, batch_tokens=60, epochs=2, seed=0), SAVING
    with pytest.raises(Killed):
        run(data, settings, tmp_path / "run", killed_at(3))
    other, template = data, "a"
    match what:
        case "data":
            other = RowBatches(rows[::-1], batch_tokens=60, epochs=2, seed=0)
        case "order":
            other = RowBatches(rows, batch_tokens=60, epochs=2, seed=1)
        case "template":
            template = "b"
        case "settings":
            settings = TrainSettings(learning_rate=2e-2, warmup_steps=0, weight_decay=0.0, save_every_steps=2)
        case "versions":
            monkeypatch.setattr(trainer_module, "versions", lambda: {"torch": "0.0"})
    with pytest.raises(ConfigError, match="its checkpoint was made otherwise"):
        run(other, settings, tmp_path / "run", template=template)
    if what in ("data", "order", "settings"):  # with the guard off the weights are neither run's
        straight = run(other, settings, tmp_path / "straight")
        monkeypatch.setattr(trainer_module, "check_identity", lambda *_, **__: None)
        assert furthest(run(other, settings, tmp_path / "run"), straight) > 1e-3


def test_row_16_a_finished_run_is_not_taken_for_one_on_other_rows(
    rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(make_tiny_model(), epochs(rows[:2], 4), SAVING, tmp_path)
    with pytest.raises(ConfigError, match="its checkpoint was made otherwise: batches"):
        train(make_tiny_model(), epochs(rows[2:], 4), SAVING, tmp_path)
    with pytest.raises(ConfigError, match="0 steps"):
        train(make_tiny_model(), [], SAVING, tmp_path / "empty")

    monkeypatch.setattr(trainer_module, "check_identity", lambda *_, **__: None)
    model, steps = make_tiny_model(), []
    result = train(model, epochs(rows[2:], 4), SAVING, tmp_path, progress=lambda step, *_: steps.append(step))
    assert steps == []  # nothing was trained ...
    assert result.steps == 4  # ... and it says that everything was
    assert mean_loss(model, epochs(rows[2:], 1)) > mean_loss(model, epochs(rows[:2], 1)) + 1


def test_row_18_weights_without_a_gradient_stop_the_run(
    rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path
) -> None:
    def cut_off() -> Any:
        model = with_lora(make_tiny_model())
        model.get_base_model().model.layers[0].register_forward_hook(lambda *call: call[-1].detach())
        return model

    with pytest.raises(TrainingError, match=r"2 trainable tensors have no gradient.*layers\.0"):
        train(cut_off(), epochs(rows, 4), FAST, tmp_path / "guarded")
    model = cut_off()
    before = weights_of(model)
    off = TrainSettings(learning_rate=1e-2, warmup_steps=0, weight_decay=0.0, guards=False)
    result = train(model, epochs(rows, 4), off, tmp_path / "off")
    assert result.steps == 4
    after = weights_of(model)
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert len(still) == 2
    assert all("layers.0" in name for name in still)


def test_row_18_an_adapter_gets_its_gradient_under_checkpointing(
    rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path
) -> None:
    after = []
    for again in (False, True):
        model = with_lora(make_tiny_model())
        settings = TrainSettings(learning_rate=1e-2, warmup_steps=0, weight_decay=0.0, gradient_checkpointing=again)
        train(model, epochs(rows, 3), settings, tmp_path / str(again))
        after.append(weights_of(model))
    assert all(float(p.abs().max()) > 0 for name, p in after[1].items() if "lora_B" in name)
    assert furthest(*after) < 1e-6


def test_row_33_tokens_are_counted_once_and_validation_is_not(
    rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path
) -> None:
    batches = RowBatches(rows, batch_tokens=60, epochs=4, seed=0)
    told: dict[int, Status] = {}

    def validate(model: Any) -> dict[str, float]:
        time.sleep(0.4)
        return {"loss": mean_loss(model, batches)}

    def run(progress: Any) -> Any:
        settings = TrainSettings(learning_rate=1e-3, warmup_steps=0, save_every_steps=2, validate_every_steps=3)
        return train(make_tiny_model(), batches, settings, tmp_path, validate=validate, progress=progress)

    with pytest.raises(Killed):
        run(killed_at(7))
    began = time.perf_counter()
    result = run(lambda step, _, status: told.update({step: status}))
    seconds = time.perf_counter() - began
    trained = sum(len(row.ids) for row in rows) * 4
    assert result.tokens == trained  # steps before the kill once, those after it once, validation never
    assert result.trained_tokens == sum(sum(row.trained) for row in rows) * 4
    assert min(told) == 7
    here = sum(batches.tokens_of(step - 1) for step in told)
    assert told[result.steps].tokens_per_second > 2 * here / seconds  # what a clock that runs on would have said


def test_row_33_steps_before_a_resume_are_not_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from groundtune.training import watch as module

    clock = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    told: list[Status] = []
    watch = Watch(lambda step, steps, status: told.append(status), lambda step: 100 * step, guards=False)
    state, arguments = TrainerState(max_steps=8), TrainingArguments(report_to=[], use_cpu=True)
    clock[0] += 60.0  # reading the checkpoint
    for step in (7, 8):  # resumed behind step 6
        state.global_step = step - 1
        watch.on_step_begin(arguments, state, TrainerControl())
        clock[0] += 5.0
        state.global_step = step
        watch.on_step_end(arguments, state, TrainerControl())
        clock[0] += 40.0  # a validation, a checkpoint
        watch.on_log(arguments, state, TrainerControl(), {"loss": 1.0})
    # counting all eight steps would say 360 tokens/s, counting all the time 10
    assert [status.tokens_per_second for status in told] == [140.0, 150.0]


# ---------------------------------------------------------------- machine: 28, 34


@pytest.mark.parametrize(("flags", "bf16"), [("sse2 avx2 avx512f", False), ("avx512_bf16", False), ("amx_bf16", True)])
def test_row_28_bf16_is_for_hardware_that_has_it(
    flags: str, bf16: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from groundtune.nn import precision as module

    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n", encoding="utf-8")
    found = cpu_flags(tmp_path / "cpuinfo")
    monkeypatch.setattr(module, "cpu_flags", lambda: found)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    probed = module.precision.__wrapped__()
    assert probed.bf16 is bf16
    assert trainer_module._arguments(FAST, tmp_path, 1, probed).bf16 is bf16


@pytest.mark.skipif(bool({"avx512_bf16", "amx_bf16"} & cpu_flags()), reason="this CPU has bf16 units")
def test_row_28_emulated_bf16_is_slower() -> None:
    a = torch.randn(384, 384)
    seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for _ in range(9):
        for kind, times in seconds.items():
            b, began = a.to(kind), time.process_time()
            for _ in range(3):
                b @ b
            times.append(time.process_time() - began)
    assert min(seconds[torch.bfloat16]) > 1.2 * min(seconds[torch.float32])


SILENT = "from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_TELEMETRY)"


@pytest.mark.parametrize(("first", "said"), [("import groundtune.errors; ", "True"), ("", "False")])
def test_row_34_nothing_phones_home(first: str, said: str) -> None:
    import os

    kept = {k: v for k, v in os.environ.items() if not any(w in k for w in ("TELEMETRY", "TRACK", "OFFLINE"))}
    done = subprocess.run(
        [sys.executable, "-c", first + SILENT], capture_output=True, text=True, env=kept, check=True, timeout=120
    )
    assert done.stdout.strip() == said
