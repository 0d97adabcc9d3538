"""The rounds of ``groundtune bench tune``: each contestant in a process of its own, and figures from what they report."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from groundtune.cli.bench._work import Work
from groundtune.errors import InputError

SPEEDS = ("tokens_per_cpu_second", "tokens_per_second")
MEMORY = ("peak_memory_bytes", "training_memory_bytes")
_LOSSES = ("last_loss", "held_out_loss")


def run_rounds(
    folder: Path,
    work: Work,
    contestants: Sequence[str],
    rounds: int,
    pythons: Mapping[str, str],
    report: Callable[..., None],
) -> dict[str, list[dict[str, Any]]]:
    """Every contestant once a round; each round begins with another one."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    done = 0
    for number in range(rounds):
        turn = number % len(contestants)
        for name in [*contestants[turn:], *contestants[:turn]]:
            report(done, rounds * len(contestants), name)
            job = _job(folder / f"{name}-{number}", work, name, keep_weights=number == 0)
            results[name].append(_run(job, pythons.get(name)))
            done += 1
    report(done, done, "")
    return results


def _job(folder: Path, work: Work, contestant: str, *, keep_weights: bool) -> dict[str, Any]:
    return {
        "contestant": contestant,
        "folder": str(folder),
        "model": work.model,
        "rows": work.rows,
        "rows_per_step": work.rows_per_step,
        "pack_tokens": 1536,
        "context_tokens": work.context_tokens,
        "threads": work.threads,
        "learning_rate": work.learning_rate,
        "warmup_steps": max(1, work.steps // 10),
        "weight_decay": 0.01,
        "betas": [0.9, 0.95],
        "max_grad_norm": 1.0,
        "seed": work.seed,
        "keep_weights": keep_weights,
    }


def _run(job: dict[str, Any], python: str | None = None) -> dict[str, Any]:
    """Run a job in a process of its own.

    Raises:
        InputError: it failed; with the last line of what it said.
    """
    import groundtune
    from groundtune.cli.bench import _contestants

    folder = Path(job["folder"])
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    variables = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(job["threads"])),
        **dict.fromkeys(("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"), "1"),
        "TOKENIZERS_PARALLELISM": "false",
    }
    variables.pop("PYTHONPATH", None)
    if python is None:
        variables["PYTHONPATH"] = os.pathsep.join([str(Path(groundtune.__file__).parent.parent), *sys.path])
    command = [python or sys.executable, "-P", str(Path(_contestants.__file__)), "job.json", "result.json"]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise InputError(
            f"{job['contestant']} failed: {said[-1].strip()}",
            expected="a run to its end",
            next_step="leave it out with --peers, or mend its environment",
        )
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


def held_out_losses(folder: Path, work: Work, contestants: Sequence[str]) -> dict[str, float]:
    """Loss on held-out rows of the weights that each contestant saved, by one evaluator for all."""
    job = {
        "contestant": "held_out",
        "folder": str(folder / "held-out"),
        "rows": work.held_out,
        "threads": work.threads,
        "weights": {name: str(folder / f"{name}-0" / "weights") for name in contestants},
    }
    found: dict[str, float] = _run(job)["held_out_losses"]
    return found


def figures(runs: Sequence[dict[str, Any]], work: Work, held_out_loss: float) -> dict[str, Any]:
    """A contestant's figures: medians over its rounds, and the rounds themselves."""
    rounds = []
    for run in runs:
        clock = run["clock"]  # start, the end of each step, the end
        if len(clock) != work.steps + 2:
            raise RuntimeError(f"{len(clock) - 2} steps were taken, {work.steps} were planned")
        (cpu_from, wall_from), (cpu_to, wall_to) = clock[work.warm_up_steps], clock[-1]
        rounds.append(
            {
                "tokens_per_cpu_second": round(work.timed_tokens / (cpu_to - cpu_from), 2),
                "tokens_per_second": round(work.timed_tokens / (wall_to - wall_from), 2),
                "cpu_seconds": round(cpu_to - cpu_from, 3),
                "seconds": round(wall_to - wall_from, 3),
                "warm_up_seconds": round(wall_from - clock[0][1], 3),
                "peak_memory_bytes": run["peak_memory_bytes"],
                "memory_before_bytes": run["memory_before_bytes"],
                "training_memory_bytes": run["peak_memory_bytes"] - run["memory_before_bytes"],
            }
        )
    losses = runs[0]["losses"]
    tenth = max(1, len(losses) // 10)
    return {
        **{name: statistics.median(found[name] for found in rounds) for name in rounds[0]},
        "first_loss": round(statistics.fmean(losses[:tenth]), 4),
        "last_loss": round(statistics.fmean(losses[-tenth:]), 4),
        "held_out_loss": round(held_out_loss, 4),
        "rounds": rounds,
        "versions": runs[0]["versions"],
        "options": runs[0]["options"],
    }


def ratios(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    """Ours / theirs: the median of the rounds' ratios, and the losses'."""
    found = {
        name: statistics.median(a[name] / b[name] for a, b in zip(ours["rounds"], theirs["rounds"], strict=True))
        for name in (*SPEEDS, *MEMORY)
    }
    found |= {name: ours[name] / theirs[name] for name in _LOSSES}
    return {name: round(value, 4) for name, value in found.items()}
