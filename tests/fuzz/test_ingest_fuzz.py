"""Mutated inputs: never a traceback, never over 2 GB of memory, never more than 60 s for one file.

``make test`` takes a seeded sample, ``make prove`` all 10,000 (``GROUNDTUNE_FUZZ=10000``), going on where it stopped:
what is done stands in ``.prove/fuzz.json``.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fuzz.inputs import made, sample
from groundtune.config import IngestConfig
from groundtune.dataset.checks.check import check
from groundtune.errors import GroundtuneError
from groundtune.ingest.sources import loaders_by_extension
from groundtune.ingest.worker import Job, Readers
from memory_watch import MemoryWatch

COUNT = int(os.environ.get("GROUNDTUNE_FUZZ", "150"))
STATE = Path(".prove/fuzz.json")
MOST_BYTES = 2_000_000_000
MOST_SECONDS = 60.0


def read_state() -> dict[str, Any]:
    if COUNT == 10_000 and STATE.exists():
        state: dict[str, Any] = json.loads(STATE.read_text(encoding="utf-8"))
        return state
    return {"done": [], "outcomes": {}, "slowest": [0.0, -1], "peak_bytes": 0}


@pytest.mark.slow
@pytest.mark.timeout(0 if COUNT > 1000 else 900)
def test_no_input_breaks_the_ingest(tmp_path: Path) -> None:
    state, by_extension = read_state(), loaders_by_extension()
    done, outcomes = set(state["done"]), Counter(state["outcomes"])
    settings = IngestConfig()
    with MemoryWatch("groundtune.ingest.worker", every_seconds=0.02) as memory, Readers(settings) as readers:
        for number in sample(COUNT):
            if number in done:
                continue
            suffix, way, data = made(number)
            path, target = tmp_path / f"input-{number}{suffix}", tmp_path / "out.jsonl"
            path.write_bytes(data)
            head = {"id": "0", "path": path.name, "sha256": "", "media_type": "", "title": "", "size_bytes": len(data)}
            started = time.perf_counter()
            try:
                readers.read(Job(str(path), by_extension[suffix], str(target), head, settings.model_dump(mode="json")))
                outcome = "read"
            except GroundtuneError as error:
                assert "Traceback" not in error.render(), (number, way)
                outcome = _kind(error.problem)
            if suffix in {".jsonl", ".json", ".csv", ".parquet"}:
                _checked(path, number)
            seconds = time.perf_counter() - started
            assert seconds < MOST_SECONDS, f"input {number} ({suffix}, {way}) took {seconds:.0f} s"
            assert memory.peak_bytes < MOST_BYTES, (
                f"input {number} ({suffix}, {way}) took {memory.peak_bytes / 1e6:.0f} MB"
            )
            state["slowest"] = max(state["slowest"], [round(seconds, 2), number])
            outcomes[outcome] += 1
            if outcome in {"not read within", "of memory", "stopped (", "while reading it as"}:
                state.setdefault("notable", []).append([number, suffix, way, outcome])
            done.add(number)
            path.unlink()
            target.unlink(missing_ok=True)
            if COUNT == 10_000 and len(done) % 50 == 0:
                _write_state(state, done, outcomes, memory.peak_bytes)
    if COUNT == 10_000:
        _write_state(state, done, outcomes, memory.peak_bytes)
    print(f"\n{len(done)} inputs: {dict(outcomes)}; slowest {state['slowest']}, peak {memory.peak_bytes / 1e6:.0f} MB")
    print(f"ended by the worker or surprised a library: {state.get('notable', [])}")
    assert outcomes["read"] > len(done) / 10  # the mutations are not all hopeless
    assert sum(outcomes.values()) == len(done)


def _checked(path: Path, number: int) -> None:
    """The dataset check of the same file: a report or one error, nothing else."""
    try:
        check(path)
    except GroundtuneError as error:
        assert "Traceback" not in error.render(), number


def _kind(problem: str) -> str:
    for words in ("not read within", "of memory", "stopped (", "while reading it as", "no text", "archive", "damaged"):
        if words in problem:
            return words
    return "refused"


def _write_state(state: dict[str, Any], done: set[int], outcomes: Counter[str], peak: int) -> None:
    STATE.parent.mkdir(exist_ok=True)
    whole = {**state, "done": sorted(done), "outcomes": dict(outcomes), "peak_bytes": max(peak, state["peak_bytes"])}
    half = STATE.with_suffix(".part")
    half.write_text(json.dumps(whole), encoding="utf-8")
    half.replace(STATE)
