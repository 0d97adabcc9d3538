"""``/fine_tuning/jobs``: create, list, retrieve, cancel, pause, resume, events, checkpoints (OpenAI's Fine-tuning API)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from groundtune.serving.described import filtered, gives
from groundtune.serving.fields import nested
from groundtune.serving.pages import listed
from groundtune.serving.shapes.jobs import Checkpoint, Job, JobEvent
from groundtune.serving.shapes.parts import Listed
from groundtune.serving.state import serving_of
from groundtune.serving.storage.store import Body
from groundtune.serving.strict_json import Strict
from groundtune.serving.tuning.job_request import CreateJob
from groundtune.serving.tuning.jobs import Jobs

router = APIRouter(tags=["fine-tuning"], route_class=Strict)
#: most objects of a page
_MOST = 100


def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs.of(serving_of(request))


@router.post("/fine_tuning/jobs", **gives(Job))
def create_job(request: Request, wanted: CreateJob) -> dict[str, Any]:
    """Create a job; its files are read and checked afterwards, and what is wrong with them ends it as ``failed``."""
    return _jobs(request).create(wanted)


@router.get(
    "/fine_tuning/jobs",
    **gives(Listed[Job]),
    openapi_extra=filtered("metadata", "metadata[key]=value; metadata=null: none"),
)
def list_jobs(request: Request, after: str | None = None, limit: int = 20) -> dict[str, Any]:
    """Jobs, newest first; ``metadata[key]=value`` keeps those that have it, ``metadata=null`` those that have none."""
    wanted = nested(request.query_params.multi_items()).get("metadata")
    own = wanted if isinstance(wanted, dict) else {}

    def fits(body: Body) -> bool:
        said = body.get("metadata") or {}
        return not said if wanted == "null" else all(said.get(key) == value for key, value in own.items())

    asked = fits if own or wanted == "null" else None
    return listed(_jobs(request).store.page("job", after=after, limit=_within(limit), fits=asked))


@router.get("/fine_tuning/jobs/{fine_tuning_job_id}", **gives(Job))
def retrieve_job(request: Request, fine_tuning_job_id: str) -> dict[str, Any]:
    """A job."""
    return _jobs(request).get(fine_tuning_job_id)


@router.post("/fine_tuning/jobs/{fine_tuning_job_id}/cancel", **gives(Job))
def cancel_job(request: Request, fine_tuning_job_id: str) -> dict[str, Any]:
    """Stop a job for good."""
    return _jobs(request).cancel(fine_tuning_job_id)


@router.post("/fine_tuning/jobs/{fine_tuning_job_id}/pause", **gives(Job))
def pause_job(request: Request, fine_tuning_job_id: str) -> dict[str, Any]:
    """Stop a job until it is resumed."""
    return _jobs(request).pause(fine_tuning_job_id)


@router.post("/fine_tuning/jobs/{fine_tuning_job_id}/resume", **gives(Job))
def resume_job(request: Request, fine_tuning_job_id: str) -> dict[str, Any]:
    """Let a paused job go on."""
    return _jobs(request).resume(fine_tuning_job_id)


@router.get("/fine_tuning/jobs/{fine_tuning_job_id}/events", **gives(Listed[JobEvent]))
def list_events(request: Request, fine_tuning_job_id: str, after: str | None = None, limit: int = 20) -> dict[str, Any]:
    """What happened, newest first."""
    return _of_job(request, "event", fine_tuning_job_id, after, limit)


@router.get("/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints", **gives(Listed[Checkpoint]))
def list_checkpoints(
    request: Request, fine_tuning_job_id: str, after: str | None = None, limit: int = 10
) -> dict[str, Any]:
    """Models of the ends of epochs, newest first."""
    return _of_job(request, "checkpoint", fine_tuning_job_id, after, limit)


def _of_job(request: Request, kind: str, id: str, after: str | None, limit: int) -> dict[str, Any]:
    jobs = _jobs(request)
    jobs.get(id)
    return listed(jobs.store.page(kind, parent=id, after=after, limit=_within(limit)))


def _within(limit: int) -> int:
    return max(0, min(limit, _MOST))
