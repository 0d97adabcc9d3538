"""``groundtune tune``: training rows to a fine-tuned model, or to many of them side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ModelOption,
    ProjectOption,
    ensure_tuned,
    open_project,
    print_json,
    progress_bar,
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
    sweep: Annotated[
        list[str] | None,
        typer.Option("--sweep", help="NAME=VALUE,VALUE: train every combination, compare them; repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the config's seed.")] = None,
    show_row: Annotated[
        int | None,
        typer.Option("--show-row", min=1, help="Print training row N with its trained part marked; train nothing."),
    ] = None,
    max_hours: Annotated[
        float | None, typer.Option("--max-hours", min=0.0, help="Plan first; do not begin what would take longer.")
    ] = None,
    max_usd: Annotated[
        float | None, typer.Option("--max-usd", min=0.0, help="Plan first; do not begin what would cost more.")
    ] = None,
    help_method: Annotated[
        str | None, typer.Option("--help-method", help="Print the options of a method, with defaults; train nothing.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Fine-tune the model on the questions of the split `train`, or on `tune.data`; a killed run goes on where it was."""
    if help_method is not None:
        _describe(help_method, json=json)
        return
    setup = open_project(project, config, model=model)
    from groundtune.methods._tuning import TRACKING, artifact, check_method, settings_for

    if method:
        check_method(method)
        setup.config = setup.config.model_copy(update={"tune": settings_for(setup, method)})
    if seed is not None:
        setup.config = setup.config.model_copy(update={"seed": seed})
    if sweep:
        _sweep(setup, sweep, json=json)
        return
    if show_row is not None:
        _show(setup, show_row, json=json)
        return
    if max_hours is not None or max_usd is not None:
        from groundtune.cli._planning import check_before

        check_before(setup, setup.config.tune.method, max_hours=max_hours, max_usd=max_usd)
    with setup.workspace.writing():
        figures = ensure_tuned(setup, quiet=json, notes=True)
    page = setup.workspace.path(artifact(setup.config.tune.method)) / "learned.html"
    if json:
        print_json({**figures, "page": str(page) if page.exists() else None})
        return
    module = check_method(setup.config.tune.method)
    if hasattr(module, "lines"):
        from rich.markup import escape

        for line in module.lines(setup, figures):
            say(escape(f"         {line}".rstrip()))
        return
    from groundtune.training.learned import verdict

    for line in [*verdict(figures.get("learned", {})), *figures.get("said", ())]:
        say(f"         {line}")
    if page.exists():
        say(f"         {page}")
    if setup.config.tune.report_to:
        say(f"         {', '.join(setup.config.tune.report_to)}: {setup.workspace.path(TRACKING)}")
    where = "" if project == Path() else f" --project {project}"
    compare = f", or groundtune compare{where}" if setup.questions_path.exists() else ""
    say("next: " + figures.get("next", f'groundtune ask "..." --system tuned{where}{compare}'))


def _describe(method: str, *, json: bool) -> None:
    """What ``tune.options`` may hold for a method."""
    from rich.markup import escape

    from groundtune import registry
    from groundtune.methods._tuning import check_method

    fields = check_method(method).Options.model_fields
    if json:
        print_json({name: {"default": f.default, "description": f.description} for name, f in fields.items()})
        return
    say(escape(registry.summary("methods", method)))
    for name, field in fields.items():
        say(escape(f"  tune.options.{name}: {field.default!r}   {field.description or ''}".rstrip()))
    if not fields:
        say("  no options of its own")


def _sweep(setup: Setup, texts: list[str], *, json: bool) -> None:
    from contextlib import ExitStack

    from groundtune import registry
    from groundtune.methods import _sweep as sweeping

    method = setup.config.tune.method
    options = list(registry.get("methods", method).Options.model_fields)
    grid = sweeping.parse_grid(texts, options)
    page = setup.workspace.path("sweeps") / f"{method}.html"
    with setup.workspace.writing(), ExitStack() as bars:

        def bar(name: str) -> Any:
            bars.close()
            return bars.enter_context(progress_bar(f"{method} {name}"))

        points = sweeping.sweep(setup, grid, progress=bar)
        page.parent.mkdir(parents=True, exist_ok=True)
        sweeping.write_page(page, method, points)
    if json:
        rows = [
            {"settings": p.settings, "validation_loss": p.validation, "seconds": p.seconds, "fault": p.fault or None}
            for p in points
        ]
        print_json({"method": method, "points": rows, "page": str(page)})
        return
    for p in points:
        say(
            f"{p.name:<40} "
            + (p.fault if p.validation is None else f"validation loss {p.validation:.3f}, {p.seconds:.0f} s")
        )
    say(f"         {page}")
    if points[0].validation is not None:
        chosen = ", ".join(f"tune.{k}: {v}" for k, v in points[0].settings.items())
        say(f"next: write {chosen} into groundtune.yaml, then groundtune tune --method {method}")


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
