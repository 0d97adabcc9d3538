"""``groundtune forget``: take a document out of everything that was made from it, and name what learnt from it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from groundtune.cli._common import ConfigOption, JsonOption, ProjectOption, open_project, print_json, say, warn


def forget(
    document: Annotated[str, typer.Argument(help="Path, address, id or file name, as `ingest` showed it.")],
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    delete_runs: Annotated[
        bool, typer.Option("--delete-runs", help="Delete the models that learnt from it, too.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Remove a document from documents, index and questions; name every model and adapter trained on it.

    The source file itself is yours and stays where it is; it is not read again.
    """
    from groundtune.errors import InputError
    from groundtune.ingest import forget as steps
    from groundtune.retrieval import index

    setup = open_project(project, config)
    workspace = setup.workspace
    with workspace.writing():
        found = steps.find_document(workspace, document)
        questions = steps.datasets_of(workspace, setup.questions_path)
        rest = {}
        for path in questions:
            try:
                rest[path] = steps.rows_about(path, found.path)
            except InputError as error:
                if path == setup.questions_path:
                    raise
                warn(f"not looked through: {error.problem}")
        runs = steps.runs_trained_on(workspace, found.path)
        if not (yes or json):
            _confirm(found.path, {p: n for p, (_, n) in rest.items() if n}, runs if delete_runs else [])
        steps.remember(workspace, found)
        indexed = index.forget_document(workspace, found.id, steps.documents_digest_without(workspace, found))
        for path, (lines, count) in rest.items():
            if count:
                steps.write_rows(path, lines)
        shutil.rmtree(workspace.path("reports"), ignore_errors=True)
        if delete_runs:
            for run in runs:
                shutil.rmtree(workspace.path(run))
        steps.forget_document(workspace, found)
    removed = {str(path): count for path, (_, count) in rest.items() if count}
    if json:
        print_json(
            {
                "document": found.path,
                "index": indexed,
                "examples_removed": removed,
                "trained_on_it": runs,
                "runs_deleted": runs if delete_runs else [],
            }
        )
        return
    say(f"forgotten: {found.path} (documents{', index' if indexed else ''})")
    for file, count in removed.items():
        say(f"  {count} example{'s' if count != 1 else ''} removed from {file}")
    for run in runs:
        say(f"  {run}: {'deleted' if delete_runs else f'was trained on it and still knows it: delete {workspace.path(run)}, or train again'}")  # fmt: skip
    say("Reports that were written elsewhere, exported models and backups may still quote it.")


def _confirm(name: str, questions: dict[Path, int], runs: list[str]) -> None:
    """Ask before what cannot be undone.

    Raises:
        Abort: no.
    """
    what = [f"{count} rows of {path}" for path, count in questions.items()] + runs
    say(f"This removes {name} from the workspace" + (f", and {', '.join(what)}" if what else "") + ".")
    if not sys.stdin.isatty():
        from groundtune.errors import ConfigError

        raise ConfigError("nobody to ask: stdin is no terminal", next_step="say --yes")
    typer.confirm("Go on?", abort=True)
