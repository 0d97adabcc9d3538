"""``groundtune dataset check``: every defect of a dataset file, with its places and what to do."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundtune.cli._common import JsonOption, print_json, progress_bar, say
from groundtune.cli.dataset._options import FileArgument, FormatOption, MapOption, mapping_of

if TYPE_CHECKING:
    from groundtune.dataset.checks.check import CheckReport


class TruncationName(StrEnum):
    """What becomes of rows over the model's context."""

    error = "error"
    drop = "drop"
    window = "window"


def check(
    file: FileArgument,
    against: Annotated[
        Path | None, typer.Option("--against", help="A held-out file: rows that are also trained on are named.")
    ] = None,
    model: Annotated[
        str,
        typer.Option("--model", help="Whose tokenizer, template and context: pebble, a folder, a Hugging Face name."),
    ] = "pebble",
    format: FormatOption = None,
    map: MapOption = None,
    context_tokens: Annotated[
        int | None, typer.Option("--context-tokens", min=8, help="Longest row; default: the model's context.")
    ] = None,
    truncation: Annotated[
        TruncationName, typer.Option("--truncation", help="Longer rows: an error, to be left out, or cut into windows.")
    ] = TruncationName.error,
    quarantine: Annotated[
        Path | None, typer.Option("--quarantine", help="Write faulty rows there (.jsonl): {line, codes, row}.")
    ] = None,
    reworded: Annotated[
        bool, typer.Option("--reworded/--no-reworded", help="Look for held-out questions in other words (embeddings).")
    ] = True,
    near: Annotated[bool, typer.Option("--near/--no-near", help="Look for near duplicates.")] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 2 for warnings too.")] = False,
    json: JsonOption = False,
) -> None:
    """Name every defect of a dataset file; exit 2 when there is an error."""
    from groundtune.dataset.checks import check as checks
    from groundtune.nn.checkpoints import open_tokenizer

    tokenizer, model_context_tokens = open_tokenizer(model)
    with progress_bar("check") as report:
        found = checks.check(
            file,
            format=format,
            mapping=mapping_of(map),
            against=against,
            tokenizer=tokenizer,
            context_tokens=context_tokens or model_context_tokens,
            truncation=truncation.value,
            quarantine=quarantine,
            embed=_embed if reworded else None,
            near=near,
            progress=lambda done, total, note: report(done, total or None, note),
        )
    if json:
        print_json(found.to_json())
    else:
        _print(found, model, quarantine)
    if found.errors or (strict and any(f.severity == "warning" for f in found.findings)):
        raise typer.Exit(2)


def _embed(texts: Any) -> Any:
    from groundtune import registry

    return registry.get("embedders", "minilm").embed(texts)


def _print(found: CheckReport, model: str, quarantine: Path | None) -> None:
    from rich.markup import escape

    items = f", {found.items} items" if found.items != found.rows else ""
    say(f"{escape(found.path)}: {found.rows} rows{items}, read as {found.format}")
    if found.tokens:
        share = found.trained_tokens / found.tokens
        say(
            f"{found.tokens:,} tokens with {escape(model)}, {share:.0%} of them trained; longest row {found.longest_tokens:,} of "
            f"{found.context_tokens:,}"
        )
    if len(found.splits) > 1:
        say("splits: " + ", ".join(f"{escape(name or '(none)')} {count}" for name, count in found.splits.items()))
    for finding in found.findings:
        say(f"\n{finding.severity:<8} {finding.code}  ({finding.count})\n  {escape(finding.means)}")
        for place in finding.places[:3]:
            say(f"    {escape(place)}")
        if finding.next_step != "nothing":
            say(f"  next: {escape(finding.next_step)}")
    errors = f"{found.errors} kinds of errors in {found.faulty_rows} rows" if found.errors else "no errors"
    say(f"\n{errors}; {found.rows / max(found.seconds, 1e-9):,.0f} rows a second")
    if quarantine is not None:
        say(f"{found.quarantined} rows put aside in {escape(str(quarantine))}")
