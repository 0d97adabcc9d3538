"""``groundtune prompts``: the prompts there are, and a copy of one to edit; ``groundtune choose-prompt`` looks for a better one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ModelOption,
    ProjectOption,
    open_project,
    print_json,
    progress_bar,
    say,
)


def prompts(
    name: Annotated[str | None, typer.Argument(help="Print this prompt as it is used.")] = None,
    copy: Annotated[
        str | None,
        typer.Option("--copy", help="Copy the shipped prompt of this name into the project's prompts/, to edit."),
    ] = None,
    project: ProjectOption = Path(),
    json: JsonOption = False,
) -> None:
    """List the prompts; print one; or copy one into the project, where the copy is used from then on."""
    from rich.markup import escape

    from groundtune.errors import InputError, UnknownNameError
    from groundtune.prompt_files import SHIPPED, own_path, prompt_names, read_prompt_file, rows

    if not project.is_dir():
        raise InputError(f"no folder {project}", expected="a project folder", next_step="name another with --project")
    if copy is not None:
        if copy not in prompt_names():
            raise UnknownNameError("prompt", copy, prompt_names())
        path = own_path(project, copy)
        if path.exists():
            raise InputError(f"{path} exists already", next_step="edit it, or delete it to have the shipped one copied")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((SHIPPED / f"{copy}.txt").read_bytes())
        if json:
            print_json({"name": copy, "file": str(path)})
        else:
            say(f"copied to {escape(str(path))}: what stands there is used from now on")
        return
    if name is not None:
        prompt = read_prompt_file(project, name)
        if json:
            turns = [{"role": role, "content": text} for role, text in prompt.turns]
            print_json({"name": name, "file": str(prompt.path), "places": sorted(prompt.places), "turns": turns})
        else:
            say(escape(f"# {prompt.path}\n{prompt.text()}"))
        return
    found = rows(project)
    if json:
        print_json(found)
        return
    for row in found:
        mark = " [green](yours)[/green]" if row["own"] else ""
        say(
            f"[bold]{row['name']}[/bold]{mark} {escape(', '.join('{' + p + '}' for p in row['places']))}\n    {escape(row['note'])}"
        )


def choose_prompt(
    prompt: Annotated[
        str,
        typer.Option(
            "--prompt", help="with_passages, closed_book, chain_of_thought or chain_of_thought_with_passages."
        ),
    ] = "with_passages",
    questions: Annotated[int, typer.Option("--questions", min=4, help="Most training questions to score on.")] = 48,
    demonstrations: Annotated[int, typer.Option("--demonstrations", min=0, help="Most worked examples in it.")] = 2,
    proposals: Annotated[
        int, typer.Option("--proposals", min=0, help="Instructions that the model itself is asked for.")
    ] = 0,
    instruction: Annotated[
        list[str] | None, typer.Option("--instruction", help="Another instruction to try; repeatable.")
    ] = None,
    calls: Annotated[
        int, typer.Option("--calls", min=0, help="Answers that a model elsewhere may be asked for: they cost money.")
    ] = 0,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    model: ModelOption = None,
    json: JsonOption = False,
) -> None:
    """Choose instruction and demonstrations of a prompt on training questions; keep them where they are clearly better."""
    from rich.markup import escape

    from groundtune.methods._prompt_choice import ChoiceOptions, choose_prompt
    from groundtune.workspace import write_json

    setup = open_project(project, config, model=model)
    options = ChoiceOptions(
        questions=questions,
        demonstrations=demonstrations,
        proposals=proposals,
        instructions=tuple(instruction or ()),
        calls=calls,
    )
    with setup.workspace.writing(), progress_bar(prompt) as report:
        result = choose_prompt(setup, prompt, options, progress=report)
        folder = setup.workspace.path("reports")
        folder.mkdir(exist_ok=True)
        write_json(folder / f"prompt-{prompt}.json", result)
    if json:
        print_json(result)
        return
    say(
        f"tried    {result['candidates']} prompts of {escape(prompt)} in {result['answers']} answers of {result['system']}"
    )
    for line in result["said"]:
        say(f"         {escape(line)}")
