"""Step by step the losses of transformers' Trainer and of TRL's SFTTrainer, where they do the same: to 1e-4."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.dataset.invented import invented_items
from groundtune.dataset.prompts import closed_book
from groundtune.dataset.render import TokenRow, render_example
from groundtune.records import Message
from groundtune.training.data import IGNORED
from groundtune.training.objectives import CAUSAL, CLASSES, MASKED, TARGETS, Objective
from groundtune.training.trainer import TrainSettings, train
from tiny_encoders import ANIMALS, COLOURS, FILLERS, bert_config

Batch = dict[str, torch.Tensor]
Losses = list[float]
CLOSE = 1e-4
STEPS, ROWS, RATE = 6, 4, 1e-2
#: no warm-up, so that steps from the second on differ by what the optimizer did
SETTINGS = TrainSettings(learning_rate=RATE, warmup_steps=0, schedule="linear", betas=(0.9, 0.999), weight_decay=0.01)
METHODS = ("full", "lora", "ia3", "prefix_tuning", "prompt_tuning", "p_tuning")


@pytest.fixture(scope="module")
def rows(tiny_tokenizer: Any) -> list[TokenRow]:
    pairs = [(q, a) for item in islice(invented_items(5), 60) for q, a in item.questions[:1] if a][: STEPS * ROWS]
    chats = [[*closed_book(q), Message("assistant", a)] for q, a in pairs]
    return [render_example(tiny_tokenizer, chat, max_tokens=256, where="test") for chat in chats]


def ours(model: Any, batches: Sequence[Batch], folder: Path, objective: Objective = CAUSAL) -> Losses:
    given: Any = batches
    return [loss for _, loss in train(model, given, SETTINGS, folder, objective=objective).losses]


def arguments(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder), "use_cpu": True, "max_steps": STEPS, "learning_rate": RATE, "lr_scheduler_type": "linear",
        "warmup_steps": 0, "weight_decay": 0.01, "logging_steps": 1, "report_to": [], "disable_tqdm": True, "save_strategy": "no",
        "train_sampling_strategy": "sequential", "remove_unused_columns": False, "seed": 0,
    }  # fmt: skip


def logged(trainer: Any) -> Losses:
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def transformers_trainer(model: Any, batches: Sequence[Batch], folder: Path) -> Losses:
    """The model's own loss in the plain Trainer."""
    from transformers import Trainer, TrainingArguments

    given: Any = batches
    settings = TrainingArguments(**arguments(folder), per_device_train_batch_size=1)
    return logged(Trainer(model=model, args=settings, train_dataset=given, data_collator=lambda items: items[0]))


def trl_trainer(model: Any, rows: Sequence[TokenRow], tokenizer: Any, folder: Path) -> Losses:
    """TRL's SFTTrainer on the tokens of the same rows."""
    trl, datasets = import_module("trl"), import_module("datasets")
    columns = [{"input_ids": list(row.ids), "labels": labels_of(row)} for row in rows]
    settings = trl.SFTConfig(
        **arguments(folder), bf16=False, gradient_checkpointing=False, per_device_train_batch_size=ROWS,
        max_length=None, dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    data = datasets.Dataset.from_list(columns)
    return logged(trl.SFTTrainer(model=model, args=settings, train_dataset=data, processing_class=tokenizer))


def labels_of(row: TokenRow) -> list[int]:
    return [token if trained else IGNORED for token, trained in zip(row.ids, row.trained, strict=True)]


def batches_of(rows: Sequence[TokenRow]) -> list[Batch]:
    def padded(lists: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(own) for own in lists], batch_first=True, padding_value=fill
        )

    parts = [rows[n : n + ROWS] for n in range(0, len(rows), ROWS)]
    return [
        {"input_ids": padded([r.ids for r in part], 0), "labels": padded([labels_of(r) for r in part], IGNORED)}
        for part in parts
    ]


def with_method(name: str, make: Callable[..., Any], base: Path) -> Any:
    """The tiny model with a method's weights, the same each time."""
    module = import_module(f"groundtune.methods.{name}")
    model = make().eval()
    torch.manual_seed(3)
    return module.attach(model, module.Options(), base=str(base))


def same(mine: Losses, theirs: Losses) -> None:
    assert len(mine) == len(theirs) == STEPS
    assert mine == pytest.approx(theirs, abs=CLOSE)
    assert max(mine) - min(mine) > 100 * CLOSE  # they move, or equal would mean nothing


@pytest.mark.parametrize("method", METHODS)
def test_trl(
    method: str, rows: list[TokenRow], make_tiny_model: Any, tiny_tokenizer: Any, tiny_model_path: Path, tmp_path: Path
) -> None:
    mine = ours(with_method(method, make_tiny_model, tiny_model_path), batches_of(rows), tmp_path / "ours")
    theirs = with_method(method, make_tiny_model, tiny_model_path)
    same(mine, trl_trainer(theirs, rows, tiny_tokenizer, tmp_path / "trl"))


@pytest.mark.parametrize("method", METHODS)
def test_transformers_and_peft(
    method: str, rows: list[TokenRow], make_tiny_model: Any, tiny_model_path: Path, tmp_path: Path
) -> None:
    """PEFT's own forward pass and the model's own loss, which scores every position."""
    batches = batches_of(rows)
    mine = ours(with_method(method, make_tiny_model, tiny_model_path), batches, tmp_path / "ours")
    theirs = with_method(method, make_tiny_model, tiny_model_path)
    same(mine, transformers_trainer(theirs, batches, tmp_path / "theirs"))


# ---------------------------------------------------------------- other tasks


def texts(rng: random.Random, length: int) -> torch.Tensor:
    return torch.tensor(
        [[rng.randrange(5, 5 + len(COLOURS + ANIMALS + FILLERS)) for _ in range(length)] for _ in range(ROWS)]
    )


def classified(rng: random.Random) -> Batch:
    ids = texts(rng, 9)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 1] % 3}


def masked(rng: random.Random) -> Batch:
    ids = texts(rng, 9)
    labels = torch.full_like(ids, IGNORED)
    labels[:, 2:4] = ids[:, 2:4]
    ids[:, 2:4] = 4
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def translated(rng: random.Random) -> Batch:
    ids = texts(rng, 7)
    labels = ids.flip(1).clone()
    labels[0, 4:] = IGNORED
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def new_model(objective: Objective) -> Any:
    from transformers import BertForMaskedLM, BertForSequenceClassification, T5Config, T5ForConditionalGeneration

    torch.manual_seed(1)
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    if objective is TARGETS:
        small = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.0}
        return T5ForConditionalGeneration(T5Config(vocab_size=60, decoder_start_token_id=0, pad_token_id=0, **small))
    kind: Any = BertForMaskedLM if objective is MASKED else BertForSequenceClassification
    return kind(bert_config(**still, **({"num_labels": 3} if objective is CLASSES else {})))


@pytest.mark.parametrize(
    ("objective", "make"), [(CLASSES, classified), (MASKED, masked), (TARGETS, translated)], ids=["classes", "masked", "targets"]
)  # fmt: skip
def test_transformers_on_other_tasks(
    objective: Objective, make: Callable[[random.Random], Batch], tmp_path: Path
) -> None:
    rng = random.Random(2)
    batches = [make(rng) for _ in range(STEPS)]
    mine = ours(new_model(objective), batches, tmp_path / "ours", objective)
    same(mine, transformers_trainer(new_model(objective), batches, tmp_path / "theirs"))
