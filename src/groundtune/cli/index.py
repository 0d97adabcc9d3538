"""``groundtune index``: documents to chunks, vectors and full text; ``--watch`` keeps them up to date."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ProjectOption,
    ensure_documents,
    ensure_index,
    open_project,
    print_json,
    say,
    warn,
)

if TYPE_CHECKING:
    from groundtune.methods._setup import Setup

#: name -> (time of its last change in ns, bytes) of every file that is followed
_Seen = dict[str, tuple[int, int]]


def index(
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow the documents: ingest and index what changes, until Ctrl-C.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", min=0.1, help="Seconds between two looks; a file at rest for one look is taken.")
    ] = 1.0,
    json: JsonOption = False,
) -> None:
    """Cut the documents into chunks, embed them and store them for search; only what changed is done anew."""
    setup = open_project(project, config)
    if watch:
        _watch(setup, every, json)
        return
    with setup.workspace.writing():
        figures = ensure_index(setup, quiet=json)
    if json:
        print_json(figures)
    else:
        say('next: groundtune ask "..." or groundtune compare')


def _watch(setup: Setup, every: float, json: bool) -> None:
    """Ingest and index now, and again whenever the documents of the config have changed and come to rest.

    Raises:
        ConfigError: the documents came in by other settings than the config's.
    """
    from groundtune.errors import ConfigError, GroundtuneError
    from groundtune.ingest.ingest import ingested_explicitly

    if ingested_explicitly(setup.workspace):
        raise ConfigError(
            "the documents were last ingested with sources or settings of the command line, which --watch would not repeat",
            expected="`documents:` and `ingest:` in groundtune.yaml",
            next_step="write them there, then type groundtune ingest without sources",
        )
    done: _Seen | None = None
    before = _look(setup)
    say("watching; Ctrl-C ends it", quiet=json)
    try:
        while True:
            now = _look(setup)
            if now == before and now != done:  # changed since the last index, and nobody is writing now
                try:
                    with setup.workspace.writing():
                        ensure_documents(setup, quiet=True)
                        figures = ensure_index(setup, quiet=json)
                    if json:
                        print_json(figures)
                except GroundtuneError as error:
                    warn(error.render())
                done = now
            before = now
            time.sleep(every)
    except KeyboardInterrupt:
        say("ended", quiet=json)


def _look(setup: Setup) -> _Seen:
    """Every file of the config's documents, as it is now; none of a source that is not there."""
    from groundtune.errors import InputError
    from groundtune.ingest.sources import find_files, is_address

    seen: _Seen = {}
    for source in setup.config.documents:
        if is_address(source):
            continue
        try:
            files = find_files([source], setup.workspace.root)
        except InputError:
            continue
        for file, _ in files:
            try:
                found = file.stat()
            except OSError:  # gone between the two
                continue
            seen[str(file)] = (found.st_mtime_ns, found.st_size)
    return seen
