"""``groundtune index``: documents to chunks, vectors and full text."""

from __future__ import annotations

from pathlib import Path

from groundtune.cli._common import ConfigOption, JsonOption, ProjectOption, ensure_index, open_project, print_json, say


def index(project: ProjectOption = Path(), config: ConfigOption = None, json: JsonOption = False) -> None:
    """Cut the documents into chunks, embed them and store them for search."""
    setup = open_project(project, config)
    with setup.workspace.writing():
        figures = ensure_index(setup, quiet=json)
    if json:
        print_json(figures)
    else:
        say('next: groundtune ask "..." or groundtune compare')
