"""``groundtune bench query``: a question's nearest chunks out of many, beside LlamaIndex and LangChain with Chroma.

Each question is embedded and searched, one after the other. The stores are filled with vectors of real chunks, repeated with
noise up to the size asked for; recall is counted against exact search over the same vectors.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from groundtune.cli._common import JsonOption, print_json, progress_bar, say
from groundtune.cli.bench._search_rounds import PEERS

#: length of the noise that a repeated unit vector gets, so that its cosine to the real one is about 0.86
_NOISE = 0.6
#: Chroma's own number of candidates
_EF = 100
#: our other way: questions read by ``minilm_int8``, over the same vectors
INT8 = "ours_int8"


def query(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="JSONL with texts (also .xz), or a folder of texts; default: the example."),
    ] = None,
    chunks: Annotated[int, typer.Option("--chunks", min=100, help="Chunks that all libraries hold.")] = 100_000,
    growth: Annotated[str, typer.Option("--growth", help="Sizes that ours alone is also filled to, with commas.")] = "",
    real: Annotated[
        int, typer.Option("--real", min=50, help="Real chunks whose vectors are repeated with noise.")
    ] = 2000,
    questions: Annotated[int, typer.Option("--questions", min=10, help="Questions of a round.")] = 200,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Turns each library has.")] = 3,
    k: Annotated[int, typer.Option("--k", min=1, help="Chunks asked for.")] = 10,
    peers: Annotated[str, typer.Option("--peers", help=f"Who to compare with: {', '.join(PEERS)}.")] = ",".join(PEERS),
    peers_python: Annotated[
        Path | None, typer.Option("--peers-python", help="Python that has them; default: what `make peers` made.")
    ] = None,
    peers_ef: Annotated[
        int,
        typer.Option(
            "--peers-ef",
            min=0,
            help="Candidates of Chroma's graph in a further run of each peer, for another recall; 0: none.",
        ),
    ] = 0,
    threads: Annotated[int, typer.Option("--threads", min=0, help="OpenMP threads; 0: one a core.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Of the noise and the questions.")] = 0,
    svg: Annotated[Path | None, typer.Option("--svg", help="Draw the growth into this file.")] = None,
    json: JsonOption = False,
) -> None:
    """Ask the same questions of each library's store: p50 and p95 of a question, recall against exact search, memory."""
    from groundtune.cli.bench._search_rounds import peers_of, real_chunks
    from groundtune.evaluation.compare import machine

    asked, python = peers_of(peers, peers_python)
    sizes = sorted({int(size) for size in growth.split(",") if size.strip()} | {chunks})
    with tempfile.TemporaryDirectory(prefix="groundtune-bench-") as made, progress_bar("bench query") as report:
        work = _Work(Path(made), real_chunks(data, real), questions, k, seed, threads or os.cpu_count() or 1, python)
        curve: list[dict[str, Any]] = []
        found: dict[str, Any] = {}
        for size in sizes:
            names = ["ours", INT8, *asked] if size == chunks else ["ours"]
            report(len(curve), len(sizes), f"{size:,} chunks")
            figures = work.measure(size, names, rounds, peers_ef)
            curve.append(
                {"chunks": size, **{name: values for name, values in figures["ours"].items() if name != "rounds"}}
            )
            if size == chunks:
                found = figures
        report(len(sizes), len(sizes), "")
    ours = {**found["ours"], "growth": curve, "workload": work.described(chunks, data)}
    shown = {name: found[name] for name in found if name not in ("ours", INT8)}
    metrics = ("p50_seconds", "p95_seconds", "peak_memory_bytes", "fill_seconds")
    beside = {
        way: {peer: {m: round(found[way][m] / shown[peer][m], 4) for m in metrics} for peer in shown}
        for way in ("ours", INT8)
    }
    ratios = beside["ours"]
    ours["ways"] = {INT8: {**found[INT8], "ratios": beside[INT8]}}
    if svg:
        _draw(svg, curve, shown, chunks, machine())
    if json:
        print_json({"name": "query", "machine": machine(), "ours": ours, "peers": shown, "ratios": ratios})
        return
    say(f"{chunks:,} chunks (vectors of {work.real:,} real ones with noise), {questions} questions, k {k}, {work.threads} threads")  # fmt: skip
    say(f"{'':<32}{'p50 ms':>9}{'p95 ms':>9}{'recall':>9}{'peak MB':>9}{'fill s':>9}")
    for name, row in {"groundtune": ours, "groundtune, minilm_int8": found[INT8], **shown}.items():
        say(_line(_named(name), row))
    for row in curve:
        say(_line(f"groundtune, {row['chunks']:,}", row))
    for way, of_peers in beside.items():
        for peer, ratio in of_peers.items():
            against = f"{way} / {_named(peer)}"
            say(f"{against:<40}{ratio['p50_seconds']:.2f} x p50, {ratio['peak_memory_bytes']:.2f} x memory")


