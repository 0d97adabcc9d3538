"""Runs of a classifier as Markdown, as docs/results.md has them.

for n in 0 1 2; do groundtune tune --config recipes/mrpc.yaml --seed $n --json > mrpc-$n.json; done
python tools/classifier_results.py mrpc-0.json mrpc-1.json mrpc-2.json --recipe recipes/mrpc.yaml
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

EPOCH = ("training_loss", "loss", "accuracy", "f1")
PARTS = ("validation", "test")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def cells(row: dict[str, float], digits: int = 3) -> list[str]:
    return [f"{row[name]:.{digits}f}" if name in row else "-" for name in EPOCH]


def epochs(runs: Sequence[dict[str, Any]], published: dict[str, Any] | None) -> str:
    """Epoch by epoch: each seed, their mean where there are several, and a published run."""
    rows: list[list[str]] = []
    for run in runs:
        rows += [[f"seed {run['seed']}", f"{row['epoch']:g}", *cells(row)] for row in run["epochs"]]
    if len(runs) > 1:
        for several in zip(*(run["epochs"] for run in runs), strict=True):
            averaged = {name: mean([row[name] for row in several]) for name in EPOCH}
            rows.append(["mean", f"{several[0]['epoch']:g}", *cells(averaged)])
    for n, row in enumerate(published["epochs"] if published else [], 1):
        rows.append([str(published and published["name"]), str(n), *cells(row)])
    return table(["run", "epoch", "training loss", "validation loss", "accuracy", "F1"], rows)


def ends(runs: Sequence[dict[str, Any]]) -> str:
    """The chosen epoch of each seed on validation and test, the mean, and always answering the most frequent class."""
    rows = []
    for run in runs:
        judged = [f"{run[part][name]:.4f}" for part in PARTS for name in ("accuracy", "f1")]
        rows.append(
            [
                f"seed {run['seed']}",
                f"{run['best_epoch']:g}",
                *judged,
                f"{run['training_seconds']:.0f}",
                f"{run['milliseconds_per_query']:.1f}",
            ]
        )
    if len(runs) > 1:
        judged = [f"{mean([run[part][name] for run in runs]):.4f}" for part in PARTS for name in ("accuracy", "f1")]
        seconds = mean([run["training_seconds"] for run in runs])
        rows.append(["mean", "", *judged, f"{seconds:.0f}", f"{mean([r['milliseconds_per_query'] for r in runs]):.1f}"])
    constant = [f"{runs[0][part]['majority'][name]:.4f}" for part in PARTS for name in ("accuracy", "f1")]
    rows.append([f"always {runs[0]['majority']}", "", *constant, "", ""])
    f1 = "F1" if len(runs[0]["labels"]) == 2 else "macro F1"
    headings = ["run", "epoch", "validation accuracy", f1, "test accuracy", f1, "training s", "ms a query"]
    return table(headings, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs of a classifier as Markdown.")
    parser.add_argument("runs", nargs="+", type=Path, help="what `groundtune tune --json` printed, a file a seed")
    parser.add_argument("--recipe", type=Path, help="whose published figures are to be printed too")
    given = parser.parse_args()
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in given.runs]
    recipe = yaml.safe_load(given.recipe.read_text(encoding="utf-8")) if given.recipe else {}
    published = recipe.get("tune", {}).get("options", {}).get("published")
    counts = [f"{runs[0]['rows']:,} rows to train, {len(runs[0]['labels'])} classes"]
    counts += [f"{runs[0][part]['rows']:,} {part}" for part in PARTS]
    seen = runs[0]["test_rows_seen_in_training"]
    print(", ".join(counts), f"rows ({seen} test rows say the same as a training row)\n")
    print(epochs(runs, published), "\n")
    print(ends(runs))


if __name__ == "__main__":
    main()
