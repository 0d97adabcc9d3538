"""``groundtune ask``: one question, one answer, its sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ModelOption,
    ProjectOption,
    WhereOption,
    open_project,
    print_json,
    say,
    warn_if_stale,
)

if TYPE_CHECKING:
    from groundtune.methods._setup import Setup
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
    where: WhereOption = None,
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
    setup = open_project(project, config, model=model, document=document, where=where)
    if document is not None:
        from groundtune.ingest.ingest import read_result

        known = [d.path for d in read_result(setup.workspace).documents]
        if document not in known:
            raise UnknownNameError("document", document, known)
    warn_if_stale(setup)
    completion = timed(build_system(system, setup), as_messages(question))
    if json:
        print_json(answer_json(question, system, completion, setup))
    else:
        show_answer(completion, setup)


def answer_json(question: str, system: str, completion: Completion, setup: Setup | None = None) -> dict[str, Any]:
    """The promised form of ``ask --json``; of a project's sources also the files' paths."""
    files = {s.document: _file(setup, s.document) for s in completion.sources} if setup else {}
    return {
        "question": question,
        "system": system,
        "answer": completion.text,
        "abstained": completion.abstained,
        "sources": [
            {**s.to_json(), **({"path": str(files[s.document])} if files.get(s.document) else {})}
            for s in completion.sources
        ],
        "statements": [
            {
                "text": statement.text,
                "supported": statement.supported,
                "support": statement.support,
                "sources": [completion.sources.index(source) for source in statement.sources],
            }
            for statement in completion.statements
        ],
        "usage": {
            "prompt_tokens": completion.usage.prompt_tokens,
            "completion_tokens": completion.usage.completion_tokens,
        },
        "seconds": round(completion.seconds, 3),
        **({"transcript": completion.transcript} if completion.transcript else {}),
    }


def show_answer(completion: Completion, setup: Setup | None = None) -> None:
    """The answer, each sentence with the numbers of its sources or the mark that it has none, and the sources.

    Args:
        completion: what a System said.
        setup: the project: with it a source is a link to its file, and ``answer.unsupported: keep`` is heeded.
    """
    from rich.markup import escape

    marks = setup is None or setup.config.answer.unsupported != "keep"
    out, rest = "", completion.text
    for statement in completion.statements:
        before, _, rest = rest.partition(statement.text)
        numbers = "".join(f" [{completion.sources.index(s) + 1}]" for s in statement.sources)
        out += f"[bold]{escape(before + statement.text)}[/bold]{escape(numbers)}"
        out += "" if statement.supported or not marks else f" [yellow]{escape('[unsupported]')}[/yellow]"
    say(f"{out}[bold]{escape(rest)}[/bold]" if completion.text else "(nothing)")
    for number, source in enumerate(completion.sources, 1):
        place = escape(f"{source.document}{f', page {source.page}' if source.page else ''}")
        address = _address(setup, source.document, source.page)
        shown = f"[link={address}]{place}[/link]" if address else place
        say(f"  {escape(f'[{number}]')} {shown}: {escape(source.quote)}")


def _file(setup: Setup, document: str) -> Path | None:
    from groundtune.ingest.sources import file_of

    return file_of(setup.workspace, document)


def _address(setup: Setup | None, document: str, page: int | None) -> str:
    """What opens a document: its file, at the page where it has pages, or its web address; empty where it has none."""
    if document.startswith(("http://", "https://")):
        return quote(document, safe=":/?&=%#~+,;@!$()*'")
    file = _file(setup, document) if setup else None
    return f"{file.as_uri()}{f'#page={page}' if page and file.suffix.lower() == '.pdf' else ''}" if file else ""
