"""``/models``: list, retrieve, delete (tuned ones only)."""

from __future__ import annotations

import shutil
from typing import Any

from fastapi import APIRouter, Request

from groundtune.serving.answers import generators_of
from groundtune.serving.catalog import shown
from groundtune.serving.errors import ApiError, no_such_model
from groundtune.serving.state import serving_of

router = APIRouter(tags=["models"])


@router.get("/models")
def list_models(request: Request) -> dict[str, Any]:
    """Every model by its own name."""
    return {"object": "list", "data": list(serving_of(request).catalog.all())}


@router.get("/models/{model:path}")
def retrieve_model(request: Request, model: str) -> dict[str, Any]:
    """A model, by any name that stands for one."""
    serving = serving_of(request)
    serving.catalog.resolve(model)
    tuned = serving.store.get("model", model)
    return shown(model, tuned["created_at"] if tuned else serving.catalog.started, serving.config.organization)


@router.delete("/models/{model:path}")
def delete_model(request: Request, model: str) -> dict[str, Any]:
    """Delete a tuned model, weights and all."""
    serving = serving_of(request)
    body = serving.store.get("model", model)
    if body is None:
        if any(own["id"] == model for own in serving.catalog.all()):
            raise ApiError(403, f"The model `{model}` is not a tuned one: it cannot be deleted.", param="model", code="model_not_deletable")  # fmt: skip
        raise no_such_model(model)
    generators_of(request).engines.forget(str(serving.folder / body["folder"]))
    serving.store.remove("model", model)
    shutil.rmtree(serving.folder / body["folder"], ignore_errors=True)
    return {"id": model, "object": "model", "deleted": True}
