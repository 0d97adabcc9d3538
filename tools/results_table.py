"""A comparison as Markdown, as docs/results.md has it: python tools/results_table.py PROJECT/.groundtune/reports/comparison.json"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def cell(scores: dict[str, Any], split: str, metric: str) -> str:
    score = scores.get(split, {}).get(metric)
    return f"{score['mean']:.3f} ({score['low']:.3f} to {score['high']:.3f})" if score else ""


def table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    result = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    splits = [s for s in result["splits"] if s != "unanswerable"]
    print(", ".join(f"{n} {s}" for s, n in result["splits"].items()), f"questions; model {result['model']}\n")
    quality = [
        [
            s["name"],
            *(cell(s["scores"], split, m) for split in splits for m in ("token_f1", "exact_match")),
            cell(s["scores"], "unanswerable", "abstention_accuracy"),
        ]
        for s in result["systems"]
    ]
    headings = ["system", *(f"{split}: {m}" for split in splits for m in ("F1", "EM")), "abstains where unanswerable"]
    print(table(headings, quality))
    costs = [
        [
            s["name"],
            cell(s["scores"], "held_out_facts", "recall_at_5"),
            cell(s["scores"], "all_answerable", "supported"),
            f"{s['latency_seconds']['p50']:.2f} / {s['latency_seconds']['p95']:.2f}",
            f"{s['train_seconds']:.0f}",
            f"{s['trainable_parameters']:,}" if s.get("trainable_parameters") else "",
            f"{s['peak_memory_bytes'] / 1e9:.1f}",
            f"{s['disk_bytes'] / 1e6:.0f}",
        ]
        for s in result["systems"]
    ]
    print(
        "\n"
        + table(
            ["system", "recall@5", "supported", "s p50 / p95", "train s", "weights trained", "memory GB", "disk MB"],
            costs,
        )
    )
    print()
    for pair in result["pairs"]:
        if pair["metric"] == "token_f1" and pair["split"] in splits and "p_holm" in pair:
            print(
                f"- {pair['split']}: {pair['a']} minus {pair['b']} {pair['difference']:+.3f} "
                f"({pair['low']:+.3f} to {pair['high']:+.3f}), Holm p {pair['p_holm']:.4f}"
            )
    print(f"\nAdvice: {result['recommendation']['text']}")
    for reason in result["recommendation"]["because"]:
        print(f"- {reason}")


if __name__ == "__main__":
    main()