def _named(contestant: str) -> str:
    """As tables call it: ``langchain@400`` is LangChain with 400 candidates of the graph."""
    name, _, ef = contestant.partition("@")
    return PEERS.get(name, name) + (f", ef {ef}" if ef else "")


def _line(name: str, row: dict[str, Any]) -> str:
    return (
        f"{name:<32}{row['p50_seconds'] * 1e3:>9.2f}{row['p95_seconds'] * 1e3:>9.2f}{row['recall']:>9.4f}"
        f"{row['peak_memory_bytes'] / 1e6:>9,.0f}{row['fill_seconds']:>9.1f}"
    )


class _Work:
    """Vectors, questions and processes.

    Args:
        folder: for files.
        rows: real chunks.
        questions, k, seed, threads, python: the command's.
    """

    def __init__(
        self,
        folder: Path,
        rows: list[dict[str, Any]],
        questions: int,
        k: int,
        seed: int,
        threads: int,
        python: str | None,
    ) -> None:
        import random

        from groundtune.dataset.reading import sentences
        from groundtune.retrieval.embedders import minilm

        self._folder, self._k, self._seed, self.threads, self._python = folder, k, seed, threads, python
        self.real, self._warm_up = len(rows), 5
        self._base = minilm.embed([row["searched"] for row in rows])
        chosen = random.Random(seed).choices(rows, k=questions + self._warm_up)
        self.questions = [random.Random(n).choice(sentences(row["text"]) or [row["text"]])[:200] for n, row in enumerate(chosen)]  # fmt: skip
        self._asked = minilm.embed(self.questions[self._warm_up :])

    def described(self, chunks: int, data: Path | None) -> dict[str, Any]:
        """What was measured on."""
        return {
            "data": str(data or "example"),
            "chunks": chunks,
            "real_chunks": self.real,
            "vectors": f"of {self.real} real chunks, repeated with noise of length {_NOISE}, seed {self._seed}",
            "questions": len(self._asked),
            "k": self._k,
            "threads": self.threads,
        }

    def measure(self, size: int, contestants: list[str], rounds: int, ef: int) -> dict[str, dict[str, Any]]:
        """Figures of each contestant that holds ``size`` chunks; rounds are begun by another one each.

        Args:
            ef: a peer is asked a second time with so many candidates of its graph, as ``PEER@ef``; 0: it is not.
        """
        from groundtune.cli.bench._search_rounds import run_job

        vectors, exact = self._vectors(size)
        fills = {name: run_job(self._folder / f"{name}-{size}", self._job("fill", name, size, vectors), self._python) for name in contestants}  # fmt: skip
        turns = [*contestants, *(f"{name}@{ef}" for name in contestants if ef and not name.startswith("ours"))]
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in turns}
        for number in range(rounds):
            turn = number % len(turns)
            for name in [*turns[turn:], *turns[:turn]]:
                job = self._job("query", name, size, vectors)
                runs[name].append(run_job(self._folder / f"{name}-{size}-{number}", job, self._python))
        vectors.unlink()
        return {name: self._figures(runs[name], fills[name.partition("@")[0]], exact) for name in turns}

    def _job(self, task: str, name: str, size: int, vectors: Path) -> dict[str, Any]:
        from groundtune.config import IndexConfig
        from groundtune.nn.encoder_models import minilm_folder

        base, _, ef = name.partition("@")
        return {
            "task": task,
            "contestant": "ours:minilm_int8" if name == INT8 else base,
            "ef": int(ef or _EF),
            "folder": str(self._folder / f"{base}-{size}"),
            "vectors": str(vectors),
            "approximate_from": IndexConfig().approximate_from,
            "model": str(minilm_folder()),
            "questions": self.questions,
            "warm_up": self._warm_up,
            "k": self._k,
            "threads": self.threads,
        }

    def _vectors(self, size: int) -> tuple[Path, list[set[str]]]:
        """A file of ``size`` vectors, and the ids of the exactly nearest for each question."""
        import numpy as np

        rng = np.random.default_rng(self._seed)
        path = self._folder / f"vectors-{size}.npy"
        width = self._base.shape[1]
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(size, width))
        best = np.full((len(self._asked), self._k), -2.0, dtype=np.float32)
        ids = np.zeros((len(self._asked), self._k), dtype=np.int64)
        for start in range(0, size, 20_000):
            rows = np.arange(start, min(start + 20_000, size))
            part = self._base[rows % len(self._base)]
            noise = rng.normal(size=part.shape).astype(np.float32) * np.float32(_NOISE / width**0.5)
            part = part + noise * (rows >= len(self._base))[:, None]  # the real ones as they are
            part /= np.linalg.norm(part, axis=1, keepdims=True)
            out[start : start + len(part)] = part
            scores = np.concatenate([best, self._asked @ part.T], axis=1)
            named = np.concatenate([ids, np.broadcast_to(rows, (len(ids), len(rows)))], axis=1)
            order = np.argpartition(-scores, self._k - 1, axis=1)[:, : self._k]
            best, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(named, order, 1)
        out.flush()
        return path, [{f"c-{n}" for n in row} for row in ids.tolist()]

    def _figures(self, runs: list[dict[str, Any]], fill: dict[str, Any], exact: list[set[str]]) -> dict[str, Any]:
        from numpy import quantile

        rounds = [
            {
                "p50_seconds": float(quantile(run["seconds"], 0.5)),
                "p95_seconds": float(quantile(run["seconds"], 0.95)),
                "recall": statistics.fmean(len(set(f) & e) / len(e) for f, e in zip(run["found"], exact, strict=True)),
                "peak_memory_bytes": run["peak_memory_bytes"],
            }
            for run in runs
        ]
        medians = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
        filled = {"fill_seconds": round(fill["seconds"], 2), "fill_peak_memory_bytes": fill["peak_memory_bytes"]}
        return {**medians, **filled, "rounds": rounds, "versions": runs[0]["versions"]}


