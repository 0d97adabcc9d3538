"""How_to_finetune_chat_models: 101 recipes, 303 steps, checkpoints at 101 and 202, and the model behind a server started anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from notebook_data import overlap, recipes, written
from notebook_server import NotebookServer, all_messages, poll, said

TRAINING, VALIDATION = recipes(101, seed=1), recipes(100, seed=2)
HELD_OUT = recipes(12, seed=3)
NAME = re.compile(r"ft:gpt-4o-mini-2024-07-18:groundtune:recipe-ner:\w{8}")


def upload_file(client: Any, path: Path, purpose: str) -> str:
    with path.open("rb") as file:
        response = client.files.create(file=file, purpose=purpose)
    assert (response.status, response.filename, response.bytes) == ("processed", path.name, path.stat().st_size)
    return str(response.id)


def quality(client: Any, model: str) -> float:
    """Mean F1 of the ingredients of recipes that were not trained on."""
    answers = [said(client, model, row["messages"][:-1], max_tokens=500).content for row in HELD_OUT]
    wanted = [row["messages"][-1]["content"] for row in HELD_OUT]
    return sum(map(overlap, answers, wanted)) / len(HELD_OUT)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_how_to_finetune_chat_models(notebook_server: NotebookServer, tmp_path: Path) -> None:
    client = notebook_server.client()
    training = upload_file(client, written(tmp_path / "tmp_recipe_finetune_training.jsonl", TRAINING), "fine-tune")
    validation = upload_file(
        client, written(tmp_path / "tmp_recipe_finetune_validation.jsonl", VALIDATION), "fine-tune"
    )
    untuned = quality(client, "gpt-4o-mini-2024-07-18")

    response = client.fine_tuning.jobs.create(
        training_file=training, validation_file=validation, model="gpt-4o-mini-2024-07-18", suffix="recipe-ner", seed=1
    )  # fmt: skip
    job_id = response.id
    assert job_id.startswith("ftjob-") and response.status == "validating_files"
    done = poll(client, job_id)
    assert (done.hyperparameters.n_epochs, done.hyperparameters.batch_size) == (3, 1) and done.trained_tokens > 0

    events = client.fine_tuning.jobs.list_events(job_id).data
    events.reverse()
    assert len(events) == 20 and events[-1].message == "The job has successfully completed"
    the_events(all_messages(client, job_id), job_id, training, validation)

    fine_tuned_model_id = client.fine_tuning.jobs.retrieve(job_id).fine_tuned_model
    assert NAME.fullmatch(fine_tuned_model_id)
    tuned = quality(client, fine_tuned_model_id)
    assert tuned > untuned + 0.4, (untuned, tuned)
    the_checkpoints(client, job_id, untuned)

    asked = HELD_OUT[0]["messages"][:-1]
    before = said(client, fine_tuned_model_id, asked, max_tokens=500).content
    notebook_server.stop()
    notebook_server.start()
    assert said(notebook_server.client(), fine_tuned_model_id, asked, max_tokens=500).content == before
    assert fine_tuned_model_id in [model.id for model in notebook_server.client().models.list()]


def the_events(messages: list[str], job_id: str, training: str, validation: str) -> None:
    assert messages[:4] == [
        f"Created fine-tuning job: {job_id}",
        f"Validating training file: {training} and validation file: {validation}",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
    ]
    steps = [text for text in messages if text.startswith("Step ")]
    assert [text.split(":")[0] for text in steps] == [f"Step {n}/303" for n in range(1, 304)]
    number = r"\d+\.\d\d"
    for n, text in enumerate(steps, 1):
        form = rf"Step {n}/303: training loss={number}"
        form += rf", validation loss={number}" if n % 10 == 0 or n == 303 else ""
        form += rf", full validation loss={number}" if n % 101 == 0 else ""
        assert re.fullmatch(form, text)
    made = [text for text in messages if text.startswith("Checkpoint created at step")]
    form = rf"Checkpoint created at step (\d+) with Snapshot ID: {NAME.pattern}:ckpt-step-\1"
    assert [m[1] for m in (re.fullmatch(form, text) for text in made) if m] == ["101", "202"]
    assert re.fullmatch(rf"New fine-tuned model created: {NAME.pattern}", messages[-2])


def the_checkpoints(client: Any, job_id: str, untuned: float) -> None:
    """Each is a model of another name, better than the untuned one, and what it learnt grows."""
    last, first = client.fine_tuning.jobs.checkpoints.list(job_id).data
    assert (first.step_number, last.step_number) == (101, 202)
    assert 0 < last.metrics.full_valid_loss < first.metrics.full_valid_loss
    names = {first.fine_tuned_model_checkpoint, last.fine_tuned_model_checkpoint}
    assert len({name.split(":")[4] for name in names}) == 2
    assert quality(client, last.fine_tuned_model_checkpoint) > untuned + 0.2
    assert said(client, first.fine_tuned_model_checkpoint, HELD_OUT[0]["messages"][:-1], max_tokens=20).content
