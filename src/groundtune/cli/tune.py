"""``groundtune tune``: training questions to a fine-tuned model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from groundtune.methods._setup import Setup


def tune(
    method: Annotated[
        str | None,
        typer.Option("--method", help="full, lora, qlora, ... (groundtune list methods); default: `tune.method`."),
    ] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    model: ModelOption = None,
    show_row: Annotated[
        int | None,
        typer.Option("--show-row", min=1, help="Print training row N with its trained part marked; train nothing."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Fine-tune the model on the questions of the split `train`; a killed run goes on where it was."""
    setup = open_project(project, config, model=model)
    from groundtune.methods._tuning import artifact, check_method, settings_for

    if method:
        check_method(method)
        setup.config = setup.config.model_copy(update={"tune": settings_for(setup, method)})
    if show_row is not None:
        _show(setup, show_row, json=json)
        return
    with setup.workspace.writing():
        figures = ensure_tuned(setup, quiet=json, notes=True)
    page = setup.workspace.path(artifact(setup.config.tune.method)) / "learned.html"
    if json:
        print_json({**figures, "page": str(page) if page.exists() else None})
        return
    from groundtune.training.learned import verdict

    for line in verdict(figures.get("learned", {})):
        say(f"         {line}")
    if page.exists():
        say(f"         {page}")
    say('next: groundtune ask "..." --system tuned, or groundtune compare')


def _show(setup: Setup, number: int, *, json: bool) -> None:
    from dataclasses import asdict

    from rich.markup import escape

    from groundtune.methods._tuning import training_row
    from groundtune.training.learned_rows import CLOSE, OPEN

    row = training_row(setup, setup.config.tune.method, number)
    if json:
        print_json(asdict(row))
        return
    say(f"{escape(row.where)}: {row.tokens} tokens, {row.trained} of them trained, which stand in {OPEN} {CLOSE}")
    say(escape(row.marked()).replace(OPEN, f"[bold green]{OPEN}").replace(CLOSE, f"{CLOSE}[/bold green]"))
    if row.tokens > row.limit:
        say(f"{row.tokens - row.limit} tokens over the limit of {row.limit}")
