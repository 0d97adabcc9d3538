"""Models."""

from __future__ import annotations

from typing import Literal

from groundtune.serving.shapes.parts import Moment, Shape


class Model(Shape):
    """A model, a System of the project or an alias."""

    id: str
    object: Literal["model"]
    created: Moment
    owned_by: str


class DeletedModel(Shape):
    """A tuned model that was deleted."""

    id: str
    object: Literal["model"]
    deleted: Literal[True]
