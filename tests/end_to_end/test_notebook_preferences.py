"""Fine_tuning_direct_preference_optimization_guide, cells 22 to 24: the preferred answer's lead over the other grows."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from notebook_data import tastes
from notebook_server import NotebookServer, poll

PAIRS, HELD_OUT = tastes(24, seed=1), tastes(8, seed=2)


def log_probability(client: Any, model: str, question: str, answer: str) -> float:
    """Of an answer to a question, in nats, by ``echo``: the notebook's model reads its own chat template as token ids."""
    from groundtune.nn.checkpoints import load_model

    _, tokenizer = load_model("pebble")
    asked = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, return_dict=True)  # fmt: skip
    prompt = list(asked["input_ids"])
    ids = [*prompt, *tokenizer(answer, add_special_tokens=False)["input_ids"]]
    found = client.completions.create(model=model, prompt=ids, max_tokens=0, echo=True, logprobs=0).choices[0]
    return float(sum(found.logprobs.token_logprobs[len(prompt) :]))


def lead(client: Any, model: str, rows: list[dict[str, Any]]) -> float:
    """Mean of how much likelier the preferred answer is, in nats."""
    leads = []
    for row in rows:
        question = row["input"]["messages"][0]["content"]
        liked, other = (row[side][0]["content"] for side in ("preferred_output", "non_preferred_output"))
        leads.append(log_probability(client, model, question, liked) - log_probability(client, model, question, other))
    return sum(leads) / len(leads)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_direct_preference_optimization(notebook_server: NotebookServer) -> None:
    client = notebook_server.client()
    files = []
    for name, rows in (("train.jsonl", PAIRS), ("val.jsonl", HELD_OUT)):
        lines = io.BytesIO("\n".join(json.dumps(row) for row in rows).encode())
        lines.name = name
        files.append(client.files.create(file=lines, purpose="fine-tune"))
    numbers = {"n_epochs": 2, "beta": 0.1, "batch_size": 8}
    job = client.fine_tuning.jobs.create(
        training_file=files[0].id, validation_file=files[1].id, model="gpt-4.1-2025-04-14",
        method={"type": "dpo", "dpo": {"hyperparameters": numbers}},
    )  # fmt: skip
    done = poll(client, job.id)
    assert done.method.type == "dpo" and done.method.dpo.hyperparameters.beta == 0.1
    steps = [e for e in client.fine_tuning.jobs.list_events(job.id, limit=100) if e.type == "metrics"]
    assert [e.data["step"] for e in steps[::-1]] == [1, 2, 3, 4, 5, 6]

    for rows in (PAIRS, HELD_OUT):
        before, after = lead(client, "gpt-4.1-2025-04-14", rows), lead(client, done.fine_tuned_model, rows)
        assert after > before + 0.1, (before, after)
    answer = client.responses.create(model=done.fine_tuned_model, input="Tell me about the lamp.", temperature=0)
    assert answer.output_text
