"""Validation keeps the best weights and stops in time, a resumed run decides the same; Ctrl-C leaves a checkpoint; guards speak."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from groundtune.dataset.render import TokenRow
from groundtune.errors import ConfigError
from groundtune.training.data import RowBatches
from groundtune.training.guards import LossError, TrainingError
from groundtune.training.objectives import CAUSAL, mean_loss
from groundtune.training.trainer import TrainSettings, train
from groundtune.training.watch import Status

Maker = Callable[..., Any]


def rows(count: int = 12, offset: int = 0) -> list[TokenRow]:
    return [
        TokenRow(tuple((7 * n + 3 * k + offset) % 390 + 5 for k in range(10 + n % 5)), (False, *[True] * (9 + n % 5)))
        for n in range(count)
    ]


def batches(epochs: int = 6, **changes: Any) -> RowBatches:
    return RowBatches(changes.get("rows", rows()), batch_tokens=48, epochs=epochs, seed=changes.get("seed", 0))


SETTINGS = TrainSettings(learning_rate=5e-3, warmup_steps=0, weight_decay=0.0, save_every_steps=4)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---------------------------------------------------------------- validation


def scripted(values: list[float]) -> Callable[[Any], dict[str, float]]:
    """A validation that gives these losses in turn."""
    left = list(values)
    return lambda model: {"loss": left.pop(0)}


def test_the_best_weights_are_the_ones_the_model_ends_with(make_tiny_model: Maker, tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def validate(model: Any) -> dict[str, float]:
        seen.append(weights(model))
        return {"loss": [3.0, 1.0, 2.0, 2.5, 2.6, 2.7][len(seen) - 1]}

    model = make_tiny_model()
    result = train(model, batches(), SETTINGS, tmp_path, validate=validate)
    assert len(result.validations) == 6  # after each epoch
    assert result.best_step == result.validations[1]["step"]
    assert equal(weights(model), seen[1]) and not equal(seen[1], seen[5])
    assert not result.stopped_early


def test_validation_stands_exactly_at_the_ends_of_epochs(make_tiny_model: Maker, tmp_path: Path) -> None:
    made = batches(epochs=3)
    result = train(make_tiny_model(), made, SETTINGS, tmp_path, validate=scripted([3.0, 2.0, 1.0]))
    assert [v["step"] for v in result.validations] == made.epoch_ends


def test_patience_ends_the_run(make_tiny_model: Maker, tmp_path: Path) -> None:
    settings = TrainSettings(learning_rate=5e-3, warmup_steps=0, validate_every_steps=2, patience=2)
    result = train(make_tiny_model(), batches(), settings, tmp_path, validate=scripted([2.0, 1.0, 1.5, 1.6, 1.7, 0.1]))
    assert result.stopped_early
    assert [v["loss"] for v in result.validations] == [2.0, 1.0, 1.5, 1.6]
    assert (result.steps, result.best_step) == (8, 4)


def test_higher_can_be_better(make_tiny_model: Maker, tmp_path: Path) -> None:
    accuracies = iter([0.2, 0.9, 0.5, 0.4, 0.3, 0.1])
    settings = TrainSettings(warmup_steps=0, metric="accuracy", higher=True)
    result = train(
        make_tiny_model(), batches(), settings, tmp_path, validate=lambda m: {"loss": 1.0, "accuracy": next(accuracies)}
    )
    assert result.best_step == result.validations[1]["step"]


def test_a_killed_run_ends_in_the_same_best_weights(make_tiny_model: Maker, tmp_path: Path) -> None:
    held = RowBatches(rows(6, offset=100), batch_tokens=64, epochs=1, seed=0)

    def run(folder: Path, progress: Any = None) -> tuple[Any, Any]:
        model = make_tiny_model()
        validate = lambda m: {"loss": mean_loss(m, held)}  # noqa: E731
        return train(model, batches(), SETTINGS, folder, validate=validate, progress=progress), weights(model)

    whole, expected = run(tmp_path / "whole")
    assert whole.best_step is not None

    class Killed(Exception):
        pass

    def kill(step: int, *_: Any) -> None:
        if step == whole.steps - 2:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "rough", kill)
    again, found = run(tmp_path / "rough")
    assert equal(expected, found)
    assert (again.best_step, again.validations) == (whole.best_step, whole.validations)


# ---------------------------------------------------------------- Ctrl-C


def test_the_first_interrupt_saves_and_the_run_goes_on_from_there(make_tiny_model: Maker, tmp_path: Path) -> None:
    whole = make_tiny_model()
    train(whole, batches(), SETTINGS, tmp_path / "whole")

    def interrupt(step: int, steps: int, status: Status) -> None:
        if step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(make_tiny_model(), batches(), SETTINGS, tmp_path / "rough", progress=interrupt)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    saved = max(int(p.name.rpartition("-")[2]) for p in (tmp_path / "rough").glob("checkpoint-*"))
    assert saved >= 6
    steps: list[int] = []
    rest = make_tiny_model()
    train(rest, batches(), SETTINGS, tmp_path / "rough", progress=lambda step, *_: steps.append(step))
    assert steps[0] == saved + 1
    assert equal(weights(whole), weights(rest))


# ---------------------------------------------------------------- guards of a run


def stopped(make_tiny_model: Maker, folder: Path) -> None:
    def die(step: int, *_: Any) -> None:
        if step == 6:
            raise KeyError

    with pytest.raises(KeyError):
        train(make_tiny_model(), batches(), SETTINGS, folder, progress=die, identity={"template": "a"})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"batches": batches(rows=rows(13))}, "batches"),
        ({"batches": batches(seed=1)}, "batches"),
        ({"settings": TrainSettings(learning_rate=1e-3, warmup_steps=0, save_every_steps=4)}, "settings"),
        ({"identity": {"template": "b"}}, "template: a then, b now"),
    ],
)
def test_a_checkpoint_of_another_run_is_not_continued(
    changed: dict[str, Any], said: str, make_tiny_model: Maker, tmp_path: Path
) -> None:
    stopped(make_tiny_model, tmp_path)
    with pytest.raises(ConfigError, match=said):
        train(
            make_tiny_model(),
            changed.get("batches", batches()),
            changed.get("settings", SETTINGS),
            tmp_path,
            identity=changed.get("identity", {"template": "a"}),
        )


def test_other_versions_do_not_continue_a_run(
    make_tiny_model: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import groundtune.training.trainer as trainer

    stopped(make_tiny_model, tmp_path)
    monkeypatch.setattr(trainer, "versions", lambda: {"torch": "9.9"})
    with pytest.raises(ConfigError, match="versions"):
        train(make_tiny_model(), batches(), SETTINGS, tmp_path, identity={"template": "a"})


def test_no_steps_are_no_success(make_tiny_model: Maker, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0 steps"):
        train(make_tiny_model(), RowBatches([], batch_tokens=48, epochs=1, seed=0), SETTINGS, tmp_path)


def test_weights_outside_the_graph_are_noticed(make_tiny_model: Maker, tmp_path: Path) -> None:
    model = make_tiny_model()
    model.model.layers[0].stray = torch.nn.Linear(4, 4)
    with pytest.raises(TrainingError, match="2 trainable tensors have no gradient"):
        train(model, batches(), SETTINGS, tmp_path / "on")
    off = TrainSettings(learning_rate=5e-3, warmup_steps=0, guards=False)
    train(model, batches(), off, tmp_path / "off")  # the failure: it "succeeds"


def test_a_run_that_diverges_stops_at_once(make_tiny_model: Maker, tmp_path: Path) -> None:
    told: list[int] = []
    settings = TrainSettings(learning_rate=1e30, warmup_steps=0, max_grad_norm=0.0)
    with pytest.raises(LossError, match="learning rate"):
        train(make_tiny_model(), batches(epochs=40), settings, tmp_path, progress=lambda s, *_: told.append(s))
    assert len(told) < 10


def test_the_mean_loss_counts_every_supervised_token_the_same(make_tiny_model: Maker) -> None:
    model, some = make_tiny_model(), rows()
    one = RowBatches(some, batch_tokens=10_000, epochs=1, seed=0)
    many = RowBatches(some, batch_tokens=16, epochs=1, seed=0)
    assert len(one) == 1 < len(many)
    assert mean_loss(model, one, CAUSAL) == pytest.approx(mean_loss(model, many, CAUSAL), abs=1e-5)


def test_progress_says_loss_speed_and_memory(make_tiny_model: Maker, tmp_path: Path) -> None:
    told: list[Status] = []
    train(make_tiny_model(), batches(), SETTINGS, tmp_path, progress=lambda step, steps, status: told.append(status))
    assert "loss" in str(told[-1]) and "tokens/s" in str(told[-1]) and "GB" in str(told[-1])
    assert told[-1].tokens_per_second > 0
