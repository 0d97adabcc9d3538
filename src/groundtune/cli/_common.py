"""What the commands share: the project's options, progress bars, printing, and turning faults into messages."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from groundtune.methods._setup import Setup

ProjectOption = Annotated[
    Path, typer.Option("--project", "-p", help="Project folder: holds groundtune.yaml and .groundtune/.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="Another config file than groundtune.yaml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Model instead of the config's: pebble, a folder, a Hugging Face name, openai:MODEL[@URL], echo:TEXT.",
    ),
]


WhereOption = Annotated[
    str | None,
    typer.Option(
        "--where",
        help="Look only where this holds, as in \"media_type = 'pdf' and page <= 3\"; fields: document, page, row, heading, media_type, language.",
    ),
]


def open_project(
    project: Path,
    config: Path | None = None,
    *,
    model: str | None = None,
    document: str | None = None,
    where: str | None = None,
) -> Setup:
    """The parts of a project.

    Raises:
        InputError: no such folder. ConfigError: a faulty config.
    """
    from groundtune.config import load_config
    from groundtune.errors import InputError
    from groundtune.methods._setup import Setup
    from groundtune.workspace import Workspace

    if not project.is_dir():
        raise InputError(
            f"no folder {project}", expected="a project folder", next_step="make it, or name another with --project"
        )
    settings = load_config(project, config)
    if model:
        settings = settings.model_copy(update={"model": model})
    if where is not None:
        settings = settings.model_copy(update={"retrieval": settings.retrieval.model_copy(update={"where": where})})
    return Setup(Workspace(project), settings, document=document)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def say(text: str = "", *, quiet: bool = False) -> None:
    """A line for people, on stdout; nothing where ``--json`` owns it."""
    if not quiet:
        from rich.console import Console

        Console(highlight=False, soft_wrap=True).print(text)


def warn(text: str) -> None:
    """A line on stderr about what is not wrong but may surprise."""
    sys.stderr.write(f"groundtune: {text}\n")


def warn_if_stale(setup: Setup) -> None:
    """Say so where the documents were ingested anew after the index was made."""
    from groundtune.ingest.ingest import documents_digest

    index, documents = (setup.workspace.manifest(name) for name in ("index", "documents"))
    if index and documents and index["inputs"]["documents"] != documents_digest(setup.workspace):
        warn("the index is older than the ingested documents; next: groundtune index")


@contextmanager
def progress_bar(title: str) -> Iterator[Any]:
    """A bar on stderr while stdout is a terminal; ``report(done, total, note)`` moves it."""
    if not sys.stdout.isatty():
        yield lambda done, total, note="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, note="")

        def report(done: int, total: int, note: object = "") -> None:
            bar.update(task, completed=done, total=total, note=str(note))

        yield report


def ensure_documents(
    setup: Setup, sources: tuple[str, ...] = (), *, explicit: bool = False, quiet: bool = False
) -> Any:
    """Ingest unless that is done; says what came in, what was cleaned and what was skipped.

    Args:
        sources: what to read, the web included. Without: what the last ``ingest`` made, if it was told more than the
            config says; else the config's ``documents``, web pages as they were fetched last.
        explicit: sources or settings come from the command line.
    """
    from rich.markup import escape

    from groundtune.ingest.cleaning import in_words
    from groundtune.ingest.ingest import ingest, ingested_explicitly, read_result

    if not sources and ingested_explicitly(setup.workspace):
        result = read_result(setup.workspace)
        say(f"ingest   {len(result.documents)} documents, as last ingested", quiet=quiet)
        return result
    before = set()
    if setup.workspace.manifest("documents"):
        before = {d.path for d in read_result(setup.workspace).documents}
    with progress_bar("ingest") as report:
        result = ingest(
            setup.workspace,
            sources or setup.config.documents,
            config=setup.config,
            questions=setup.questions_path,
            refresh=bool(sources),
            explicit=explicit,
            progress=report,
        )
    say(f"ingest   {len(result.documents)} documents, {len(result.skipped)} skipped", quiet=quiet)
    gone = sorted(before - {d.path for d in result.documents} - {s.path for s in result.skipped})
    if gone:
        named = ", ".join(gone[:3]) + (" ..." if len(gone) > 3 else "")
        warn(
            f"{len(gone)} earlier documents are no longer among the documents ({named}): name all sources together, or list them under documents: in groundtune.yaml"
        )
    for line in in_words(result.cleaning):
        say(f"         {escape(line)}", quiet=quiet)
    for skipped in result.skipped:
        say(f"         skipped {escape(f'{skipped.path}: {skipped.reason}')}", quiet=quiet)
    return result


def ensure_index(setup: Setup, *, quiet: bool = False) -> dict[str, Any]:
    """Build the index unless it is up to date."""
    from groundtune.retrieval.index import build_index

    with progress_bar("index") as report:
        _, made = build_index(setup.workspace, setup.config.index, progress=report)
    figures: dict[str, Any] = (setup.workspace.manifest("index") or {})["figures"]
    counted = [name for name in ("added", "changed", "removed") if name in figures]
    if not made:  # what changed the last time has not changed now
        figures |= dict.fromkeys(counted, 0)
    changes = ", ".join(f"{figures[name]} {name}" for name in counted if figures[name])
    note = f" ({changes or 'no document is other'})" if made else " (up to date)"
    say(f"index    {figures['chunks']} chunks of {figures['documents']} documents{note}", quiet=quiet)
    return figures


def ensure_tuned(
    setup: Setup, method: str | None = None, *, last: bool = True, quiet: bool = False, notes: bool = False
) -> dict[str, Any]:
    """Train by a method (default: the config's) unless that is done for these rows.

    Args:
        last: this is now what the System ``tuned`` stands for.
        notes: say before training what is trained on and what is odd about it.
    """
    from rich.markup import escape

    from groundtune.methods import _tuning
    from groundtune.workspace import write_json

    name = method or setup.config.tune.method
    with progress_bar(name) as report:
        tell = (lambda text: say(f"         {escape(text)}", quiet=quiet)) if notes else (lambda text: None)
        _, made = _tuning.tune(setup, name, progress=report, announce=tell)
    if last and _tuning.answers_closed_book(name):
        write_json(setup.workspace.path(_tuning.LAST), {"method": name})
    figures = _tuning.figures_of(setup, name)
    say(_training_line(name, figures, made), quiet=quiet)
    return figures


def ensure_scratch(setup: Setup, *, quiet: bool = False) -> dict[str, Any]:
    """Train the from-scratch model unless that is done."""
    from groundtune.methods import scratch

    with progress_bar("scratch") as report:
        _, made = scratch.train_from_scratch(setup, progress=report)
    figures: dict[str, Any] = (setup.workspace.manifest(scratch.ARTIFACT) or {})["figures"]
    say(_training_line("scratch", figures, made), quiet=quiet)
    return figures


def _training_line(name: str, figures: dict[str, Any], made: bool) -> str:
    text = f"{name:<8} {figures['steps']} steps in {figures['seconds']:.0f} s, loss {figures['first_loss']:.2f} -> {figures['last_loss']:.2f}"
    return text + ("" if made else " (up to date)")
