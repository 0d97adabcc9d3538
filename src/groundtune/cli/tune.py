"""``groundtune tune``: training questions to a fine-tuned model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ModelOption,
    ProjectOption,
    ensure_tuned,
    open_project,
    print_json,
    say,
)


def tune(
    method: Annotated[
        str | None, typer.Option("--method", help="lora or full; default: `tune.method` of groundtune.yaml.")
    ] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    model: ModelOption = None,
    json: JsonOption = False,
) -> None:
    """Fine-tune the model on the questions of the split `train`; a killed run goes on where it was."""
    setup = open_project(project, config, model=model)
    if method:
        from groundtune.errors import UnknownNameError

        if method not in ("lora", "full"):
            raise UnknownNameError("tuning method", method, ("lora", "full"))
        tuned = setup.config.tune.model_copy(update={"method": method})
        setup.config = setup.config.model_copy(update={"tune": tuned})
    with setup.workspace.writing():
        figures = ensure_tuned(setup, quiet=json)
    if json:
        print_json(figures)
    else:
        say('next: groundtune ask "..." --system tuned, or groundtune compare')
