"""One System over the questions: its answers, every metric of every answer, its latency and its memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from groundtune import registry
from groundtune.evaluation.confidence import trust
from groundtune.evaluation.significance import mean_score
from groundtune.records import Completion, Example
from groundtune.system import System, as_messages, timed

#: answerable held-out questions of all splits together
ALL = "all_answerable"


@dataclass
class SystemRun:
    """What one System did.

    Attributes:
        completions: by question id.
        values: metric -> question id -> value; a question without a value for a metric is left out.
        latency_seconds: wall-clock seconds of single questions, asked one by one.
        peak_memory_bytes: largest resident memory of the process while it answered.
        batch_seconds: seconds for all questions in batches.
    """

    name: str
    description: str
    completions: dict[str, Completion] = field(default_factory=dict)
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    latency_seconds: list[float] = field(default_factory=list)
    peak_memory_bytes: int = 0
    batch_seconds: float = 0.0


class MemoryWatch:
    """The process' largest resident memory between enter and exit, sampled every 20 ms."""

    def __enter__(self) -> MemoryWatch:
        import psutil

        self._process = psutil.Process()
        self.peak_bytes = int(self._process.memory_info().rss)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(0.02):
            self.peak_bytes = max(self.peak_bytes, int(self._process.memory_info().rss))

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def run_system(
    system: System, examples: Sequence[Example], *, latency_questions: int, progress: Any = None
) -> SystemRun:
    """Ask a System every question, in batches for the answers and one by one (after a warm-up) for the latency."""
    run = SystemRun(system.name, system.description)
    with MemoryWatch() as watch:
        started = time.perf_counter()
        for begin in range(0, len(examples), 64):
            part = examples[begin : begin + 64]
            answers = system.answer_batch([as_messages(e.question) for e in part])
            run.completions.update((e.id, c) for e, c in zip(part, answers, strict=True))
            if progress:
                progress(min(begin + 64, len(examples)), len(examples))
        run.batch_seconds = time.perf_counter() - started
        step = max(1, len(examples) // latency_questions)
        alone = examples[::step][:latency_questions]
        run.latency_seconds = [timed(system, as_messages(e.question + " ")).seconds for e in alone]
    run.peak_memory_bytes = watch.peak_bytes
    score_run(run, examples)
    return run


def score_run(run: SystemRun, examples: Sequence[Example]) -> None:
    """Every metric of every answer; a metric with ``prepare`` sees all answers first, to do in one go what it can."""
    completions = [run.completions[e.id] for e in examples]
    for metric in registry.names("metrics"):
        module = registry.get("metrics", metric)
        if hasattr(module, "prepare"):
            module.prepare(completions, examples)
        values = {e.id: v for c, e in zip(completions, examples, strict=True) if (v := module.score(c, e)) is not None}
        if values:
            run.values[metric] = values


def summarise(run: SystemRun, examples: Sequence[Example], *, resamples: int, seed: int) -> dict[str, Any]:
    """The run as one element of ``compare --json``'s ``systems``, without training, disk and cost."""
    fact_of = {e.id: e.fact for e in examples}
    scores: dict[str, dict[str, Any]] = {}
    for split in [*dict.fromkeys(e.split for e in examples), ALL]:
        inside = {e.id for e in examples if (e.split == split or (split == ALL and e.answerable))}
        for metric, values in run.values.items():
            score = mean_score(
                {q: v for q, v in values.items() if q in inside}, fact_of, resamples=resamples, seed=seed
            )
            if score:
                scores.setdefault(split, {})[metric] = {
                    "mean": score.mean,
                    "low": score.low,
                    "high": score.high,
                    "n": score.n,
                }
    latency = np.percentile(run.latency_seconds, [50, 95]) if run.latency_seconds else [0.0, 0.0]
    return {
        "name": run.name,
        "description": run.description,
        "scores": scores,
        "latency_seconds": {"p50": float(latency[0]), "p95": float(latency[1])},
        "peak_memory_bytes": run.peak_memory_bytes,
        **trust(run.completions, run.values, examples),
    }


def per_question(runs: Sequence[SystemRun], examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Every question with every System's answer, scores and sources."""
    rows = []
    for example in examples:
        answers = {}
        for run in runs:
            completion = run.completions[example.id]
            answers[run.name] = {
                "text": completion.text,
                "abstained": completion.abstained,
                "sources": [s.to_json() for s in completion.sources[:3]],
                "scores": {m: round(v[example.id], 4) for m, v in run.values.items() if example.id in v},
            }
        rows.append(
            {
                "id": example.id,
                "fact": example.fact,
                "split": example.split,
                "kind": example.kind,
                "question": example.question,
                "references": list(example.references),
                "passages": [{"document": p.document, "page": p.page, "text": p.text} for p in example.passages],
                "answers": answers,
            }
        )
    return rows
