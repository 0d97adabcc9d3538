"""``groundtune ask``: one question, one answer, its sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ModelOption,
    ProjectOption,
    open_project,
    print_json,
    say,
    warn_if_stale,
)

if TYPE_CHECKING:
    from groundtune.records import Completion

SystemOption = Annotated[
    str,
    typer.Option("--system", "-s", help="What answers: rag, baseline, prompt, few_shot, tuned, tuned+rag, scratch."),
]


def ask(
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    system: SystemOption = "rag",
    document: Annotated[str | None, typer.Option("--document", help="Look only in this document.")] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    model: ModelOption = None,
    json: JsonOption = False,
) -> None:
    """Answer a question from the documents, and say where the answer stands."""
    from groundtune.errors import InputError, UnknownNameError
    from groundtune.methods._systems import build_system
    from groundtune.system import as_messages, timed

    question = question.encode("utf-8", "replace").decode("utf-8")  # a terminal that is not UTF-8 hands over lone bytes
    if not question.strip():
        raise InputError(
            "the question is empty", expected="some words in quotes", next_step='groundtune ask "When do you open?"'
        )
    setup = open_project(project, config, model=model, document=document)
    if document is not None:
        from groundtune.ingest.ingest import read_result

        known = [d.path for d in read_result(setup.workspace).documents]
        if document not in known:
            raise UnknownNameError("document", document, known)
    warn_if_stale(setup)
    completion = timed(build_system(system, setup), as_messages(question))
    if json:
        print_json(answer_json(question, system, completion))
    else:
        show_answer(completion)


def answer_json(question: str, system: str, completion: Completion) -> dict[str, Any]:
    """The promised form of ``ask --json``."""
    return {
        "question": question,
        "system": system,
        "answer": completion.text,
        "abstained": completion.abstained,
        "sources": [s.to_json() for s in completion.sources],
        "usage": {
            "prompt_tokens": completion.usage.prompt_tokens,
            "completion_tokens": completion.usage.completion_tokens,
        },
        "seconds": round(completion.seconds, 3),
        **({"transcript": completion.transcript} if completion.transcript else {}),
    }


def show_answer(completion: Completion) -> None:
    """The answer and its sources, for people."""
    from rich.markup import escape

    say(f"[bold]{escape(completion.text) or '(nothing)'}[/bold]")
    for number, source in enumerate(completion.sources[:3], 1):
        page = f", page {source.page}" if source.page else ""
        say(
            f"  [{number}] {escape(source.document)}{page}: {escape(source.quote)}".replace(
                f"[{number}]", f"\\[{number}]"
            )
        )
