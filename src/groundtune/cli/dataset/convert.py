"""``groundtune dataset convert``: one dataset format into another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundtune.cli._common import JsonOption, print_json, progress_bar, say, warn
from groundtune.cli.dataset._options import FileArgument, OverwriteOption, mapping_of

if TYPE_CHECKING:
    from groundtune.dataset.convert import ConvertReport


def convert(
    file: FileArgument,
    to: Annotated[str, typer.Option("--to", help="The format to write (groundtune list formats).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write; its ending says lines, array or table.")],
    source: Annotated[
        str | None, typer.Option("--from", help="How the rows are written; found out by default.")
    ] = None,
    map: Annotated[
        str | None, typer.Option("--map", help="Columns of a table: question=COL,answer=COL[,system=COL,fact=COL].")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="A task marker for every item, such as to-fr or summarize.")
    ] = None,
    origin: Annotated[
        bool, typer.Option("--origin", help="Also write id, fact, split and source of each item where known.")
    ] = False,
    quarantine: Annotated[
        Path | None, typer.Option("--quarantine", help="Write rows that cannot be converted there (.jsonl).")
    ] = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Convert a dataset; exit 2 when a row could not be converted, which is then named."""
    from groundtune.dataset import convert as work

    with progress_bar("convert") as report:
        done = work.convert(
            file,
            out,
            to,
            format=source,
            mapping=mapping_of(map),
            task=task,
            origin=origin,
            quarantine=quarantine,
            overwrite=overwrite,
            progress=lambda n, total, note: report(n, total or None, note),
        )
    if json:
        print_json(done.to_json())
    else:
        _print(done)
    if done.faulty:
        for reason, count in list(done.faults.items())[:5]:
            warn(f"{count} not converted: {reason}")
        raise typer.Exit(2)


def _print(done: ConvertReport) -> None:
    from rich.markup import escape

    say(
        f"{done.converted} of {done.items} items of {escape(done.path)} ({done.format}) -> {escape(done.out)} ({done.to})"
    )
    for name, count in done.left_behind.items():
        say(f"  left behind: {escape(name)} of {count} rows")
    for place in done.places:
        say(f"  not converted: {escape(place)}")
