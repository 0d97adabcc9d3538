"""The result of a search for settings, for people: tables, the advice, and the lines to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groundtune.cli._common import say


def show_result(result: dict[str, Any], file: Path) -> None:
    """The report as tables, with the advice and what to do under them."""
    from rich.markup import escape

    held = result["held_out"]
    asked, tried = result["asked"], {str(r["changes"]) for rows in result["rounds"] for r in rows["arms"]}
    say(
        f"{len(tried)} combinations tried on up to {asked['search']} training questions, the winner chosen on {asked['validation']} "
        f"others, reported on {held['questions']} held-out ones; {result['seconds']:.0f} s"
    )
    _splits_table(held)
    if held["worth"]:
        _worth_table(held)
    if held["not_measured"]:
        say(f"not measured for want of time: {', '.join(held['not_measured'])}")
    missed = {str(row["changes"]) for row in result["not_tried"]} - tried
    if missed:
        say(f"{len(missed)} combinations were not tried for want of time; --minutes gives more")
    say(f"[bold]{escape(result['recommendation']['text'])}[/bold]")
    _next_steps(result, file)


def _next_steps(result: dict[str, Any], file: Path) -> None:
    from rich.markup import escape

    if result["recommendation"]["adopt"]:
        winner = result["winner"]
        if "system" in winner:
            say(f"answers best: --system {winner['system']}")
        if result["written"]:
            say(f"written to {result['written']}")
        elif result["lines"]:
            say(f"in {file} (--write does it):")
        if result["lines"]:
            say(escape(result["lines"].rstrip()))
        for name, text in winner.items():
            if name.startswith("prompt."):
                say(escape(f"prompts/{name.removeprefix('prompt.')}.txt, instruction: {text}"))
        if any(name.startswith("index.") for name in winner):
            say("next: groundtune index")
        if result["calibrated"] and any(name.startswith(("index.", "retrieval.")) for name in winner):
            say("next: groundtune calibrate: the one there is was made with the settings as they were")
    if result["report"]:
        say(f"report   {result['report']}")


def _splits_table(held: dict[str, Any]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(title="held-out questions", box=SIMPLE, padding=(0, 1, 0, 0))
    rows = held["systems"]
    for heading in (
        "split",
        "metric",
        "now",
        *(["found", "difference", "95 % interval", "p"] if len(rows) > 1 else []),
    ):
        table.add_column(heading, justify="left" if heading in ("split", "metric") else "right", no_wrap=True)
    pairs = {(p["split"], p["metric"]): p for p in held["pairs"]}
    for split, scores in rows[0]["scores"].items():
        shown = ["score"] if split == "all" else [m for m in ("token_f1", "recall_at_5", "mrr", "supported") if m in scores]  # fmt: skip
        for metric in shown if split != "unanswerable" else ["abstention_accuracy"]:
            cells = [f"{row['scores'].get(split, {}).get(metric, {}).get('mean', float('nan')):.3f}" for row in rows]
            pair = held["overall"] if split == "all" else pairs.get((split, metric))
            more = _difference(pair) if pair and len(rows) > 1 else []
            table.add_row(split.replace("held_out_", "held-out "), metric, *cells, *more)
    Console().print(table)


def _difference(pair: dict[str, Any]) -> list[str]:
    p = pair.get("p_holm", pair["p_value"])
    return [f"{pair['difference']:+.3f}", f"{pair['low']:+.3f} .. {pair['high']:+.3f}", f"{p:.4f}"]


def _worth_table(held: dict[str, Any]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(title="what each choice is worth: the score lost without it", box=SIMPLE, padding=(0, 1, 0, 0))
    headings = ("setting", "now", "found", "worth", "95 % interval", "p", "recall\n@5", "MRR", "F1", "ms", "index s")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "setting" else "right", no_wrap=True)
    both = held["systems"][1]
    table.add_row("(all of them)", "", "", *_difference(held["overall"]), *_figures(both))
    for row in held["worth"]:
        table.add_row(
            row["setting"], _short(row["from"]), _short(row["to"]), *_difference(row), *_figures(row["without"])
        )
    Console().print(table)
    say("recall, MRR, F1, ms (half of the questions are answered sooner) and index seconds: without that choice")


def _figures(row: dict[str, Any]) -> list[str]:
    scores = row["scores"]["all"]
    means = [f"{scores[m]['mean']:.3f}" if m in scores else "-" for m in ("recall_at_5", "mrr", "token_f1")]
    p50 = row["latency_seconds"].get("p50")
    seconds = row["index"].get("seconds")
    return [*means, f"{1000 * p50:.0f}" if p50 else "-", f"{seconds:.0f}" if seconds else "-"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 16 else text[:13] + "..."
