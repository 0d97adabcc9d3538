"""What is there for whoever runs the server."""

from __future__ import annotations

from typing import Literal

from groundtune.serving.shapes.parts import Shape


class Health(Shape):
    """Whether the server works."""

    status: Literal["ok", "database unavailable"]
