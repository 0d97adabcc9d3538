"""Builds the shipped German example: ten documents of the same organisation, fifty questions; :mod:`build` runs it.

A fact has two questions. Six facts are held out whole; of every other one a question is trained on and the other is held out.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from build import Checks, check_passages, squeeze
from questions import NEAR_COPY, Fact, Part, in_hash_order, opening, read_facts
from render import render, shipped_name

from groundtune.ingest.language import language_of
from groundtune.retrieval.words import terms

SOURCE = Path(__file__).resolve().parent / "german"
TARGET = Path(__file__).resolve().parents[2] / "src" / "groundtune" / "example" / "german"
DOCUMENTS, QUESTIONS, HELD_OUT_FACTS = 10, 50, 6


def read() -> tuple[list[Path], list[Fact], list[str]]:
    """The source documents, the facts and the questions without an answer."""
    facts, unanswerable = read_facts(SOURCE)
    for fact in facts:
        fact.far = [not set(stems(q)) & set(stems(fact.passages[-1].text)) for q in fact.questions]
    return sorted(p for p in SOURCE.iterdir() if p.suffix in (".md", ".csv")), facts, unanswerable


def stems(text: str) -> list[str]:
    """The stems of a text's words; compounds are not cut."""
    return terms(text, "de")


def overlap(a: str, b: str) -> float:
    """Jaccard of two questions' stems."""
    x, y = set(stems(a)), set(stems(b))
    return len(x & y) / len(x | y)


def rows(facts: list[Fact], unanswerable: list[str]) -> list[dict[str, Any]]:
    """The lines of questions.jsonl."""
    held = set(in_hash_order([fact.id for fact in facts])[:HELD_OUT_FACTS])
    out = []
    for at, fact in enumerate(facts):
        for n, question in enumerate(fact.questions):
            split = "held_out_facts" if fact.id in held else ("train", "held_out_phrasings")[(at + n) % 2]
            out.append({
                "id": f"{fact.id}-{n + 1}", "fact": fact.id, "split": split, "question": question,
                "references": fact.references, "passages": [asdict(p) for p in fact.passages],
                "kind": fact.kind, "far": fact.far[n],
            })  # fmt: skip
    for n, question in enumerate(unanswerable, 1):
        out.append({
            "id": f"u-g{n:02}", "fact": f"u-g{n:02}", "split": "unanswerable", "question": question,
            "references": [], "passages": [], "kind": "unanswerable", "far": False,
        })  # fmt: skip
    return out


def check(checks: Checks, documents: list[Path], facts: list[Fact], lines: list[dict[str, Any]]) -> dict[str, bytes]:
    """Everything that must hold; returns the rendered documents by name."""
    rendered = {shipped_name(path): render(path, "de") for path in documents}
    check_passages(checks, [Part("german", documents, facts, [])], rendered)
    checks.report("German: documents", [] if len(rendered) == DOCUMENTS else [str(len(rendered))], str(len(rendered)))
    checks.report("German: questions", [] if len(lines) == QUESTIONS else [str(len(lines))], str(len(lines)))
    texts = {path.name: path.read_text(encoding="utf-8") for path in documents}
    checks.report("German: documents in German", [name for name, text in texts.items() if language_of(text)[0] != "de"])
    checks.report(
        "German: two questions, answers of 1 to 6 words in the passage and not in the question",
        [
            f.id for f in facts
            if len(f.questions) != 2 or f.references[0] not in f.passages[-1].text or not 1 <= len(f.references[0].split()) <= 6
            or any(r.lower() in q.lower() for r in f.references for q in f.questions)
        ],
    )  # fmt: skip
    asked = Counter(squeeze(opening(line["question"])) for line in lines)
    checks.report("German: an opening of four words once", [start for start, n in asked.items() if n > 1])
    train = [line for line in lines if line["split"] == "train"]
    checks.report(
        "German: no near copy of a training question is held out",
        [
            f"{x['id']} / {y['id']}" for x in lines for y in train
            if x["split"] != "train" and overlap(x["question"], y["question"]) >= NEAR_COPY
        ],
        str(dict(Counter(line["split"] for line in lines))),
    )  # fmt: skip
    checks.report(
        "German: rendered twice, the same bytes",
        [p.name for p in documents if render(p, "de") != rendered[shipped_name(p)]],
    )
    return rendered


def build(checks: Checks) -> dict[Path, bytes]:
    """Check, and give what belongs into the German example's folder, by path."""
    documents, facts, unanswerable = read()
    lines = rows(facts, unanswerable)
    rendered = check(checks, documents, facts, lines)
    questions = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    return {TARGET / "questions.jsonl": questions.encode()} | {TARGET / "documents" / n: c for n, c in rendered.items()}
