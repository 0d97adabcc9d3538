"""Fine-tuning through the official client: from the upload to a model that the catalog knows; lists, stops, refusals."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from job_material import chat, completion, lines, opened, preference, stop_workers, wait_for

from groundtune.serving.state import Serving
from groundtune.serving.tuning import job_keeper
from groundtune.serving.tuning.jobs import Jobs

CHATS = lines([chat(n) for n in range(11)])


@pytest.fixture
def serving(tmp_path: Path, tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(job_keeper, "POLL", 0.1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    jobs = opened(tmp_path, tiny_model_path, organization="acme")
    yield jobs.serving
    stop_workers(jobs)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker is started: jobs stay as they were made."""
    monkeypatch.setattr(job_keeper.JobKeeper, "start", lambda self: None)


def uploaded(client: Any, content: bytes = CHATS, purpose: str = "fine-tune") -> str:
    return str(client.files.create(file=("data.jsonl", content), purpose=purpose).id)


def finished(client: Any, id: str) -> Any:
    return wait_for(lambda: (job := client.fine_tuning.jobs.retrieve(id)).finished_at and job)


def test_a_job_from_upload_to_model(client: Any, serving: Serving) -> None:
    training, held_out = uploaded(client), uploaded(client, lines([chat(n) for n in range(40, 44)]))
    job = client.fine_tuning.jobs.create(
        model="gpt-4o-mini-2024-07-18", training_file=training, validation_file=held_out, suffix="recipe-ner",
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": 4}}},
    )  # fmt: skip
    assert (job.status, job.model, job.fine_tuned_model, job.error) == (
        "validating_files",
        "gpt-4o-mini-2024-07-18",
        None,
        None,
    )
    assert job.hyperparameters.learning_rate_multiplier == "auto" and job.organization_id == "acme"
    done = finished(client, job.id)
    assert done.status == "succeeded", done.error
    assert done.fine_tuned_model.startswith("ft:gpt-4o-mini-2024-07-18:acme:recipe-ner:")
    assert done.hyperparameters.learning_rate_multiplier == 1.0
    assert done.method.supervised.hyperparameters.n_epochs == 3
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=4))  # the client turns the pages
    assert [e.message for e in events][-1] == f"Created fine-tuning job: {job.id}"
    assert events[0].message == "The job has successfully completed"
    assert len(events) == len({e.id for e in events}) == 4 + 9 + 2 + 2
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id)
    assert [c.step_number for c in checkpoints] == [6, 3] and not checkpoints.has_more
    assert checkpoints.data[0].metrics.full_valid_loss and checkpoints.data[0].fine_tuning_job_id == job.id
    content = client.files.content(done.result_files[0]).text
    assert content.splitlines()[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    for name in (done.fine_tuned_model, checkpoints.data[0].fine_tuned_model_checkpoint):
        assert serving.catalog.resolve(name).adapter
    assert Serving.open(serving.setup).catalog.resolve(done.fine_tuned_model).adapter  # and after a restart


def test_auto_is_resolved_when_the_job_runs(client: Any) -> None:
    job = client.fine_tuning.jobs.create(
        model="gpt-3.5-turbo", training_file=uploaded(client, lines([completion(n) for n in range(12)])), seed=3
    )
    assert job.hyperparameters.n_epochs == "auto" and job.model == "gpt-3.5-turbo-0125" and job.seed == 3
    wait_for(lambda: client.fine_tuning.jobs.retrieve(job.id).hyperparameters.n_epochs == 8)
    running = wait_for(lambda: (j := client.fine_tuning.jobs.retrieve(job.id)).estimated_finish and j)
    assert running.hyperparameters.batch_size == 1 and running.estimated_finish >= running.created_at
    assert finished(client, job.id).status == "succeeded"


def test_a_failed_job(client: Any) -> None:
    job = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=uploaded(client, lines([chat(1)])))
    done = finished(client, job.id)
    assert done.status == "failed" and done.error.code == "invalid_n_examples" and done.error.param == "training_file"
    assert done.error.message == "Training file has 1 example(s), but must have at least 10 examples"


def test_pause_resume_cancel(client: Any) -> None:
    numbers = {"n_epochs": 50, "batch_size": 1}
    job = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=uploaded(client), hyperparameters=numbers)
    wait_for(lambda: any(e.type == "metrics" for e in client.fine_tuning.jobs.list_events(job.id)))
    assert client.fine_tuning.jobs.pause(job.id).status == "paused"
    last = [e.message for e in client.fine_tuning.jobs.list_events(job.id)]
    time.sleep(1.0)
    now = [e.message for e in client.fine_tuning.jobs.list_events(job.id)]
    assert len(now) <= len(last) + 2 and client.fine_tuning.jobs.retrieve(job.id).status == "paused"
    assert client.fine_tuning.jobs.resume(job.id).status == "queued"
    with pytest.raises(openai.BadRequestError, match="cannot be resumed"):
        client.fine_tuning.jobs.resume(job.id)
    wait_for(lambda: len(list(client.fine_tuning.jobs.list_events(job.id))) > len(now) + 3)
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="already completed"):
        client.fine_tuning.jobs.cancel(job.id)


