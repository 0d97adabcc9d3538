"""Fine-tuned_classification: prompts and completions for babbage-002, the training's table, classes by ``logprobs=2``."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import pytest
from notebook_data import classes, written
from notebook_server import NotebookServer, poll

TRAINING = classes(60, seed=1)
VALIDATION = classes(20, seed=2, but=TRAINING)
HELD_OUT = classes(24, seed=3, but=[*TRAINING, *VALIDATION])


def ask(client: Any, model: str, prompt: str, **more: Any) -> Any:
    return client.completions.create(model=model, prompt=prompt, max_tokens=1, temperature=0, **more).choices[0]


def right(client: Any, model: str) -> float:
    """Share of held-out prompts whose class is the first token written."""
    return sum(ask(client, model, row["prompt"]).text == row["completion"] for row in HELD_OUT) / len(HELD_OUT)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_fine_tuned_classification(notebook_server: NotebookServer, tmp_path: Path) -> None:
    client = notebook_server.client()
    train = client.files.create(file=written(tmp_path / "place_train.jsonl", TRAINING).open("rb"), purpose="fine-tune")
    valid = client.files.create(
        file=written(tmp_path / "place_valid.jsonl", VALIDATION).open("rb"), purpose="fine-tune"
    )
    job = client.fine_tuning.jobs.create(training_file=train.id, validation_file=valid.id, model="babbage-002", seed=1)
    done = poll(client, job.id)
    ft_model = done.fine_tuned_model
    assert ft_model.startswith("ft:babbage-002:groundtune::")

    files = client.fine_tuning.jobs.retrieve(job.id).result_files
    rows = list(csv.DictReader(io.StringIO(client.files.content(files[0]).text)))
    accuracy = [float(row["train_accuracy"]) for row in rows if row["train_accuracy"]]
    assert len(rows) == len(accuracy) == 180 and sum(accuracy[-60:]) > sum(accuracy[:60])
    measured = [float(row["valid_loss"]) for row in rows if row["valid_loss"]]
    assert len(measured) == 18 and measured[-1] < measured[0]

    tuned, untuned = right(client, ft_model), right(client, "babbage-002")
    assert tuned >= 0.8 and tuned > untuned + 0.4, (untuned, tuned)
    found = ask(client, ft_model, HELD_OUT[0]["prompt"], logprobs=2)
    (likely,) = found.logprobs.top_logprobs
    assert found.text == next(iter(likely)) == HELD_OUT[0]["completion"] and len(likely) == 2
    assert list(likely.values()) == sorted(likely.values(), reverse=True)
    assert 0.8 < sum(map(math.exp, likely.values())) <= 1.0001 and found.logprobs.token_logprobs == [
        max(likely.values())
    ]
