"""``groundtune chat``: question after question until "bye"."""

from __future__ import annotations

import sys
from pathlib import Path

from groundtune.cli._common import (
    ConfigOption,
    ModelOption,
    ProjectOption,
    WhereOption,
    open_project,
    say,
    warn_if_stale,
)
from groundtune.cli.ask import SystemOption, show_answer


def chat(
    system: SystemOption = "rag",
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    model: ModelOption = None,
    where: WhereOption = None,
) -> None:
    """Talk with the documents; "bye" or the end of the input ends it."""
    from groundtune.methods._systems import build_system
    from groundtune.system import as_messages, timed

    setup = open_project(project, config, model=model, where=where)
    warn_if_stale(setup)
    answering = build_system(system, setup)
    say(f'Ask {system} about your documents. "bye" ends the conversation.')
    while True:
        if sys.stdin.isatty():
            sys.stdout.write("> ")
            sys.stdout.flush()
        line = sys.stdin.readline()
        if not line or line.strip().lower().rstrip(".!") in {"bye", "quit", "exit"}:
            say("bye")
            return
        if line.strip():
            show_answer(timed(answering, as_messages(line.strip())), setup)
