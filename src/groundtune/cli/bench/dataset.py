"""``groundtune bench dataset``: checking, counting and splitting generated chats, in rows and tokens a second."""

from __future__ import annotations

import platform
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from groundtune.cli._common import JsonOption, print_json, progress_bar, say


def dataset(
    rows: Annotated[
        int, typer.Option("--rows", min=10, help="Chat examples to make, check, count and split.")
    ] = 100_000,
    near: Annotated[bool, typer.Option("--near/--no-near", help="With near duplicates.")] = True,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="For the files made; default: a temporary one.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check, count and split generated chat examples; rows, tokens and megabytes a second, and peak memory."""
    from groundtune.dataset.checks.check import check
    from groundtune.dataset.split import split
    from groundtune.nn.checkpoints import open_tokenizer

    tokenizer, context_tokens = open_tokenizer("pebble")
    with tempfile.TemporaryDirectory(dir=folder) as made, progress_bar("bench dataset") as report:
        path = Path(made) / "chat.jsonl"
        write_chats(path, rows, report)
        before = _peak_bytes()
        started = time.perf_counter()
        found = check(
            path,
            tokenizer=tokenizer,
            context_tokens=context_tokens,
            near=near,
            progress=lambda n, _, note: report(n, rows, note),
        )
        checked = time.perf_counter()
        parts = split(path, path.with_name("train.jsonl"), path.with_name("held-out.jsonl"), near=near)
        ended = time.perf_counter()
    ours = {
        "rows": found.rows,
        "bytes": found.bytes,
        "tokens": found.tokens,
        "check_seconds": round(checked - started, 3),
        "split_seconds": round(ended - checked, 3),
        "check_rows_per_second": round(found.rows / (checked - started), 1),
        "check_tokens_per_second": round(found.tokens / (checked - started), 1),
        "check_megabytes_per_second": round(found.bytes / 1e6 / (checked - started), 3),
        "split_rows_per_second": round(found.rows / (ended - checked), 1),
        "rows_per_second": round(found.rows / (ended - started), 1),
        "peak_memory_bytes": _peak_bytes(),
        "memory_before_bytes": before,
        "near_duplicates": near,
        "train_rows": parts.train_rows,
        "held_out_rows": parts.held_out_rows,
        "findings": {f.code: f.count for f in found.findings},
    }
    if json:
        from groundtune.evaluation.compare import machine

        print_json({"name": "dataset", "machine": machine(), "ours": ours, "peers": {}, "ratios": {}})
        return
    say(f"{found.rows:,} rows, {found.bytes / 1e6:,.0f} MB, {found.tokens:,} tokens")
    say(
        f"check  {ours['check_rows_per_second']:,.0f} rows/s, {ours['check_tokens_per_second']:,.0f} tokens/s, "
        f"{ours['check_megabytes_per_second']:.1f} MB/s"
    )
    say(f"split  {ours['split_rows_per_second']:,.0f} rows/s")
    say(f"peak memory {_peak_bytes() / 1e6:,.0f} MB, of which {before / 1e6:,.0f} MB before the first row")


def _peak_bytes() -> int:
    """Most memory that this process has held."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)  # type: ignore[attr-defined,unused-ignore]  # Windows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def write_chats(path: Path, rows: int, report: Any = None) -> None:
    """A JSONL file of varied chat examples, always the same ones: one to four questions, some with a system message or tools."""
    import json

    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(chats(rows), 1):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            if report is not None and number % 10_000 == 0:
                report(number, rows, "made")


def chats(rows: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """The examples of :func:`write_chats`: 1 in 200 repeats an earlier one, 1 in 100 nearly."""
    words = _words()
    rng = random.Random(seed)
    last: list[list[dict[str, Any]]] = []
    for number in range(rows):
        chance = rng.random()
        if last and chance < 0.005:
            yield {"messages": rng.choice(last)}
            continue
        if last and chance < 0.015:
            known = rng.choice(last)
            yield {"messages": [*known[:-1], {**known[-1], "content": known[-1]["content"] + " " + rng.choice(words)}]}
            continue
        messages: list[dict[str, Any]] = []
        if rng.random() < 0.3:
            messages.append({"role": "system", "content": _sentence(rng, words, 8, 20)})
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
            messages.append({"role": "user", "content": _sentence(rng, words, 5, 30)[:-1] + "?"})
            answer = " ".join(_sentence(rng, words, 5, 25) for _ in range(rng.randint(1, 3)))
            messages.append({"role": "assistant", "content": answer})
        if number % 97 == 0:
            last = [*last[-199:], messages]
        yield {"messages": messages}


def _sentence(rng: random.Random, words: list[str], least: int, most: int) -> str:
    chosen = rng.choices(words, k=rng.randint(least, most))
    return " ".join(chosen).capitalize() + "."


def _words() -> list[str]:
    from importlib import resources

    text = resources.files("groundtune.dataset").joinpath("invented_words.txt").read_text(encoding="utf-8")
    return [word for word in dict.fromkeys(text.split()) if word.isalpha()]
