"""The argument and options that several ``dataset`` commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FileArgument = Annotated[
    Path, typer.Argument(help="The dataset: .jsonl, .json, .csv, .tsv, .parquet, .txt; also .gz, .xz.")
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", help="How the rows are written (groundtune list formats); found out by default."),
]
MapOption = Annotated[
    str | None,
    typer.Option("--map", help="Columns of a table: question=COL,answer=COL[,system=COL,fact=COL,source=COL]."),
]
OverwriteOption = Annotated[bool, typer.Option("--force", help="Replace the files to write where they are there.")]


def mapping_of(text: str | None) -> dict[str, str] | None:
    """``question=src,answer=eng`` as a dict.

    Raises:
        ConfigError: a piece without ``=``, or a part named twice.
    """
    from groundtune.errors import ConfigError

    if not text:
        return None
    found: dict[str, str] = {}
    for piece in text.split(","):
        part, equals, column = piece.partition("=")
        if not equals or not part.strip() or not column.strip() or part.strip() in found:
            raise ConfigError(f"--map: {piece!r}", expected="question=COLUMN,answer=COLUMN, each part once")
        found[part.strip()] = column.strip()
    return found
