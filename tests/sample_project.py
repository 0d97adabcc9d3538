"""A small project folder for tests that run the command line: four documents, fourteen questions, a tiny random model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: a command typed in this process: exit code, stdout, message
Typed = Callable[..., tuple[int, str, str]]

HOURS = """Opening hours of the Marlow reading rooms

The reading rooms open at 9:30 on weekdays. They close at 18:15 on every day of the week.

The cloakroom is in the cellar and is free for everybody who holds a card.
"""
MEMBERSHIP = """# Membership

## Fees

A yearly card costs 48 crowns. It is valid from the day on which it is issued.

## Meetings

The annual meeting takes place on 14 March in the Weavers' Hall. Every member has one vote.
"""
PRICES = """item,price,deposit
kayak,17 crowns,80 crowns
rowing boat,23 crowns,95 crowns
canoe,31 crowns,60 crowns
"""
PAGES = (
    "Handbook of the reading rooms. This handbook is for everybody who works at the counter and in the stacks.",
    "Telephones. The duty officer answers on extension 4471. The porter carries a radio and no telephone.",
    "Keys. Lost keys are replaced within 6 working days. The locksmith comes from the next valley.",
)
#: (fact, split, question, answer, document, page, passage)
QUESTIONS = (
    ("hours", "train", "When do the reading rooms open?", "9:30", "hours.txt", None, "The reading rooms open at 9:30 on weekdays."),
    ("hours", "train", "At what time do you open on weekdays?", "9:30", "hours.txt", None, "The reading rooms open at 9:30 on weekdays."),
    ("hours", "held_out_phrasings", "From what time are the reading rooms open on weekdays?", "9:30", "hours.txt", None, "The reading rooms open at 9:30 on weekdays."),
    ("fee", "train", "What does a yearly card cost?", "48 crowns", "membership.md", None, "A yearly card costs 48 crowns."),
    ("fee", "train", "How much is a card for a year?", "48 crowns", "membership.md", None, "A yearly card costs 48 crowns."),
    ("fee", "held_out_phrasings", "How many crowns does a yearly card cost?", "48 crowns", "membership.md", None, "A yearly card costs 48 crowns."),
    ("kayak", "train", "What is the price of a kayak?", "17 crowns", "prices.csv", None, "item: kayak; price: 17 crowns; deposit: 80 crowns"),
    ("kayak", "held_out_phrasings", "Which price has a kayak?", "17 crowns", "prices.csv", None, "item: kayak; price: 17 crowns; deposit: 80 crowns"),
    ("officer", "train", "On which extension does the duty officer answer?", "4471", "handbook.pdf", 2, "The duty officer answers on extension 4471."),
    ("keys", "held_out_facts", "Within how many days are lost keys replaced?", "6 working days", "handbook.pdf", 3, "Lost keys are replaced within 6 working days."),
    ("meeting", "held_out_facts", "On what day is the annual meeting?", "14 March", "membership.md", None, "The annual meeting takes place on 14 March in the Weavers' Hall."),
    ("meeting", "held_out_facts", "When does the annual meeting take place?", "14 March", "membership.md", None, "The annual meeting takes place on 14 March in the Weavers' Hall."),
    ("u1", "unanswerable", "Who painted the ceiling of the concert hall?", None, None, None, None),
    ("u2", "unanswerable", "How many elephants live in the harbour?", None, None, None, None),
)  # fmt: skip
CONFIG = """model: ./tiny
tune:
  epochs: 3
scratch:
  seconds: 2
  layers: 1
  width: 48
  vocabulary: 400
answer:
  max_tokens: 6
compare:
  resamples: 200
  latency_questions: 2
"""


def write_project(folder: Path) -> Path:
    """Write the documents, the questions, the model and ``groundtune.yaml`` into a folder."""
    documents = folder / "documents"
    documents.mkdir(parents=True)
    (documents / "hours.txt").write_text(HOURS, encoding="utf-8")
    (documents / "membership.md").write_text(MEMBERSHIP, encoding="utf-8")
    (documents / "prices.csv").write_text(PRICES, encoding="utf-8")
    write_pdf(documents / "handbook.pdf", PAGES)
    (folder / "questions.jsonl").write_text("".join(json.dumps(q) + "\n" for q in question_rows()), encoding="utf-8")
    (folder / "groundtune.yaml").write_text(CONFIG, encoding="utf-8")
    write_tiny_model(folder / "tiny")
    return folder


def question_rows() -> list[dict[str, Any]]:
    """The rows of ``questions.jsonl``."""
    rows = []
    for number, (fact, split, question, answer, document, page, passage) in enumerate(QUESTIONS, 1):
        row: dict[str, Any] = {
            "id": f"q{number}",
            "fact": fact,
            "split": split,
            "question": question,
            "references": [],
            "passages": [],
        }
        if answer:
            row["references"] = [answer]
            row["passages"] = [{"document": document, "page": page, "text": passage}]
        rows.append(row)
    return rows


def write_pdf(path: Path, pages: tuple[str, ...]) -> None:
    """A PDF with one text a page."""
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate

    style = getSampleStyleSheet()["BodyText"]
    story: list[Any] = []
    for text in pages:
        story += [Paragraph(text, style), PageBreak()]
    SimpleDocTemplate(str(path), invariant=1).build(story[:-1])


def write_tiny_model(folder: Path) -> None:
    """A random Llama of two small layers with its own tokenizer."""
    from groundtune.nn.architectures import Shape, new_model
    from groundtune.nn.tokenizer import train_tokenizer

    texts = [HOURS, MEMBERSHIP, PRICES, *PAGES, *(q[2] for q in QUESTIONS)]
    tokenizer = train_tokenizer(iter(texts), vocabulary=400, context_tokens=512)
    model = new_model(Shape(layers=2, width=32, heads=2, feed_forward=64, context_tokens=512), tokenizer, seed=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def environment(**more: str) -> dict[str, str]:
    """The environment of a command under test."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "100", **more}
    env.setdefault("OMP_NUM_THREADS", "2")
    return env


def command(*arguments: str | Path) -> list[str]:
    """The command line of ``groundtune ...`` in this interpreter."""
    return [sys.executable, "-m", "groundtune", *map(str, arguments)]


def run(
    *arguments: str | Path, stdin: str | bytes = "", timeout: float = 120, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run ``groundtune ...`` and wait for it."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        command(*arguments),
        input=given,
        capture_output=True,
        timeout=timeout,
        env=environment(),
        check=False,
        **options,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    )


def run_json(*arguments: str | Path, **options: Any) -> Any:
    """Run ``groundtune ... --json``, which must succeed, and parse what it prints."""
    done = run(*arguments, "--json", **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
