"""``/models``: list, retrieve, delete (tuned ones only)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from groundtune.serving.catalog import shown
from groundtune.serving.described import gives
from groundtune.serving.generating.answers import generators_of
from groundtune.serving.shapes.models import DeletedModel, Model
from groundtune.serving.shapes.parts import Everything
from groundtune.serving.state import serving_of
from groundtune.serving.tuning import job_models

router = APIRouter(tags=["models"])


@router.get("/models", **gives(Everything[Model]))
def list_models(request: Request) -> dict[str, Any]:
    """Every model by its own name."""
    return {"object": "list", "data": list(serving_of(request).catalog.all())}


@router.get("/models/{model:path}", **gives(Model))
def retrieve_model(request: Request, model: str) -> dict[str, Any]:
    """A model, by any name that stands for one."""
    serving = serving_of(request)
    serving.catalog.resolve(model)
    tuned = serving.store.get("model", model)
    return shown(model, tuned["created_at"] if tuned else serving.catalog.started, serving.config.organization)


@router.delete("/models/{model:path}", **gives(DeletedModel))
def delete_model(request: Request, model: str) -> dict[str, Any]:
    """Delete a tuned model, weights and all."""
    serving = serving_of(request)
    body = serving.store.get("model", model)
    job_models.delete_model(serving, model)
    if body is not None:
        generators_of(request).engines.forget(str(serving.folder / body["folder"]))
    return {"id": model, "object": "model", "deleted": True}