def _draw(path: Path, curve: list[dict[str, Any]], peers: dict[str, Any], chunks: int, machine: dict[str, Any]) -> None:
    """Write the SVG: bars of p50 and of memory, a size each."""
    from groundtune.cli.bench._plot import Bar, bars
    from groundtune.page.text import size as bytes_shown

    panels = []
    for metric, heading in (
        ("p50_seconds", "milliseconds a question, median (shorter is better)"),
        ("peak_memory_bytes", "peak memory of the process that asks (shorter is better)"),
    ):
        rows = []
        for row in curve:
            rows.append(Bar(f"groundtune, {row['chunks']:,}", row[metric], _shown(metric, row, bytes_shown), ours=True))
            if row["chunks"] == chunks:
                rows += [Bar(f"{_named(name)}, {chunks:,}", found[metric], _shown(metric, found, bytes_shown)) for name, found in peers.items()]  # fmt: skip
        panels.append((heading, rows))
    note = f"vectors of real chunks, repeated with noise; {machine['cpu']}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(bars("Questions over a growing number of chunks", note, panels), encoding="utf-8")


def _shown(metric: str, row: dict[str, Any], bytes_shown: Any) -> str:
    if metric == "peak_memory_bytes":
        return str(bytes_shown(row[metric]))
    return f"{row[metric] * 1e3:.1f} ms, recall {row['recall']:.3f}"
