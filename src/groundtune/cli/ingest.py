"""``groundtune ingest``: files and folders to documents."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ProjectOption,
    ensure_documents,
    open_project,
    print_json,
    say,
)


def ingest(
    sources: Annotated[
        list[str] | None, typer.Argument(help="Files and folders; default: `documents:` of groundtune.yaml.")
    ] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Read files and folders into documents; unreadable files are listed and skipped."""
    setup = open_project(project, config)
    if sources:
        setup.config = setup.config.model_copy(
            update={"documents": tuple(str(Path(s).resolve()) if "://" not in s else s for s in sources)}
        )
    started = time.perf_counter()
    with setup.workspace.writing():
        result = ensure_documents(setup, quiet=json)
    if json:
        print_json(
            {
                "documents": len(result.documents),
                "skipped": [asdict(s) for s in result.skipped],
                "bytes": sum(d.size_bytes for d in result.documents),
                "seconds": round(time.perf_counter() - started, 3),
            }
        )
    else:
        say("next: groundtune index")
