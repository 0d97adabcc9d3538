"""``groundtune evaluate``: one System on the held-out questions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from groundtune.cli._common import ConfigOption, JsonOption, ModelOption, ProjectOption, open_project, print_json
from groundtune.cli.compare import run_comparison, show_table


def evaluate(
    system: Annotated[str, typer.Option("--system", "-s", help="The system to evaluate.")],
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    model: ModelOption = None,
    questions: Annotated[
        int | None, typer.Option("--questions", min=1, help="Most questions a split; default all.")
    ] = None,
    per_question: Annotated[
        bool, typer.Option("--per-question", help="With --json: every question's answer and scores too.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Score one system on the held-out questions."""
    setup = open_project(project, config, model=model)
    result = run_comparison(setup, (system,), limit=questions, quiet=json, adapt=False)
    if json:
        row = dict(result["systems"][0])
        if per_question:
            row["per_question"] = [{**q, "answers": q["answers"][system]} for q in result["per_question"]]
        print_json(row)
    else:
        show_table(result)
