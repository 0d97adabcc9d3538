"""The one training path: the right loss, the same step however it is cut up, and the same end after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.dataset.invented import invented_items
from groundtune.dataset.prompts import closed_book
from groundtune.dataset.render import TokenRow, render_example
from groundtune.nn.precision import Precision
from groundtune.records import Message
from groundtune.training import trainer as trainer_module
from groundtune.training.data import IGNORED, RowBatches
from groundtune.training.objectives import supervised_loss
from groundtune.training.trainer import TrainSettings, discard_checkpoints, train
from groundtune.training.watch import Status

Weights = dict[str, torch.Tensor]
Maker = Callable[..., Any]


@pytest.fixture(scope="module")
def rows(tiny_tokenizer: Any) -> list[TokenRow]:
    """Sixteen questions with their answers, of different lengths."""
    pairs = [(q, a) for item in islice(invented_items(5), 30) for q, a in item.questions[:1] if a][:16]
    return make_rows(tiny_tokenizer, pairs)


def make_rows(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[TokenRow]:
    conversations = [[*closed_book(q), Message("assistant", a)] for q, a in pairs]
    return [render_example(tokenizer, c, max_tokens=256, where="test") for c in conversations]


def batch_of(rows: Sequence[TokenRow], *, width: int | None = None, fill: int = 0) -> dict[str, torch.Tensor]:
    """Rows padded to a width, as the trainer pads them."""
    width = width or max(len(r.ids) for r in rows)
    ids = [[*r.ids, *[fill] * (width - len(r.ids))] for r in rows]
    labels = [
        [*(i if t else IGNORED for i, t in zip(r.ids, r.trained, strict=True)), *[IGNORED] * (width - len(r.ids))]
        for r in rows
    ]
    return {"input_ids": torch.tensor(ids), "labels": torch.tensor(labels)}


def weights_of(model: Any) -> Weights:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def furthest(a: Weights, b: Weights) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def with_lora(model: Any) -> Any:
    from groundtune.methods import lora

    return lora.attach(model, lora.Options(rank=8, alpha=16), base="")


class Killed(Exception):
    """Stands for the kill of a run."""


def killer(at: int) -> Callable[[int, int, Status], None]:
    def progress(step: int, steps: int, status: Status) -> None:
        if step == at:
            raise Killed

    return progress


# ---------------------------------------------------------------- the loss


def other_model(kind: str, vocabulary: int) -> Any:
    import transformers as hf

    torch.manual_seed(0)
    small = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    }
    match kind:
        case "gpt2":
            return hf.GPT2LMHeadModel(
                hf.GPT2Config(
                    vocab_size=vocabulary, n_embd=32, n_layer=1, n_head=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
                )
            )
        case "qwen2":
            return hf.Qwen2ForCausalLM(hf.Qwen2Config(vocab_size=vocabulary, **small))
        case "gemma2":
            config = hf.Gemma2Config(
                vocab_size=vocabulary, head_dim=16, final_logit_softcapping=0.5, pad_token_id=0, **small
            )
            return hf.Gemma2ForCausalLM(config)
    return hf.GraniteForCausalLM(hf.GraniteConfig(vocab_size=vocabulary, logits_scaling=8.0, pad_token_id=0, **small))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2", "gemma2", "granite"])
def test_the_loss_is_the_cross_entropy_of_supervised_tokens(
    kind: str, rows: list[TokenRow], tiny_tokenizer: Any, make_tiny_model: Maker
) -> None:
    model = make_tiny_model() if kind == "llama" else other_model(kind, len(tiny_tokenizer))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # logits apart, so that a loss over the wrong positions shows
    batch = batch_of(rows[:6])
    with torch.no_grad():
        logits_BTV = model.eval()(batch["input_ids"]).logits
        plain = torch.nn.functional.cross_entropy(
            logits_BTV[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED
        )
        assert float(supervised_loss(model, batch, None)) == pytest.approx(float(plain), abs=1e-5)
        everywhere = dict(batch, labels=batch["input_ids"])
        assert abs(float(supervised_loss(model, everywhere, None)) - float(plain)) > 1e-3


def test_the_loss_is_divided_by_the_tokens_of_the_step(rows: list[TokenRow], make_tiny_model: Maker) -> None:
    model, batch = make_tiny_model(), batch_of(rows[:4])
    tokens = int((batch["labels"] != IGNORED).sum())
    with torch.no_grad():
        assert float(supervised_loss(model, batch, 2 * tokens)) == pytest.approx(
            float(supervised_loss(model, batch, None)) / 2, rel=1e-5
        )


def test_padding_does_not_change_the_loss(rows: list[TokenRow], make_tiny_model: Maker) -> None:
    model, part = make_tiny_model(), rows[:4]
    width = max(len(r.ids) for r in part)
    with torch.no_grad():
        tight, wide, other = (
            float(supervised_loss(model, batch_of(part, width=w, fill=f), None))
            for w, f in ((width, 0), (width + 40, 0), (width + 40, 77))
        )
        tokens = sum(sum(r.trained) for r in part)
        alone = sum(float(supervised_loss(model, batch_of([r]), tokens)) for r in part)
    assert wide == pytest.approx(tight, abs=1e-5)
    assert other == pytest.approx(tight, abs=1e-5)
    assert alone == pytest.approx(tight, abs=1e-5)


def test_row_batches_pad_and_label_like_the_rows(rows: list[TokenRow]) -> None:
    batches = RowBatches(rows, batch_tokens=200, epochs=1, seed=0)
    assert len(batches) > 1
    for step, plan in enumerate(batches.plan):
        expected = batch_of([rows[r] for r in plan])
        assert all(torch.equal(batches[step][key], expected[key]) for key in expected)


# ---------------------------------------------------------------- steps


def test_accumulated_micro_batches_make_the_same_step(
    rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path
) -> None:
    eight = sorted(rows, key=lambda r: sum(r.trained))[:4] + sorted(rows, key=lambda r: sum(r.trained))[-4:]
    assert len({sum(r.trained) for r in eight}) > 2  # else a mean of means would pass
    after: list[Weights] = []
    for size in (8, 2):
        model = make_tiny_model()
        batches: Any = [batch_of(eight[n : n + size]) for n in range(0, 8, size)]
        settings = TrainSettings(warmup_steps=0, accumulation=8 // size)
        assert train(model, batches, settings, tmp_path / str(size)).steps == 1
        after.append(weights_of(model))
    assert furthest(after[0], weights_of(make_tiny_model())) > 5e-4
    assert furthest(*after) < 1e-5


def test_full_training_then_lora_lower_the_loss(
    rows: list[TokenRow], tiny_tokenizer: Any, make_tiny_model: Maker, tmp_path: Path
) -> None:
    model = make_tiny_model()
    settings = TrainSettings(learning_rate=5e-3, warmup_steps=2, weight_decay=0.0)
    full = train(model, RowBatches(rows, batch_tokens=512, epochs=20, seed=0), settings, tmp_path / "full")
    assert full.steps == len(full.losses)
    assert full.first_loss > 4.0  # ln 400 = 5.99 nats at the start
    assert full.last_loss < full.first_loss - 3.0

    renamed = make_rows(
        tiny_tokenizer,
        [
            (f"Who keeps the {thing}?", name)
            for thing, name in zip("bell mill boat barn".split(), "Ada Rolf Mina Jon".split(), strict=True)
        ],
    )
    before = weights_of(model)
    adapted = with_lora(model)
    lora = train(
        adapted,
        RowBatches(renamed, batch_tokens=512, epochs=30, seed=0),
        TrainSettings(learning_rate=1e-2, warmup_steps=2),
        tmp_path / "lora",
    )
    assert lora.last_loss < lora.first_loss - 2.0
    frozen = {
        n.replace(".base_layer", "").removeprefix("base_model.model."): p
        for n, p in adapted.named_parameters()
        if "lora_" not in n
    }
    assert all(torch.equal(frozen[name], before[name]) for name in before)


def test_progress_is_told_every_step(rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path) -> None:
    told: list[tuple[int, int, Status]] = []
    result = train(
        make_tiny_model(),
        RowBatches(rows, batch_tokens=200, epochs=1, seed=0),
        TrainSettings(),
        tmp_path,
        progress=lambda *a: told.append(a),
    )
    assert [(step, steps) for step, steps, _ in told] == [(n, result.steps) for n in range(1, result.steps + 1)]
    assert tuple((step, status.loss) for step, _, status in told) == result.losses


def test_a_model_trained_in_bf16_answers_in_its_weights_format(
    rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accelerate leaves its autocast around the model: what was read back would differ by 0.04 standard deviations."""
    monkeypatch.setattr(trainer_module, "precision", lambda: Precision(True, "for this test"))
    model, other = make_tiny_model(), make_tiny_model()
    result = train(model, RowBatches(rows, batch_tokens=200, epochs=1, seed=0), TrainSettings(), tmp_path)
    other.load_state_dict(model.state_dict())
    ids_1T = torch.tensor([rows[0].ids])
    with torch.inference_mode():
        assert torch.equal(model(ids_1T).logits, other.eval()(ids_1T).logits)
    assert result.precision == "bf16 (for this test)"


