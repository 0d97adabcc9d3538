"""``groundtune demo``: the shipped example organisation, end to end, with its report; in English or in German."""

from __future__ import annotations

import shutil
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from groundtune.cli._common import open_project, say
from groundtune.cli.ask import show_answer
from groundtune.cli.compare import run_comparison, show_table, write_report

EXAMPLE = Path(__file__).parent.parent / "example"
QUESTIONS = {
    "english": (
        "How many days of paid annual leave do full-time staff receive?",
        "On what extension does the duty controller approve overtime?",
        "What does the harbour master's dog eat?",
    ),
    "german": (
        "Wie hoch ist der Jahresurlaubsanspruch bei voller Stelle auf Sandoog?",
        "Was kostet die Fahrradmitnahme auf der Fähre?",
    ),
}


class Example(StrEnum):
    """The examples there are."""

    ENGLISH = "english"
    GERMAN = "german"


def copy_example(example: Example, folder: Path) -> None:
    """Copy an example's project into a folder; the German one lies in the other's folder and does not come with it."""
    source = EXAMPLE / "german" if example is Example.GERMAN else EXAMPLE
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        source, folder, dirs_exist_ok=True, ignore=lambda at, _: {"german"} if Path(at) == EXAMPLE else set()
    )


def demo(
    folder: Annotated[
        Path | None, typer.Argument(help="Where the example and its results go; default groundtune-demo, with -german.")
    ] = None,
    questions: Annotated[
        int | None, typer.Option("--questions", min=1, help="Most questions a split; default all.")
    ] = None,
    example: Annotated[
        Example, typer.Option("--example", help="The organisation's English documents, or ten German ones.")
    ] = Example.ENGLISH,
) -> None:
    """Run the whole job on the shipped example: documents in, systems compared, report out, questions answered."""
    from groundtune.methods._systems import build_system
    from groundtune.system import as_messages, timed

    started = time.perf_counter()
    folder = folder or Path("groundtune-demo" if example is Example.ENGLISH else f"groundtune-demo-{example}")
    copy_example(example, folder)
    say(f"The Orrin Sound Harbour Cooperative, an invented organisation, in {folder}")
    setup = open_project(folder)
    result = run_comparison(setup, setup.config.compare.systems, limit=questions, quiet=False)
    report = write_report(result, folder / "report.html")
    show_table(result)
    say(f"\nReport: {report}\n")
    answering = build_system("rag", setup)
    for question in QUESTIONS[example]:
        say(f"> {question}")
        show_answer(timed(answering, as_messages(question)), setup)
    say(f"\nDone in {time.perf_counter() - started:.0f} s. Ask your own:")
    own = "What is overtime on a Sunday paid at?" if example is Example.ENGLISH else "Was gibt es als Sonntagszuschlag?"
    say(f'  groundtune ask "{own}" --project {folder}')
