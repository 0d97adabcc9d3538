"""Hyperparameters: what "auto" becomes, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from groundtune.serving.tuning.job_request import CreateJob, resolved

FILES = {"model": "pebble", "training_file": "file-1"}


@pytest.mark.parametrize(
    ("examples", "epochs"),
    [(1, 25), (4, 25), (5, 20), (10, 10), (33, 3), (34, 3), (101, 3), (103, 3), (8333, 3), (8334, 2), (12_501, 1), (90_000, 1)],
)  # fmt: skip
def test_auto_epochs_are_those_of_real_jobs(examples: int, epochs: int) -> None:
    assert resolved(CreateJob(**FILES).wanted, examples)["n_epochs"] == epochs


def test_a_hundred_and_one_examples_take_303_steps() -> None:
    numbers = resolved(CreateJob(**FILES).wanted, 101)
    assert numbers == {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.0}
    assert -(-101 // numbers["batch_size"]) * numbers["n_epochs"] == 303


def test_what_was_said_is_kept_wherever_it_was_said() -> None:
    said = {"n_epochs": 7, "batch_size": 4, "learning_rate_multiplier": 0.5}
    for more in (
        {"hyperparameters": said},
        {"method": {"type": "supervised", "supervised": {"hyperparameters": said}}},
    ):
        assert resolved(CreateJob(**FILES, **more).wanted, 1000) == said
    dpo: dict[str, Any] = {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.3}}}
    assert resolved(CreateJob(**FILES, method=dpo).wanted, 50)["beta"] == 0.3
    assert resolved(CreateJob(**FILES, method={"type": "dpo"}).wanted, 50)["beta"] == 0.1


@pytest.mark.parametrize(
    "wrong",
    [
        {"hyperparameters": {"n_epochs": 0}}, {"hyperparameters": {"n_epochs": 51}}, {"hyperparameters": {"n_epochs": "many"}},
        {"hyperparameters": {"batch_size": 257}}, {"hyperparameters": {"learning_rate_multiplier": 0}},
        {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 2.1}}}}, {"method": {"type": "sft"}},
        {"suffix": ""}, {"suffix": "x" * 65}, {"seed": -1}, {"seed": 2**31}, {"colour": "red"},
        {"metadata": {"k" * 65: "v"}}, {"metadata": {"k": "v" * 513}}, {"metadata": {str(n): "v" for n in range(17)}},
        {"integrations": [{"type": "mlflow"}]}, {"integrations": [{"type": "wandb", "wandb": {}}]},
    ],
)  # fmt: skip
def test_what_is_out_of_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CreateJob(**FILES, **wrong)
