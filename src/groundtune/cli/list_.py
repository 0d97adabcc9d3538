"""``groundtune list``: the registered names of a kind."""

from __future__ import annotations

from typing import Annotated

import typer

from groundtune.cli._common import JsonOption, print_json, say


def list_(
    kind: Annotated[
        str,
        typer.Argument(help="methods, metrics, loaders, formats, embedders, rerankers, stores, backends or models."),
    ],
    json: JsonOption = False,
) -> None:
    """List what there is of a kind, each with its first line of documentation."""
    from groundtune import registry
    from groundtune.errors import UnknownNameError
    from groundtune.nn.checkpoints import BUNDLED

    if kind not in {*registry.PACKAGES, "models"}:
        raise UnknownNameError("kind", kind, [*registry.PACKAGES, "models"])
    if kind == "models":
        rows = {BUNDLED: "the bundled model; any folder or Hugging Face name of a causal model works too"}
    else:
        rows = {name: registry.summary(kind, name) for name in registry.names(kind)}
    if json:
        print_json(rows)
        return
    for name, line in rows.items():
        say(f"[bold]{name:<20}[/bold] {line}")