# ---------------------------------------------------------------- lists and refusals, without any training


@pytest.mark.usefixtures("idle")
def test_lists_by_metadata(client: Any) -> None:
    file = uploaded(client)
    given: list[dict[str, str] | None] = [{"team": "a"}, {"team": "b", "empty": ""}, None, {"team": "a", "x": "y"}]
    ids = [client.fine_tuning.jobs.create(model="gpt-4o", training_file=file, metadata=m).id for m in given]

    def found(**how: Any) -> list[int]:
        return [ids.index(job.id) for job in client.fine_tuning.jobs.list(**how)]

    assert found() == [3, 2, 1, 0] == found(limit=1)
    assert found(metadata={"team": "a"}) == [3, 0] and found(metadata={"team": "a", "x": "y"}) == [3]
    assert found(metadata={"empty": ""}) == [1] and found(metadata={"team": "c"}) == []
    answer = client.get("/fine_tuning/jobs?metadata=null", cast_to=object)
    assert [job["id"] for job in answer["data"]] == [ids[2]]
    assert client.fine_tuning.jobs.list(limit=2, after=ids[2]).data[0].id == ids[1]


@pytest.mark.usefixtures("idle")
def test_what_is_refused_at_once(client: Any) -> None:
    file = uploaded(client)
    jobs = client.fine_tuning.jobs
    with pytest.raises(openai.NotFoundError) as caught:
        jobs.create(model="llama-9", training_file=file)
    assert caught.value.code == "model_not_available"
    for wrong in ({"training_file": "file-none"}, {"training_file": file, "validation_file": "file-none"}):
        with pytest.raises(openai.NotFoundError, match="No such File object: file-none"):
            jobs.create(model="gpt-4o-mini", **wrong)
    grader = {"type": "string_check", "name": "x", "input": "a", "reference": "a", "operation": "eq"}
    with pytest.raises(openai.BadRequestError) as bad:
        jobs.create(
            model="gpt-4o", training_file=file, method={"type": "reinforcement", "reinforcement": {"grader": grader}}
        )
    assert bad.value.code == "unsupported_method"
    with pytest.raises(openai.BadRequestError) as bad:
        jobs.create(model="gpt-4o", training_file=file, hyperparameters={"n_epochs": 51})
    assert "n_epochs" in str(bad.value.param)
    for call in (jobs.retrieve, jobs.cancel, jobs.pause, jobs.resume, jobs.list_events, jobs.checkpoints.list):
        with pytest.raises(openai.NotFoundError, match="No such FineTuningJob object: ftjob-none"):
            call("ftjob-none")
    assert not jobs.list().data


@pytest.mark.usefixtures("idle")
def test_permissions_are_kept(client: Any, serving: Serving) -> None:
    name = "ft:gpt-4o-mini:acme:suffix:abc12345:ckpt-step-3"
    serving.store.add(
        "model", {"object": "model", "base": "pebble", "folder": "models/x", "adapter": False, "job": "x"}, id=name
    )
    permissions = client.fine_tuning.checkpoints.permissions
    made = [
        *permissions.create(name, project_ids=["proj_a", "proj_b"]),
        *permissions.create(name, project_ids=["proj_c"]),
    ]
    assert [p.project_id for p in made] == ["proj_a", "proj_b", "proj_c"] and made[0].object == "checkpoint.permission"
    assert [p.id for p in permissions.list(name)] == [p.id for p in made[::-1]]
    assert [p.id for p in permissions.list(name, order="ascending", limit=1)] == [p.id for p in made]
    assert [p.id for p in permissions.list(name, project_id="proj_b")] == [made[1].id]
    gone = permissions.delete(made[1].id, fine_tuned_model_checkpoint=name)
    assert gone.deleted and gone.id == made[1].id
    assert [p.id for p in permissions.list(name)] == [made[2].id, made[0].id]
    with pytest.raises(openai.NotFoundError):
        permissions.delete(made[1].id, fine_tuned_model_checkpoint=name)
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        permissions.list("ft:none:acme::00000000")


@pytest.mark.usefixtures("idle")
def test_objects_have_every_key_that_the_description_asks_for(client: Any, serving: Serving) -> None:
    file = uploaded(client, lines([preference(n) for n in range(10)]))
    job = client.fine_tuning.jobs.create(model="gpt-4o", training_file=file, method={"type": "dpo"})
    raw = json.loads(client.fine_tuning.jobs.with_raw_response.retrieve(job.id).text)
    required = {
        "id", "object", "created_at", "error", "fine_tuned_model", "finished_at", "hyperparameters", "model", "organization_id",
        "result_files", "status", "trained_tokens", "training_file", "validation_file", "seed",
    }  # fmt: skip
    assert required <= raw.keys() and raw["error"] is None and raw["hyperparameters"]["beta"] == "auto"
    event = client.fine_tuning.jobs.list_events(job.id).data[0]
    assert event.object == "fine_tuning.job.event" and event.level == "info" and event.type == "message"
    assert Jobs(serving).get(job.id)["status"] == "validating_files"
