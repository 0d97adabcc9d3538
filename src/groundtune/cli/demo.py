"""``groundtune demo``: the shipped example organisation, end to end, with its report."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Annotated

import typer

from groundtune.cli._common import open_project, say
from groundtune.cli.ask import show_answer
from groundtune.cli.compare import run_comparison, show_table, write_report

EXAMPLE = Path(__file__).parent.parent / "example"
QUESTIONS = (
    "How many days of paid annual leave do full-time staff receive?",
    "On what extension does the duty controller approve overtime?",
    "What does the harbour master's dog eat?",
)


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the example and its results go.")] = Path("groundtune-demo"),
    questions: Annotated[
        int | None, typer.Option("--questions", min=1, help="Most questions a split; default all.")
    ] = None,
) -> None:
    """Run the whole job on the shipped example: documents in, systems compared, report out, questions answered."""
    from groundtune.methods._systems import build_system
    from groundtune.system import as_messages, timed

    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    say(f"The Orrin Sound Harbour Cooperative, an invented organisation, in {folder}")
    setup = open_project(folder)
    result = run_comparison(setup, setup.config.compare.systems, limit=questions, quiet=False)
    report = write_report(result, folder / "report.html")
    show_table(result)
    say(f"\nReport: {report}\n")
    answering = build_system("rag", setup)
    for question in QUESTIONS:
        say(f"> {question}")
        show_answer(timed(answering, as_messages(question)), setup)
    say(f"\nDone in {time.perf_counter() - started:.0f} s. Ask your own:")
    say(f'  groundtune ask "What is overtime on a Sunday paid at?" --project {folder}')
