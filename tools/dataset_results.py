"""The dataset table of docs/results.md: every real file of ../shared/evalsets converted, checked and rendered.

Usage: python tools/dataset_results.py [EVALSETS]. Writes what it converts to a temporary folder only.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundtune.dataset.checks.check import check
from groundtune.dataset.convert import convert
from groundtune.dataset.files.items import detect_format, read_items
from groundtune.dataset.render import render_example
from groundtune.errors import GroundtuneError
from groundtune.nn.checkpoints import open_tokenizer
from groundtune.records import Conversation

ROOT = Path(__file__).parent.parent.parent / "shared" / "evalsets"
#: marker of a translation from English into each language of Tatoeba
LANGUAGES = {"deu": "to-de", "fra": "to-fr", "ita": "to-it", "nld": "to-nl", "por": "to-pt", "spa": "to-es"}


@dataclass(frozen=True)
class Source:
    """A file, how to read it, and what to make of it."""

    path: Path
    to: str
    mapping: dict[str, str] | None = None
    task: str | None = None


def sources(root: Path) -> list[Source]:
    demo = root / "instruct_demo"
    found = []
    for path in sorted(demo.glob("*.json*")) + sorted(demo.glob("*.txt")):
        name = detect_format(path)
        to = {"text": "text", "kto": "kto"}.get(name, "openai_chat")
        if next(i for i in read_items(path) if i.item).item.__class__.__name__ == "Preference" and to != "kto":
            to = "openai_preference"
        found.append(Source(path, to))
    for code, task in LANGUAGES.items():
        found.append(
            Source(root / "tatoeba" / f"{code}-eng.jsonl", "task_markers", {"question": "eng", "answer": "src"}, task)
        )
    for part in ("train", "dev", "test"):
        mapping = {"question": "abstract", "answer": "summaries[*]"}
        found.append(Source(root / "scitldr" / f"{part}.jsonl", "task_markers", mapping, "summarize"))
    return found


def row_of(source: Source, folder: Path, tokenizer: Any, context_tokens: int) -> str:
    """One line of the table."""
    out = folder / f"{source.path.stem}.jsonl"
    started = time.perf_counter()
    done = convert(source.path, out, source.to, mapping=source.mapping, task=source.task)
    report = check(out, tokenizer=tokenizer, context_tokens=context_tokens, truncation="window")
    seconds = time.perf_counter() - started
    rendered, refused = render_all(out, tokenizer)
    found = [f"{f.code} {f.count}" for f in report.findings if f.code != "missing_system_message"]
    name = f"{source.path.parent.name}/{source.path.name}"
    cells = [name, done.format, source.to, f"{done.rows:,}", f"{done.converted:,}", f"{done.faulty:,}", f"{rendered:,}", f"{refused:,}",
             f"{report.tokens:,}", f"{report.longest_tokens:,}", f"{seconds:.1f}", ", ".join(found) or "none"]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def render_all(path: Path, tokenizer: Any) -> tuple[int, int]:
    """(rows rendered with a mask that ends its turn, rows refused); running text and preference sides count as rows."""
    rendered = refused = 0
    for item in read_items(path):
        assert item.item is not None, item.fault
        record = item.item
        if isinstance(record, Conversation) and len(record.messages) == 1:
            rendered += bool(tokenizer(record.messages[0].content)["input_ids"])
            continue
        sides = [()] if isinstance(record, Conversation) else [s for s in (record.chosen, record.rejected) if s]
        for side in sides:
            try:
                row = render_example(
                    tokenizer,
                    (*record.messages, *side),
                    max_tokens=10**9,
                    where=f"{path}:{item.line}",
                    tools=record.tools,
                )
                rendered += any(row.trained)
            except GroundtuneError as error:
                refused += 1
                sys.stderr.write(f"{error}\n")
    return rendered, refused


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    if not root.is_dir():
        sys.exit(f"no folder {root}: name the one with instruct_demo, tatoeba and scitldr")
    tokenizer, context_tokens = open_tokenizer("pebble")
    print(
        "| file | read as | written as | rows | items converted | not | rendered | refused | tokens | longest | seconds | found |"
    )
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for source in sources(root):
            print(row_of(source, Path(folder), tokenizer, context_tokens), flush=True)


if __name__ == "__main__":
    main()
