"""``/fine_tuning/checkpoints/{model}/permissions``: kept and listed as OpenAI's API has them; here they grant nothing.

A model is for the key, or the group of keys, that made it; the calls exist so that programs that make them work.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from groundtune.serving.described import gives
from groundtune.serving.errors import no_such, no_such_model
from groundtune.serving.ids import new_id
from groundtune.serving.pages import listed
from groundtune.serving.shapes.jobs import DeletedPermission, Permission
from groundtune.serving.shapes.parts import Listed
from groundtune.serving.state import Serving, serving_of
from groundtune.serving.storage.store import New, Page
from groundtune.serving.strict_json import Strict

router = APIRouter(tags=["fine-tuning"], route_class=Strict)
_PATH = "/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions"


class CreatePermission(BaseModel):
    """The body of ``POST .../permissions``."""

    model_config = ConfigDict(extra="forbid")
    project_ids: list[str]


def _known(request: Request, model: str, *, to_change: bool = False) -> Serving:
    serving = serving_of(request)
    if (serving.store.owned if to_change else serving.store.get)("model", model) is None:
        raise no_such_model(model)
    return serving


@router.post(_PATH, **gives(Listed[Permission]))
def create_permission(request: Request, fine_tuned_model_checkpoint: str, wanted: CreatePermission) -> dict[str, Any]:
    """Keep a permission for each project."""
    store = _known(request, fine_tuned_model_checkpoint, to_change=True).store
    made = [
        New("permission", new_id("permission"), {"object": "checkpoint.permission", "project_id": project}, parent=fine_tuned_model_checkpoint)
        for project in wanted.project_ids
    ]  # fmt: skip
    store.add_all(made)
    bodies = [store.get("permission", new.id, parent=fine_tuned_model_checkpoint) for new in made]
    return listed(Page([body for body in bodies if body is not None], False))


@router.get(_PATH, **gives(Listed[Permission]))
def list_permissions(
    request: Request,
    fine_tuned_model_checkpoint: str,
    project_id: str | None = None,
    after: str | None = None,
    limit: int = 10,
    order: Literal["ascending", "descending"] = "descending",
) -> dict[str, Any]:
    """Permissions, newest first unless ``order`` is ascending."""
    store = _known(request, fine_tuned_model_checkpoint).store
    page = store.page(
        "permission",
        parent=fine_tuned_model_checkpoint,
        after=after,
        limit=max(0, min(limit, 100)),
        order="asc" if order == "ascending" else "desc",
        fits=(lambda body: body["project_id"] == project_id) if project_id else None,
    )
    return listed(page)


@router.delete(_PATH + "/{permission_id}", **gives(DeletedPermission))
def delete_permission(request: Request, fine_tuned_model_checkpoint: str, permission_id: str) -> dict[str, Any]:
    """Take a permission out."""
    if not _known(request, fine_tuned_model_checkpoint, to_change=True).store.remove(
        "permission", permission_id, parent=fine_tuned_model_checkpoint
    ):
        raise no_such("checkpoint.permission", permission_id, param="permission_id")
    return {"id": permission_id, "object": "checkpoint.permission", "deleted": True}
