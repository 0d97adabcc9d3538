"""Systems side by side on the same held-out questions: scores, differences, costs, advice. What the report is made of."""

from __future__ import annotations

import datetime
import os
import platform
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from groundtune.config import CompareConfig
from groundtune.evaluation.judge import Judge, judge_values
from groundtune.evaluation.recommendation import ALPHA, recommend
from groundtune.evaluation.runner import ALL, SystemRun, per_question, run_system, summarise
from groundtune.evaluation.significance import holm, paired_difference
from groundtune.records import Example
from groundtune.system import System

#: (system's name, questions done, questions in all)
Progress = Callable[[str, int, int], None]


def choose_questions(examples: Sequence[Example], limit: int | None, seed: int) -> list[Example]:
    """Every held-out question, or about ``limit`` a split: whole facts at a time, drawn by the seed."""
    out: list[Example] = []
    for split in dict.fromkeys(e.split for e in examples if e.split != "train"):
        inside = [e for e in examples if e.split == split]
        facts = sorted({e.fact for e in inside})
        random.Random(seed).shuffle(facts)
        kept: set[str] = set()
        for fact in facts:
            if limit is not None and sum(e.fact in kept for e in inside) >= limit:
                break
            kept.add(fact)
        out += [e for e in inside if e.fact in kept]
    return out


def compare_systems(
    systems: Mapping[str, System],
    examples: Sequence[Example],
    config: CompareConfig,
    *,
    seed: int,
    training: Mapping[str, Mapping[str, float]],
    progress: Progress | None = None,
    judge: Judge | None = None,
) -> tuple[dict[str, Any], list[SystemRun]]:
    """Run every System on the examples and compare.

    Args:
        systems: name -> System, in the order of the report.
        examples: held-out questions.
        training: name -> ``train_seconds`` and ``disk_bytes``.
        judge: grades every answer too, as the metric ``judge``; one that is to be believed (``agreement.require``).

    Returns:
        The comparison (``compare --json``'s form, with ``per_question``), and the runs.
    """
    runs: list[SystemRun] = []
    for name, system in systems.items():
        tell = (lambda done, total, name=name: progress(name, done, total)) if progress else None
        runs.append(run_system(system, examples, latency_questions=config.latency_questions, progress=tell))
    lost = {run.name: _judged(run, examples, judge) for run in runs} if judge else {}
    rows = [summarise(run, examples, resamples=config.resamples, seed=seed) for run in runs]
    for row in rows:
        if judge:
            row["judge"] = {"name": judge.name, "failures": lost[row["name"]]}
        row.update({"train_seconds": 0.0, "disk_bytes": 0, **training.get(row["name"], {})})
        row["cost_usd"] = 1000 * row["latency_seconds"]["p50"] * config.usd_per_hour / 3600
    _break_even(rows, config.usd_per_hour)
    pairs = all_pairs({r.name: r.values for r in runs}, examples, resamples=config.resamples, seed=seed)
    splits = {s: sum(e.split == s for e in examples) for s in dict.fromkeys(e.split for e in examples)}
    result = {
        "questions": len(examples),
        "splits": splits,
        "systems": rows,
        "pairs": pairs,
        "recommendation": recommend(rows, pairs),
        "created": datetime.datetime.now().isoformat(timespec="seconds"),
        "command": " ".join(["groundtune", *sys.argv[1:]]),
        "machine": machine(),
        "per_question": per_question(runs, examples),
    }
    return result, runs


def _judged(run: SystemRun, examples: Sequence[Example], judge: Judge) -> int:
    """Put the judge's scores among the run's; returns the replies that held none."""
    values, failures = judge_values(judge, run.completions, examples)
    if values:
        run.values["judge"] = values
    return failures


def all_pairs(
    values: Mapping[str, Mapping[str, Mapping[str, float]]], examples: Sequence[Example], *, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Every pair of systems on token F1 of each answerable split and of all together, and on abstention where there is
    no answer; Holm-corrected within each split.

    Args:
        values: system -> metric -> question id -> value.
    """
    fact_of = {e.id: e.fact for e in examples}
    splits = dict.fromkeys(e.split for e in examples)
    out: list[dict[str, Any]] = []
    for split in [*splits, ALL]:
        inside = {e.id for e in examples if (e.split == split or (split == ALL and e.answerable))}
        metric = "token_f1" if any(e.answerable for e in examples if e.id in inside) else "abstention_accuracy"
        family: list[dict[str, Any]] = []
        for a, b in combinations(values, 2):
            kept = [{q: v for q, v in values[s].get(metric, {}).items() if q in inside} for s in (a, b)]
            found = paired_difference(kept[0], kept[1], fact_of, resamples=resamples, seed=seed)
            if found:
                family.append({"a": a, "b": b, "split": split, "metric": metric, **found})
        for pair, adjusted in zip(family, holm([p["p_value"] for p in family]), strict=True):
            pair.update(p_holm=adjusted, significant=adjusted < ALPHA)
        out += family
    return out


def _break_even(rows: Sequence[dict[str, Any]], usd_per_hour: float) -> None:
    """Questions after which a trained system's cheaper answers have paid for its training, against ``rag``.

    Less than a tenth cheaper is within what timings vary by, and counts as no cheaper.
    """
    rag = next((r for r in rows if r["name"] == "rag"), None)
    for row in rows:
        row["pays_off_after_questions"] = None
        if rag and row["train_seconds"] and row["name"] != "rag" and row["cost_usd"] < 0.9 * rag["cost_usd"]:
            training_usd = row["train_seconds"] * usd_per_hour / 3600
            row["pays_off_after_questions"] = round(1000 * training_usd / (rag["cost_usd"] - row["cost_usd"]))


def machine() -> dict[str, Any]:
    """The machine that the figures were taken on."""
    import psutil
    import torch

    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        name = platform.processor() or platform.machine()  # not Linux
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.system(),
    }
