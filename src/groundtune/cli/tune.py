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
        str | None,
        typer.Option("--method", help="full, lora, qlora, ... (groundtune list methods); default: `tune.method`."),
    ] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    model: ModelOption = None,
    json: JsonOption = False,
) -> None:
    """Fine-tune the model on the questions of the split `train`; a killed run goes on where it was."""
    setup = open_project(project, config, model=model)
    from groundtune.methods._tuning import artifact, check_method, settings_for

    if method:
        check_method(method)
        setup.config = setup.config.model_copy(update={"tune": settings_for(setup, method)})
    with setup.workspace.writing():
        figures = ensure_tuned(setup, quiet=json)
    page = setup.workspace.path(artifact(setup.config.tune.method)) / "learned.html"
    if json:
        print_json({**figures, "page": str(page) if page.exists() else None})
        return
    from groundtune.training.learned import verdict

    for line in [*verdict(figures.get("learned", {})), *figures.get("said", ())]:
        say(f"         {line}")
    if page.exists():
        say(f"         {page}")
    say("next: " + figures.get("next", 'groundtune ask "..." --system tuned, or groundtune compare'))
