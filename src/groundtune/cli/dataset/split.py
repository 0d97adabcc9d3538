"""``groundtune dataset split``: rows to train on and rows to hold out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from groundtune.cli._common import JsonOption, print_json, progress_bar, say, warn
from groundtune.cli.dataset._options import FileArgument, FormatOption, MapOption, OverwriteOption, mapping_of


class ByName(StrEnum):
    """What stays together."""

    source = "source"
    fact = "fact"


def split(
    file: FileArgument,
    train: Annotated[
        Path | None, typer.Option("--train", help="File to train on; default: NAME-train beside it.")
    ] = None,
    held_out: Annotated[
        Path | None, typer.Option("--held-out", help="File to hold out; default: NAME-held-out beside it.")
    ] = None,
    share: Annotated[float, typer.Option("--share", help="Share of the rows to hold out, 0 to 1.")] = 0.2,
    by: Annotated[
        ByName, typer.Option("--by", help="source: documents and facts stay whole; fact: facts only.")
    ] = ByName.source,
    format: FormatOption = None,
    map: MapOption = None,
    near: Annotated[bool, typer.Option("--near/--no-near", help="Keep nearly equal prompts together.")] = True,
    skip_faulty: Annotated[bool, typer.Option("--skip-faulty", help="Leave out rows that cannot be read.")] = False,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Divide a dataset by source document, fact and prompt; the same rows in every run."""
    from groundtune.dataset import split as work

    with progress_bar("split") as report:
        done = work.split(
            file,
            train or named(file, "train"),
            held_out or named(file, "held-out"),
            share=share,
            by=by.value,
            format=format,
            mapping=mapping_of(map),
            near=near,
            skip_faulty=skip_faulty,
            overwrite=overwrite,
            progress=lambda n, total, note: report(n, total or None, note),
        )
    rows = done.train_rows + done.held_out_rows
    if json:
        print_json(done.to_json())
        return
    from rich.markup import escape

    say(f"train     {done.train_rows} rows -> {escape(done.train)}")
    say(f"held out  {done.held_out_rows} rows ({done.held_out_rows / rows:.0%}) -> {escape(done.held_out)}")
    say(f"{done.groups} groups: {done.sources} sources, {done.facts} facts, {done.near} rows like an earlier prompt")
    if done.largest_group_rows * 2 > rows:
        warn(
            f"one group is {done.largest_group_rows / rows:.0%} of the rows; --by fact makes finer ones, where rows name facts"
        )
    if done.faulty_rows:
        warn(f"{done.faulty_rows} rows could not be read and are in neither file")


def named(file: Path, part: str) -> Path:
    """``data.jsonl.gz`` and ``train`` -> ``data-train.jsonl.gz``."""
    name = file.name
    stem, dot, endings = name.partition(".")
    return file.with_name(f"{stem}-{part}{dot}{endings}" if dot else f"{name}-{part}.jsonl")
