"""Guards over embeddings and output head (``docs/guards.md``, rows 19, 22, 23), and what happens without them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.dataset.prompts import closed_book
from groundtune.dataset.render import TokenRow, render_example
from groundtune.errors import ConfigError
from groundtune.nn.checkpoints import load_model
from groundtune.records import Message
from groundtune.training.data import IGNORED, RowBatches
from groundtune.training.embedding_guards import check_embeddings, untrained_rows
from groundtune.training.guards import TrainingError
from groundtune.training.objectives import CAUSAL, Objective, mean_loss
from groundtune.training.trainer import TrainSettings, train

Maker = Callable[..., Any]
FAST = TrainSettings(learning_rate=1e-2, warmup_steps=2, weight_decay=0.0)
OFF = TrainSettings(learning_rate=1e-2, warmup_steps=2, weight_decay=0.0, guards=False)
NEW = ("<|east|>", "<|west|>")


def rows_of(tokenizer: Any, pairs: tuple[tuple[str, str], ...]) -> list[TokenRow]:
    chats = [[*closed_book(q), Message("assistant", a)] for q, a in pairs]
    return [render_example(tokenizer, chat, max_tokens=256, where="row") for chat in chats]


@pytest.fixture(scope="module")
def rows(tiny_tokenizer: Any) -> list[TokenRow]:
    return rows_of(tiny_tokenizer, (("Who keeps the mill?", "Rolf"), ("Who keeps the bell?", "Ada")))


def epochs(rows: list[TokenRow], count: int) -> RowBatches:
    return RowBatches(rows, batch_tokens=1024, epochs=count, seed=0)


def adapted(model: Any, **options: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    plain = {"r": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    return get_peft_model(model, LoraConfig(**{**plain, **options}))


# ---------------------------------------------------------------- 19


def by_the_head_s_matrix(model: Any, batch: dict[str, torch.Tensor], tokens: Any) -> torch.Tensor:
    """A fused head as tools have it: it takes the head's weight, and an adapter on the head is never asked."""
    base = model.get_base_model()
    hidden = base.get_decoder()(input_ids=batch["input_ids"], use_cache=False).last_hidden_state[:, :-1]
    logits = hidden @ base.get_output_embeddings().weight.T
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED
    )


def test_row_19_an_adapter_on_the_head_is_trained(rows: list[TokenRow], make_tiny_model: Maker, tmp_path: Path) -> None:
    def moved(settings: TrainSettings, objective: Objective, folder: str) -> float:
        model = adapted(make_tiny_model(), target_modules=["q_proj", "lm_head"])
        train(model, epochs(rows, 5), settings, tmp_path / folder, objective=objective)
        return float(model.get_base_model().lm_head.lora_B["default"].weight.detach().abs().max())

    fused = Objective("fused", by_the_head_s_matrix, CAUSAL.count)
    assert moved(FAST, CAUSAL, "ours") > 1e-3
    with pytest.raises(TrainingError, match=r"have no gradient.*lm_head\.lora_A"):
        moved(FAST, fused, "guarded")
    assert moved(OFF, fused, "off") == 0.0


# ---------------------------------------------------------------- 22


@pytest.mark.parametrize("part", ["embed_tokens", "lm_head"])
def test_row_22_embeddings_and_head_that_are_one_stay_one(
    part: str, rows: list[TokenRow], make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    apart = adapted(make_tiny_model(), modules_to_save=[part])
    with pytest.raises(TrainingError, match="one matrix in this model, and training would make two"):
        check_embeddings(apart, tiny_tokenizer, rows)
    train(apart, epochs(rows, 5), OFF, tmp_path / "off")
    base = apart.merge_and_unload()
    difference = (base.get_input_embeddings().weight - base.get_output_embeddings().weight).abs().max()
    assert float(difference.detach()) > 1e-2  # what was one matrix is two

    for options in (
        {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"trainable_token_indices": [5, 6]},
        {},
    ):
        check_embeddings(adapted(make_tiny_model(), **options), tiny_tokenizer, rows)


def test_row_22_a_model_with_one_matrix_is_saved_and_read_back_with_one(
    rows: list[TokenRow], make_tiny_model: Maker, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    model = make_tiny_model()
    assert model.config.tie_word_embeddings
    check_embeddings(model, tiny_tokenizer, rows)
    train(model, epochs(rows, 5), FAST, tmp_path / "run")
    model.save_pretrained(tmp_path / "weights")
    tiny_tokenizer.save_pretrained(tmp_path / "weights")
    loaded, _ = load_model(str(tmp_path / "weights"))
    assert loaded.config.tie_word_embeddings
    assert loaded.lm_head.weight.data_ptr() == loaded.model.embed_tokens.weight.data_ptr()
    ids = torch.tensor([rows[0].ids])
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, model(ids).logits)


# ---------------------------------------------------------------- 23


@pytest.fixture(scope="module")
def longer(tiny_tokenizer: Any) -> Any:
    """The tokenizer with two tokens that the model was not made with."""
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": list(NEW)})
    return tokenizer


def test_row_23_tokens_outside_the_embeddings_are_refused(longer: Any, make_tiny_model: Maker, tmp_path: Path) -> None:
    model = make_tiny_model()
    rows = [TokenRow((6, longer.convert_tokens_to_ids(NEW[1]), 8, 0), (False, False, True, True))]
    with pytest.raises(ConfigError, match=r"1 tokens of the rows, '<\|west\|>': no row in the model's embeddings"):
        check_embeddings(model, longer, rows)
    with pytest.raises(IndexError, match="out of range"):  # what the user would see without it
        train(model, epochs(rows, 1), OFF, tmp_path)


def test_row_23_new_tokens_are_refused_while_embeddings_are_frozen(
    longer: Any, make_tiny_model: Maker, tmp_path: Path
) -> None:
    """Two new tokens start as the same vector: frozen, nothing can tell them apart, and the loss stays above ln 2."""
    ids = {name: longer.convert_tokens_to_ids(name) for name in NEW}
    answers = {NEW[0]: 70, NEW[1]: 90}
    rows = [TokenRow((6, ids[name], 8, answers[name]), (False, False, False, True)) for name in NEW]

    def grown() -> Any:
        model = make_tiny_model()
        model.resize_token_embeddings(len(longer))
        return model

    frozen, whole = adapted(grown(), r=8, target_modules="all-linear"), grown()
    weight = whole.get_input_embeddings().weight
    assert untrained_rows(weight, [6, 8, *answers.values(), *ids.values()]) == sorted(ids.values())
    with pytest.raises(ConfigError, match=r"2 tokens of the rows, '<\|east\|>', '<\|west\|>': new to the model"):
        check_embeddings(frozen, longer, rows)
    check_embeddings(whole, longer, rows)

    train(frozen, epochs(rows, 60), OFF, tmp_path / "frozen")
    train(whole, epochs(rows, 60), FAST, tmp_path / "whole")
    assert mean_loss(frozen, epochs(rows, 1)) > 0.69
    assert mean_loss(whole, epochs(rows, 1)) < 0.1


def test_row_23_a_zero_row_counts_as_untrained_and_a_drawn_one_does_not(make_tiny_model: Maker) -> None:
    weight = make_tiny_model().get_input_embeddings().weight.detach().clone()
    weight[17] = 0
    assert untrained_rows(weight, list(range(5, len(weight)))) == [17]