def test_a_loss_that_is_no_number_is_an_error(rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path) -> None:
    model = make_tiny_model()
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    with pytest.raises(FloatingPointError, match="not a number"):
        train(model, RowBatches(rows[:2], batch_tokens=512, epochs=1, seed=0), TrainSettings(), tmp_path)


# ---------------------------------------------------------------- a killed run

SETTINGS = TrainSettings(learning_rate=3e-3, warmup_steps=2, accumulation=2, save_every_steps=3)


def run(rows: list[TokenRow], model: Any, folder: Path, progress: Any = None) -> tuple[Any, Weights]:
    batches = RowBatches(rows, batch_tokens=400, epochs=5, seed=1)
    result = train(model, batches, SETTINGS, folder, progress=progress)
    return result, weights_of(model)


@pytest.fixture(scope="module")
def undisturbed(
    rows: list[TokenRow], make_tiny_model: Maker, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Weights]:
    result, weights = run(rows, make_tiny_model(), tmp_path_factory.mktemp("undisturbed"))
    assert result.steps >= 8
    return result, weights


def test_a_killed_run_resumes_and_ends_in_the_same_weights(
    rows: list[TokenRow], make_tiny_model: Maker, undisturbed: tuple[Any, Weights], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(rows, make_tiny_model(), tmp_path, killer(5))
    assert [p.name for p in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]
    steps: list[int] = []
    result, weights = run(rows, make_tiny_model(seed=9), tmp_path, lambda step, *_: steps.append(step))
    assert steps == list(range(4, undisturbed[0].steps + 1))  # it went on from step 3
    assert furthest(weights, undisturbed[1]) == 0.0
    assert (result.first_loss, result.last_loss) == (undisturbed[0].first_loss, undisturbed[0].last_loss)
    assert result.losses == undisturbed[0].losses


def test_a_killed_lora_run_resumes_and_ends_in_the_same_weights(
    rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path
) -> None:
    _, whole = run(rows, with_lora(make_tiny_model()), tmp_path / "whole")
    with pytest.raises(Killed):
        run(rows, with_lora(make_tiny_model()), tmp_path / "killed", killer(7))
    _, resumed = run(rows, with_lora(make_tiny_model()), tmp_path / "killed")
    assert furthest(resumed, whole) == 0.0


def test_a_run_killed_after_its_last_checkpoint_is_not_trained_further(
    rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path
) -> None:
    batches = RowBatches(rows, batch_tokens=400, epochs=1, seed=1)
    settings = TrainSettings(warmup_steps=0, save_every_steps=1)
    first, again = make_tiny_model(), make_tiny_model()
    result = train(first, batches, settings, tmp_path)
    told = train(again, batches, settings, tmp_path)
    assert furthest(weights_of(first), weights_of(again)) == 0.0
    assert (told.steps, told.first_loss, told.last_loss) == (result.steps, result.first_loss, result.last_loss)


def test_a_half_written_checkpoint_is_ignored(
    rows: list[TokenRow], make_tiny_model: Maker, undisturbed: tuple[Any, Weights], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(rows, make_tiny_model(), tmp_path, killer(5))
    half = tmp_path / "checkpoint-6"  # what a kill while saving leaves behind: newer, and cut off
    shutil.copytree(tmp_path / "checkpoint-3", half)
    (half / "groundtune-whole").unlink()
    weights_file = half / "trained.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:1000])
    steps: list[int] = []
    _, weights = run(rows, make_tiny_model(), tmp_path, lambda step, *_: steps.append(step))
    assert steps[0] == 4
    assert furthest(weights, undisturbed[1]) == 0.0


def test_with_only_a_half_written_checkpoint_training_starts_over(
    rows: list[TokenRow], make_tiny_model: Maker, undisturbed: tuple[Any, Weights], tmp_path: Path
) -> None:
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3" / "trainer_state.json").write_text('{"global_step": 3}', encoding="utf-8")
    steps: list[int] = []
    _, weights = run(rows, make_tiny_model(), tmp_path, lambda step, *_: steps.append(step))
    assert steps[0] == 1
    assert furthest(weights, undisturbed[1]) == 0.0


def test_discarded_checkpoints_are_gone(rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path) -> None:
    run(rows, make_tiny_model(), tmp_path / "checkpoints")
    assert list((tmp_path / "checkpoints").glob("checkpoint-*"))
    discard_checkpoints(tmp_path / "checkpoints")
    assert not (tmp_path / "checkpoints").exists()
    discard_checkpoints(tmp_path / "checkpoints")  # nothing there is no fault
