"""``groundtune bench index``: real chunks to a store that can be searched, beside LlamaIndex and LangChain with Chroma."""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from groundtune.cli._common import JsonOption, print_json, progress_bar, say
from groundtune.cli.bench._search_rounds import PEERS

#: our ways: embedder and how sentences get their vectors; the first is the default of groundtune.yaml
OURS = {
    "ours": "ours:minilm:embedded",
    "ours_pooled": "ours:minilm:pooled",
    "ours_int8": "ours:minilm_int8:embedded",
    "ours_pooled_int8": "ours:minilm_int8:pooled",
}
_METRICS = ("chunks_per_second", "documents_per_second", "cpu_seconds", "peak_memory_bytes")


def index(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="JSONL with texts (also .xz), or a folder of texts; default: the example."),
    ] = None,
    chunks: Annotated[
        int, typer.Option("--chunks", min=10, help="Chunks each library indexes, over all rounds.")
    ] = 3000,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Turns each library has, each with other chunks.")] = 3,
    ours: Annotated[str, typer.Option("--ours", help=f"Our ways, with commas: {', '.join(OURS)}.")] = ",".join(OURS),
    peers: Annotated[str, typer.Option("--peers", help=f"Who to compare with: {', '.join(PEERS)}.")] = ",".join(PEERS),
    peers_python: Annotated[
        Path | None, typer.Option("--peers-python", help="Python that has them; default: what `make peers` made.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=0, help="OpenMP threads; 0: one a core.")] = 0,
    json: JsonOption = False,
) -> None:
    """Index the same chunks with the same MiniLM weights by each library in turn: chunks a second, CPU seconds, memory."""
    from groundtune.cli.bench._search_rounds import peers_of, real_chunks
    from groundtune.errors import UnknownNameError
    from groundtune.evaluation.compare import machine

    asked, python = peers_of(peers, peers_python)
    ways = [name.strip() for name in ours.split(",") if name.strip()]
    for name in ways:
        if name not in OURS:
            raise UnknownNameError("way", name, OURS)
    contestants = [*ways, *asked]
    with tempfile.TemporaryDirectory(prefix="groundtune-bench-") as made, progress_bar("bench index") as report:
        rows = real_chunks(data, chunks)
        results = _run(Path(made), rows, contestants, rounds, threads or os.cpu_count() or 1, python, report)
    figures = {name: _figures(runs) for name, runs in results.items()}
    workload = {
        "data": str(data or "example"),
        "chunks": len(rows),
        "documents": len({r["document"] for r in rows}),
        "words": sum(len(r["searched"].split()) for r in rows),
        "rounds": rounds,
        "threads": threads or os.cpu_count() or 1,
    }
    found_ours = {**figures[ways[0]], "workload": workload, "ways": {name: figures[name] for name in ways}}
    ratios = {
        f"{way}/{peer}": {
            metric: round(statistics.median(a[metric] / b[metric] for a, b in zip(figures[way]["rounds"], figures[peer]["rounds"], strict=True)), 3)
            for metric in _METRICS
        }
        for way in ways
        for peer in asked
    }  # fmt: skip
    if json:
        shown = {name: figures[name] for name in asked}
        print_json({"name": "index", "machine": machine(), "ours": found_ours, "peers": shown, "ratios": ratios})
        return
    say(f"{workload['chunks']:,} chunks of {workload['documents']:,} documents, {workload['words']:,} words, {workload['threads']} threads")  # fmt: skip
    say(f"{'':<24}{'chunks/s':>10}{'documents/s':>13}{'CPU s':>9}{'peak MB':>9}")
    for name, found in figures.items():
        say(
            f"{PEERS.get(name, name):<24}{found['chunks_per_second']:>10,.1f}{found['documents_per_second']:>13,.1f}"
            f"{found['cpu_seconds']:>9,.1f}{found['peak_memory_bytes'] / 1e6:>9,.0f}"
        )
    for pair, ratio in ratios.items():
        say(f"{pair:<32}{ratio['chunks_per_second']:.2f} x chunks/s, {ratio['peak_memory_bytes']:.2f} x memory")


def _run(
    folder: Path,
    rows: list[dict[str, Any]],
    contestants: list[str],
    rounds: int,
    threads: int,
    python: str | None,
    report: Any,
) -> dict[str, list[dict[str, Any]]]:
    """Every contestant once a round, each round with its own share of the chunks and begun by another one."""
    import json

    from groundtune.cli.bench._search_rounds import run_job
    from groundtune.nn.encoder_models import minilm_folder

    results: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for number in range(rounds):
        part = rows[number::rounds]
        path = folder / f"chunks-{number}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
        turn = number % len(contestants)
        for at, name in enumerate([*contestants[turn:], *contestants[:turn]]):
            report(number * len(contestants) + at, rounds * len(contestants), name)
            place = folder / f"{name}-{number}"
            job = {
                "task": "index",
                "contestant": OURS.get(name, name),
                "folder": str(place),
                "chunks": str(path),
                "model": str(minilm_folder()),
                "threads": threads,
            }
            result = run_job(place, job, python)
            result["documents"] = len({r["document"] for r in part})
            results[name].append(result)
    report(rounds * len(contestants), rounds * len(contestants), "")
    return results


def _figures(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A contestant's figures: medians over its rounds, and the rounds themselves."""
    rounds = [
        {
            "chunks_per_second": round(run["chunks"] / run["seconds"], 2),
            "documents_per_second": round(run["documents"] / run["seconds"], 3),
            "cpu_seconds": round(run["cpu_seconds"], 3),
            "seconds": round(run["seconds"], 3),
            "peak_memory_bytes": run["peak_memory_bytes"],
        }
        for run in runs
    ]
    medians = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
    return {**medians, "rounds": rounds, "versions": runs[0]["versions"]}
