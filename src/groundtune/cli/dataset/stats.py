"""``groundtune dataset stats``: what a dataset is like, as one page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import (
    ConfigOption,
    JsonOption,
    ModelOption,
    ProjectOption,
    print_json,
    progress_bar,
    say,
)
from groundtune.cli.dataset._options import mapping_of

if TYPE_CHECKING:
    from collections.abc import Callable

REPORT = Path("dataset.html")


def stats(
    file: Annotated[Path, typer.Argument(help="A dataset: .jsonl, .json, .csv, .tsv, .parquet or .txt.")],
    model: ModelOption = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Where the page goes; default dataset.html, none with --json.")
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", help="The file's format; default: what its first rows look like.")
    ] = None,
    map: Annotated[str | None, typer.Option("--map", help="Columns of a table: question=COLUMN,answer=COLUMN.")] = None,
    project: ProjectOption = Path(),
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Counts, lengths, words, languages, topics, duplicates, odd examples and the loss mask of a dataset."""
    import time
    from datetime import datetime

    from groundtune.config import load_config

    page = report or (None if json else REPORT)
    if page:
        check_page_path(page)
    name = model or load_config(project, config).model
    started = time.monotonic()
    found, kind = measured(file, name, format=format, mapping=mapping_of(map))
    found = {"file": str(file), "format": kind, "model": name, **found, "seconds": time.monotonic() - started}
    if page:
        from groundtune.dataset.stats.page import render_page
        from groundtune.workspace import provenance

        html = render_page(
            found,
            name=file.name,
            model=name,
            format=kind,
            created=datetime.now().isoformat(timespec="minutes"),
            command=provenance()["command"],
        )
        write_page(page, html)
    if json:
        shown = [{k: v for k, v in e.items() if k != "pieces"} for e in found["mask"]["examples"]]
        print_json(found | {"mask": found["mask"] | {"examples": shown}, "report": str(page) if page else None})
        return
    from rich.markup import escape

    from groundtune.dataset.stats.page import findings, verdict

    say(f"{escape(file.name)} ({kind}): {escape(verdict(found, name))}")
    for line in findings(found):
        say(f"  {escape(line)}")
    say(f"page     {escape(str(page))}")


def measured(
    file: Path, model: str, *, format: str | None = None, mapping: dict[str, str] | None = None
) -> tuple[dict[str, Any], str]:
    """The figures of a file for a model, and the file's format.

    Raises:
        InputError: the file or the model's tokenizer cannot be read.
    """
    from groundtune.dataset.files.items import detect_format, read_items
    from groundtune.dataset.stats.measure import measure

    kind = "columns" if mapping else format or detect_format(file)
    items = read_items(file, None if mapping else kind, mapping)
    from groundtune.nn.checkpoints import open_tokenizer

    tokenizer, context_tokens = open_tokenizer(model)
    with progress_bar("stats") as report:
        found = measure(
            items,
            tokenizer,
            context_tokens,
            embed=_embedder(),
            language_of=_language_of(),
            progress=lambda stage, done, total: report(done, total or None, stage),
        )
    return found, kind


def _embedder() -> Callable[[Any], Any]:
    from groundtune.retrieval.embedders.minilm import embed

    return embed


def _language_of() -> Callable[[str], tuple[str, float]]:
    from groundtune.ingest.language import language_of

    return language_of


def check_page_path(path: Path) -> None:
    """See that the page can be written there, before the minutes that measuring may take.

    Raises:
        InputError: a folder, below a file, or a file that groundtune has not made.
    """
    from groundtune.errors import InputError

    if path.is_dir():
        raise InputError(f"{path} is a folder", expected="a file for the page", next_step=f"--report {path / REPORT}")
    if path.parent.exists() and not path.parent.is_dir():
        raise InputError(f"{path}: {path.parent} is a file", expected="a file in a folder")
    if path.exists():
        with path.open("rb") as file:
            if b'name="generator" content="groundtune"' not in file.read(1000):
                raise InputError(
                    f"{path} is there already, and groundtune has not made it",
                    expected="a name for the page that is free",
                    next_step=f"--report {path.with_name(path.stem + '-stats.html')}",
                )


def write_page(path: Path, html: str) -> None:
    """Write a page whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.part")
    half.write_text(html, encoding="utf-8")
    half.replace(path)
