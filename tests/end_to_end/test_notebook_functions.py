"""Fine_tuning_for_function_calling: calls before, a job on rows with ``tools``, calls after, and the result file."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from notebook_data import TOOLS, orders, written
from notebook_server import NotebookServer, poll

TRAINING = orders(100, seed=1)
HELD_OUT = orders(16, seed=3, but=TRAINING)


def called(client: Any, model: str) -> tuple[float, float]:
    """Shares of held-out orders with the right function, and with the right arguments, too."""
    right = exact = 0
    for row in HELD_OUT:
        answer = client.chat.completions.create(
            model=model, messages=row["messages"][:2], temperature=0, seed=42, tools=TOOLS, tool_choice="required", max_tokens=60
        )  # fmt: skip
        function, wanted = (
            answer.choices[0].message.tool_calls[0].function,
            row["messages"][2]["tool_calls"][0]["function"],
        )
        right += function.name == wanted["name"]
        if answer.choices[0].finish_reason == "tool_calls":  # else its arguments were cut off
            given = json.loads(function.arguments)
            exact += function.name == wanted["name"] and given == json.loads(wanted["arguments"])
    return right / len(HELD_OUT), exact / len(HELD_OUT)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_fine_tuning_for_function_calling(notebook_server: NotebookServer, tmp_path: Path) -> None:
    client = notebook_server.client()
    untuned, _ = called(client, "gpt-3.5-turbo")

    with written(tmp_path / "greenhouse_training.jsonl", TRAINING).open("rb") as data:
        file = client.files.create(file=data, purpose="fine-tune")
    ft = client.fine_tuning.jobs.create(model="gpt-3.5-turbo", training_file=file.id, suffix="greenhouse", seed=1)
    assert [job.id for job in client.fine_tuning.jobs.list(limit=10)] == [ft.id]
    done = poll(client, ft.id)
    assert done.fine_tuned_model.startswith("ft:gpt-3.5-turbo-0125:groundtune:greenhouse:")
    assert done.hyperparameters.n_epochs == 3 and done.hyperparameters.batch_size == 1

    right, exact = called(client, done.fine_tuned_model)
    assert right >= 0.75 and right > untuned + 0.25 and exact >= 0.6, (untuned, right, exact)
    the_model_calls_by_itself(client, done.fine_tuned_model)
    the_result_file(client, ft.id)

    assert client.models.delete(done.fine_tuned_model).deleted


def the_model_calls_by_itself(client: Any, model: str) -> None:
    """Nobody says that it must: trained on calls, it calls."""
    row = HELD_OUT[0]
    answer = client.chat.completions.create(model=model, messages=row["messages"][:2], temperature=0, tools=TOOLS)
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    assert choice.message.tool_calls[0].function.name == row["messages"][2]["tool_calls"][0]["function"]["name"]


def the_result_file(client: Any, job_id: str) -> None:
    fine_tune_results = client.fine_tuning.jobs.retrieve(job_id).result_files
    result_file = client.files.retrieve(fine_tune_results[0])
    assert result_file.purpose == "fine-tune-results"
    content = client.files.content(result_file.id)
    rows = list(csv.DictReader(io.StringIO(content.text)))
    assert list(rows[0]) == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    assert [int(row["step"]) for row in rows] == list(range(1, 301)) and {row["valid_loss"] for row in rows} == {""}
    with pytest.raises(ValueError):  # the notebook decodes Base64, as OpenAI sent it then: serve.result_files: base64
        base64.b64decode(content.text, validate=True)
