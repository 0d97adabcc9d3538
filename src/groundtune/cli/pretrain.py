"""``groundtune pretrain``: a model from a recipe file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from groundtune.cli._common import progress_bar, say


def pretrain(recipe: Annotated[Path, typer.Argument(help="Recipe file, such as recipes/pebble.yaml.")]) -> None:
    """Train a model from zero by a recipe: tokenizer, pretraining, instruction tuning, figures."""
    from groundtune.methods.pretraining import load_recipe
    from groundtune.methods.pretraining import pretrain as run

    loaded = load_recipe(recipe)
    with progress_bar("pretrain") as report:
        folder = run(loaded, announce=lambda stage: say(f"pretrain {stage}"), progress=report)
    say(f"pretrain {folder}")
