"""``groundtune pretrain``: a model from nothing, by the name of its size or from a recipe file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from groundtune.cli._common import JsonOption, print_json, progress_bar, say


def pretrain(
    recipe: Annotated[Path | None, typer.Argument(help="Recipe file, such as recipes/pebble.yaml.")] = None,
    shape: Annotated[
        str | None,
        typer.Option("--shape", help="Size by name: gpt1, gpt2, gpt3-small, llama2-7b ... instead of a recipe."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="PATH or PATH=WEIGHT: text files or folders, mixed by weight; repeatable."),
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Tokens to train on in all.")] = 1_000_000,
    out: Annotated[Path, typer.Option("--out", help="Folder for the tokenizer, the tokens and the model.")] = Path(
        "pretrained"
    ),
    vocabulary: Annotated[
        int | None, typer.Option("--vocabulary", min=300, help="Tokenizer entries; default: the shape's.")
    ] = None,
    context: Annotated[
        int | None, typer.Option("--context", min=16, help="Longest input in tokens; default: the shape's.")
    ] = None,
    batch_tokens: Annotated[
        int | None,
        typer.Option(
            "--batch-tokens", min=16, help="Tokens an optimizer step; default: the published, or 1/100 of all."
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Peak; default: the published.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")] = 0,
    json: JsonOption = False,
) -> None:
    """Train a model from zero: tokenizer, tokens mixed by weight, next-token training; a killed run goes on."""
    from groundtune.errors import ConfigError

    if (recipe is None) == (shape is None):
        raise ConfigError(
            "pretrain: a recipe file or --shape, one of them",
            next_step="groundtune pretrain recipes/pebble.yaml, or groundtune pretrain --shape gpt2 --data texts/",
        )
    if shape is not None and not data:
        raise ConfigError("pretrain --shape: no --data", expected="text files or folders, such as --data texts/=0.6")
    with progress_bar("pretrain") as report:

        def announce(stage: str) -> None:
            say(f"pretrain {stage}", quiet=json)

        if recipe is not None:
            from groundtune.methods.pretraining import load_recipe
            from groundtune.methods.pretraining import pretrain as run

            folder = run(load_recipe(recipe), announce=announce, progress=report)
        else:
            from groundtune.methods._from_shape import NewModel, parse_corpus, pretrain_shape

            wanted = NewModel(str(shape), tokens, vocabulary, context, batch_tokens, learning_rate, seed)
            folder = pretrain_shape(
                wanted, [parse_corpus(d) for d in data or ()], out, announce=announce, progress=report
            )
    _tell(folder, json=json)


def _tell(folder: Path, *, json: bool) -> None:
    from json import loads

    figures: dict[str, Any] = loads((folder / "figures.json").read_text(encoding="utf-8"))
    if json:
        print_json({"model": str(folder), **figures})
        return
    if "mixture" in figures:
        say(f"         {figures['parameters']:,} parameters, {figures['tokens']:,} tokens, {figures['steps']} steps in {figures['seconds']:.0f} s")  # fmt: skip
        for part in figures["mixture"]:
            say(f"         {part['path']}: {part['share']:.1%} of the tokens, {part['passes_begun']} passes")
        bits = figures["held_out_bits_per_byte"]
        for path, value in bits["after"].items():
            say(f"         {path}: {bits['before'][path]:.2f} to {value:.2f} bits per byte on held-out documents")
    say(f"pretrain {folder}")
