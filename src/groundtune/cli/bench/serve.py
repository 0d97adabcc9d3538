"""``groundtune bench serve``: our server beside `transformers serve`, the same model, the same requests, in turns.

Both servers stay up; a turn is a number of chats at one concurrency, streamed and greedy, so that both write the same text: it
is compared, and its tokens are counted with the model's own tokenizer. Ratios are ours / theirs, the median over the rounds: of
tokens a second above 1 is better, of the time to the first token below 1.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from groundtune.cli._common import JsonOption, print_json, progress_bar, say
from groundtune.errors import ConfigError

#: what prompts are about, and how many are tried for one that is asked
_SUBJECTS = (
    "harbours", "libraries", "mountain huts", "town halls", "bakeries", "museums", "railways", "schools", "rivers", "bells",
    "letters", "maps", "gardens", "winters", "clocks", "bridges", "ferries", "apples", "lamps", "storms",
)  # fmt: skip
_TRIED = 6
#: seconds until a server must answer
_START_SECONDS = 180
_NAMES = {"ours": "groundtune serve", "transformers": "transformers serve", "transformers_cb": "transformers serve, continuous batching"}  # fmt: skip


def serve(
    model: Annotated[
        str, typer.Option("--model", help="Model to serve: pebble, a folder, a Hugging Face name.")
    ] = "pebble",
    concurrency: Annotated[str, typer.Option("--concurrency", help="Clients at once, with commas.")] = "1,8,32",
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each server has its turn.")] = 3,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Most tokens of an answer.")] = 64,
    peers: Annotated[
        str,
        typer.Option("--peers", help="Who to compare with: transformers, transformers_cb (its continuous batching)."),
    ] = "transformers",
    json: JsonOption = False,
) -> None:
    """Serve the same model by us and by transformers: tokens a second, time to the first token, memory."""
    from groundtune.evaluation.compare import machine
    from groundtune.nn.checkpoints import model_path, open_tokenizer

    levels = [int(part) for part in concurrency.split(",")]
    wanted = ["ours", *(part.strip() for part in peers.split(",") if part.strip())]
    unknown = [name for name in wanted if name not in _NAMES]
    if unknown:
        raise ConfigError(f"--peers {unknown[0]!r} is not known", expected="transformers, transformers_cb")
    path = model_path(model)
    tokenizer, _ = open_tokenizer(model)
    figures: dict[str, dict[str, Any]] = {name: {} for name in wanted}
    questions = _questions(model, 2 + rounds * sum(max(8, level) for level in levels), max_tokens)
    with ExitStack() as up, tempfile.TemporaryDirectory(prefix="groundtune-bench-") as folder:
        servers = {name: up.enter_context(_server(name, path, Path(folder))) for name in wanted}
        with progress_bar("bench serve") as report:
            done, total = 0, len(levels) * rounds * len(wanted)
            for url, _ in servers.values():
                _turn(url, path, 2, questions[-2:], max_tokens, tokenizer)  # warm
            for level in levels:
                turns: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
                for _ in range(rounds):
                    asked, questions = questions[: max(8, level)], questions[max(8, level) :]  # none is asked twice
                    for name, (url, _) in servers.items():
                        turns[name].append(_turn(url, path, level, asked, max_tokens, tokenizer))
                        done += 1
                        report(done, total)
                for name in wanted:
                    figures[name][str(level)] = _median(turns[name], turns["ours"])
        for name, (_, process) in servers.items():
            figures[name]["memory_bytes"] = _memory(process)
    ours = figures.pop("ours")
    ratios = {name: _ratios(ours, found, levels) for name, found in figures.items()}
    ours["workload"] = {"model": model, "max_tokens": max_tokens, "rounds": rounds}
    if json:
        print_json({"name": "serve", "machine": machine(), "ours": ours, "peers": figures, "ratios": ratios})
        return
    _tell(ours, figures, ratios, levels)


# ---------------------------------------------------------------- servers


@contextmanager
def _server(name: str, path: str, folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server on a free port; its API's address and its process."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    if name == "ours":
        own = folder / "project"
        own.mkdir()
        command = [
            sys.executable,
            "-m",
            "groundtune",
            "serve",
            "--port",
            str(port),
            "--project",
            str(own),
            "--model",
            path,
        ]
    else:
        program = Path(sys.executable).with_name("transformers")
        command = [str(program), "serve", path, "--port", str(port), "--host", "127.0.0.1", "--device", "cpu"]
        command += ["--dtype", "float32", *(["--continuous-batching"] if name.endswith("_cb") else [])]
    log = (folder / f"{name}.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        _wait(name, f"http://127.0.0.1:{port}/v1", process, folder / f"{name}.log")
        yield f"http://127.0.0.1:{port}/v1", process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()


def _wait(name: str, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    import httpx

    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/models", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise ConfigError(
        f"{_NAMES[name]} does not start: {said[-1] if said else 'it says nothing'}",
        next_step="pip install 'transformers[serving]'" if name != "ours" else "",
    )


def _memory(process: subprocess.Popen[bytes]) -> int:
    import psutil

    own = psutil.Process(process.pid)
    return int(sum(p.memory_info().rss for p in (own, *own.children(recursive=True))))


# ---------------------------------------------------------------- turns


def _turn(url: str, model: str, clients: int, questions: list[str], max_tokens: int, tokenizer: Any) -> dict[str, Any]:
    """A chat for each question; tokens a second, times to the first token, the texts."""
    from groundtune.cli.bench._load import put_load

    bodies = [
        {
            "model": model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": max_tokens,
        }
        for question in questions
    ]
    load = put_load(url, bodies, clients)
    if load.errors:
        raise ConfigError(f"{url}: {len(load.errors)} of {len(questions)} requests failed: {load.errors[0]}")
    texts = [seen.text for seen in load.seen]
    tokens = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    firsts = sorted(seen.first_seconds for seen in load.seen)
    return {
        "tokens_per_second": tokens / load.seconds,
        "first_token_seconds_p50": firsts[len(firsts) // 2],
        "first_token_seconds_p95": firsts[int(0.95 * (len(firsts) - 1))],
        "tokens": tokens,
        "texts": texts,
    }


def _questions(model: str, count: int, max_tokens: int) -> list[str]:
    """Prompts whose greedy answers are the longest of many tried, ``max_tokens`` at best: short ones would time requests alone."""
    import random

    from groundtune.backends.local import LocalBackend
    from groundtune.records import Message

    draws, backend = random.Random(0), LocalBackend(model)
    tried = [f"Say something about {' and '.join(draws.sample(_SUBJECTS, 3))}." for _ in range(_TRIED * count)]
    written = backend.generate_batch([[Message("user", text)] for text in tried], max_tokens=max_tokens, batch_size=64)
    order = sorted(range(len(tried)), key=lambda n: -written[n].usage.completion_tokens)[:count]
    draws.shuffle(order)
    return [tried[n] for n in order]


def _median(turns: list[dict[str, Any]], ours: list[dict[str, Any]]) -> dict[str, Any]:
    own = {k: statistics.median(t[k] for t in turns) for k in turns[0] if k != "texts"}
    same = [
        a.strip() == b.strip()
        for t, o in zip(turns, ours, strict=True)
        for a, b in zip(t["texts"], o["texts"], strict=True)
    ]
    return {**own, "same_text_share": sum(same) / len(same)}


def _ratios(ours: dict[str, Any], theirs: dict[str, Any], levels: list[int]) -> dict[str, float]:
    out = {"memory_bytes": round(ours["memory_bytes"] / theirs["memory_bytes"], 3)}
    for level in map(str, levels):
        for name in ("tokens_per_second", "first_token_seconds_p50", "first_token_seconds_p95"):
            out[f"{name}_at_{level}"] = round(ours[level][name] / theirs[level][name], 3)
    return out


def _tell(ours: dict[str, Any], peers: dict[str, Any], ratios: dict[str, Any], levels: list[int]) -> None:
    say(f"{'':<42}{'clients':>8}{'tokens/s':>10}{'first token p50':>17}{'p95':>9}{'same text':>11}")
    for name, found in {"ours": ours, **peers}.items():
        for level in map(str, levels):
            f = found[level]
            say(f"{_NAMES[name]:<42}{level:>8}{f['tokens_per_second']:>10,.0f}{f['first_token_seconds_p50']:>15.3f} s{f['first_token_seconds_p95']:>7.3f} s{f['same_text_share']:>11.0%}")  # fmt: skip
        say(f"{'':<42}{'memory':>8}{found['memory_bytes'] / 1e6:>10,.0f} MB")
    for name, ratio in ratios.items():
        for clients in levels:
            say(f"ours / {_NAMES[name]} at {clients}: {ratio[f'tokens_per_second_at_{clients}']:.2f} x tokens/s, {ratio[f'first_token_seconds_p50_at_{clients}']:.2f} x time to the first token")  # fmt: skip
