"""``groundtune bench tune``: our training path beside those that people use, on the same rows, steps and optimizer.

Every contestant starts from the same weights, reads the same token rows, and takes its n-th optimizer step on the same rows
as all others, with the same optimizer, schedule, clipping and seed; so it ends at the same loss, which is checked by one
evaluator on the weights it saved. What is left to each is how a step is done: number format, padding or packing, how many rows
go through the model at a time, attention, loss. Contestants take turns, each time in a process of its own; CPU and wall
seconds count from the end of the warm-up steps to the end of training, loading and data preparation not at all. Ratios are
ours / theirs, the median over the rounds: above 1 is better for tokens a second, below 1 for memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from groundtune.cli._common import JsonOption, print_json, progress_bar, say, warn
from groundtune.cli.bench._work import SHAPES
from groundtune.errors import ConfigError, InputError, UnknownNameError

#: name -> what it is, in the order in which they are told
PEERS = {
    "trl_defaults": "TRL SFTTrainer, defaults",
    "trl_tuned": "TRL SFTTrainer, best options",
    "trl_subclass": "TRL SFTTrainer, own loss",
    "transformers": "transformers Trainer",
}
_UNSLOTH = {"unsloth": "Unsloth"}
_NAMES = {"ours": "groundtune", **PEERS, **_UNSLOTH}
#: peak learning rate that the bundled model and a new one both learn at
_RATE = 5e-4


def tune(
    model: Annotated[
        str, typer.Option("--model", help="Model to train: pebble, a folder, a Hugging Face name.")
    ] = "pebble",
    shape: Annotated[
        str | None, typer.Option("--shape", help=f"A new model with random weights instead: {', '.join(SHAPES)}.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Conversations in any dataset format; default: made-up questions.")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=8, help="Rows to train on, at most.")] = 320,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the rows.")] = 1,
    rows_per_step: Annotated[int, typer.Option("--rows-per-step", min=1, help="Rows of an optimizer step.")] = 8,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each contestant has its turn.")] = 3,
    warm_up_steps: Annotated[int, typer.Option("--warm-up-steps", min=1, help="Steps that are not timed.")] = 3,
    threads: Annotated[int, typer.Option("--threads", min=0, help="OpenMP threads; 0: one a core.")] = 0,
    peers: Annotated[
        str, typer.Option("--peers", help=f"Who to compare with, with commas: {', '.join(PEERS)}.")
    ] = ",".join(PEERS),
    unsloth_python: Annotated[
        Path | None,
        typer.Option("--unsloth-python", help="Python of an environment that has Unsloth: it takes part, too."),
    ] = None,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", min=0.0, help="Peak learning rate of all.")
    ] = _RATE,
    seed: Annotated[int, typer.Option("--seed", help="Of rows, order and new weights.")] = 0,
    svg: Annotated[Path | None, typer.Option("--svg", help="Draw the figures into this file.")] = None,
    json: JsonOption = False,
) -> None:
    """Train the same model on the same rows by our path, TRL and transformers: tokens a second, memory, final loss."""
    from groundtune.cli.bench import _rounds
    from groundtune.cli.bench._work import prepare
    from groundtune.evaluation.compare import machine

    contestants = _contestants(peers, unsloth_python)
    _warn_of_load()
    with tempfile.TemporaryDirectory(prefix="groundtune-bench-") as made, progress_bar("bench tune") as report:
        work = prepare(
            Path(made),
            model=model,
            shape=shape,
            data=data,
            rows=rows,
            epochs=epochs,
            rows_per_step=rows_per_step,
            warm_up_steps=warm_up_steps,
            threads=threads or os.cpu_count() or 1,
            learning_rate=learning_rate,
            seed=seed,
        )
        pythons = {"unsloth": str(unsloth_python)} if unsloth_python else {}
        results = _rounds.run_rounds(Path(made), work, contestants, rounds, pythons, report)
        held_out = _rounds.held_out_losses(Path(made), work, contestants)
    figures = {name: _rounds.figures(runs, work, held_out[name]) for name, runs in results.items()}
    ours = figures.pop("ours")
    ratios = {name: _rounds.ratios(ours, found) for name, found in figures.items()}
    told = {k: v for k, v in asdict(work).items() if k not in ("rows", "held_out", "model")}
    ours["workload"] = {"model": shape or model, "data": str(data or "generated"), **told}
    if svg:
        _draw(svg, ours, figures, ratios, machine())
    if json:
        print_json({"name": "tune", "machine": machine(), "ours": ours, "peers": figures, "ratios": ratios})
        return
    _tell(ours, figures, ratios)
    if svg:
        say(f"drawn    {svg}")


def _contestants(peers: str, unsloth_python: Path | None) -> list[str]:
    from importlib.util import find_spec

    asked = [name.strip() for name in peers.split(",") if name.strip()]
    for name in asked:
        if name not in PEERS:
            raise UnknownNameError("peer", name, PEERS)
    needed = ("trl", "datasets") if any(name.startswith("trl") for name in asked) else ()
    if missing := [name for name in needed if find_spec(name) is None]:
        raise ConfigError(
            f"--peers {peers}: {' and '.join(missing)} not installed",
            expected="the libraries to compare with",
            next_step="pip install 'groundtune[bench]', or --peers transformers",
        )
    if unsloth_python and not unsloth_python.is_file():
        raise InputError(f"--unsloth-python {unsloth_python}: no such file", expected="the Python of an environment")
    return ["ours", *asked, *(_UNSLOTH if unsloth_python else ())]


def _warn_of_load() -> None:
    """Say so where other programs are at work: two threads on one free core can be slower than one."""
    if hasattr(os, "getloadavg"):
        load, cores = os.getloadavg()[0], os.cpu_count() or 1
        if load > 0.5 * cores:
            warn(f"other programs are at work (load {load:.1f} on {cores} cores): the figures will be off")


def _tell(ours: dict[str, Any], peers: dict[str, Any], ratios: dict[str, Any]) -> None:
    work = ours["workload"]
    say(
        f"{work['model']}: {work['parameters']:,} parameters, {work['steps']} steps of {work['rows_per_step']} rows, "
        f"{work['tokens']:,} tokens, {work['trained_tokens'] / work['tokens']:.0%} trained, {work['threads']} threads"
    )
    say(f"{'':<30}{'tokens/CPU-s':>14}{'tokens/s':>12}{'peak MB':>10}{'training MB':>13}{'loss':>9}{'held out':>10}")
    for name, found in {"ours": ours, **peers}.items():
        memory = [found[which] / 1e6 for which in ("peak_memory_bytes", "training_memory_bytes")]
        say(
            f"{_NAMES[name]:<30}{found['tokens_per_cpu_second']:>14,.0f}{found['tokens_per_second']:>12,.0f}"
            f"{memory[0]:>10,.0f}{memory[1]:>13,.0f}{found['last_loss']:>9.4f}{found['held_out_loss']:>10.4f}"
        )
    for name, ratio in ratios.items():
        say(
            f"ours / {_NAMES[name]:<30}{ratio['tokens_per_cpu_second']:.2f} x tokens/CPU-s, "
            f"{ratio['tokens_per_second']:.2f} x tokens/s, {ratio['peak_memory_bytes']:.2f} x memory, "
            f"{ratio['last_loss']:.4f} x loss"
        )


def _draw(
    path: Path, ours: dict[str, Any], peers: dict[str, Any], ratios: dict[str, Any], machine: dict[str, Any]
) -> None:
    """Write the SVG."""
    from groundtune.cli.bench._plot import Bar, bars
    from groundtune.page.text import count, size

    panels = []
    texts: dict[str, Callable[[Any], str]] = {"peak_memory_bytes": size}
    headings = {
        "tokens_per_cpu_second": "tokens a CPU second (longer is better)",
        "tokens_per_second": "tokens a second of wall time (longer is better)",
        "peak_memory_bytes": "peak memory of the process (shorter is better)",
    }
    for metric, heading in headings.items():
        rows = [Bar(_NAMES["ours"], ours[metric], texts.get(metric, count)(ours[metric]), ours=True)]
        for name, found in peers.items():
            shown = f"{texts.get(metric, count)(found[metric])} (ours {ratios[name][metric]:.2f} x)"
            rows.append(Bar(_NAMES[name], found[metric], shown))
        panels.append((heading, rows))
    work = ours["workload"]
    title = f"Fine-tuning {work['model']} ({work['parameters'] / 1e6:.1f} million parameters)"
    note = f"{work['steps']} steps of {work['rows_per_step']} rows, {work['threads']} threads, {machine['cpu']}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(bars(title, note, panels), encoding="utf-8")
