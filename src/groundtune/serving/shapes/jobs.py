"""Fine-tuning jobs, their events and checkpoints, permissions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from groundtune.serving.shapes.parts import Count, Metadata, Moment, Shape

Number = Literal["auto"] | Annotated[float, Field(gt=0)]


class Numbers(Shape):
    """Hyperparameters; "auto" until the job runs."""

    n_epochs: Number
    batch_size: Number
    learning_rate_multiplier: Number
    beta: Number = 0.1


class Way(Shape):
    """The settings of a method."""

    hyperparameters: Numbers


class JobMethod(Shape):
    """How the job trains."""

    type: Literal["supervised", "dpo"]
    supervised: Way | None = None
    dpo: Way | None = None


class JobFault(Shape):
    """Why a job failed."""

    code: str
    message: str
    param: str | None


class Job(Shape):
    """A job."""

    id: str
    object: Literal["fine_tuning.job"]
    created_at: Moment
    finished_at: Moment | None
    estimated_finish: Moment | None
    model: str
    fine_tuned_model: str | None
    organization_id: str
    status: Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
    error: JobFault | None
    hyperparameters: Numbers
    method: JobMethod
    training_file: str
    validation_file: str | None
    result_files: list[str]
    trained_tokens: Count | None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)]
    integrations: list[dict[str, Any]]
    metadata: Metadata | None
    user_provided_suffix: str | None


class JobEvent(Shape):
    """Something that happened to a job."""

    id: str
    object: Literal["fine_tuning.job.event"]
    created_at: Moment
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]


class Checkpoint(Shape):
    """The model at the end of an epoch."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"]
    created_at: Moment
    fine_tuning_job_id: str
    fine_tuned_model_checkpoint: str
    step_number: Count
    metrics: dict[str, float]


class Permission(Shape):
    """A project that may use a checkpoint."""

    id: str
    object: Literal["checkpoint.permission"]
    created_at: Moment
    project_id: str


class DeletedPermission(Shape):
    """A permission that was taken out."""

    id: str
    object: Literal["checkpoint.permission"]
    deleted: Literal[True]
