"""Reading and writing the questions file: JSONL or CSV, one question a row, every fault with file and line."""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from groundtune.errors import InputError
from groundtune.records import Example, example_from_json, example_to_json

_COLUMNS = "question, answer (or references), and where known: id, fact, split, document, page, passage"


def read_examples(path: Path) -> list[Example]:
    """Every example of a questions file.

    A row has ``question`` and ``references`` (or ``answer``); ``id``, ``fact``, ``split``, ``passages`` and ``kind``
    are optional: without a split a fifth of the facts are held out (one at least), the others are trained on.

    Raises:
        InputError: no file, no rows, or the first faulty row with its line.
    """
    if not path.exists():
        raise InputError(
            f"no questions file {path}",
            expected=f"JSONL or CSV with {_COLUMNS}",
            next_step="write one, or point `questions:` in groundtune.yaml at it",
        )
    rows: list[Example] = []
    seen: dict[str, int] = {}
    for number, row in _rows(path):
        try:
            example = example_from_json(_completed(row, number))
        except KeyError as error:
            raise InputError(f"{path}:{number}: no {error.args[0]!r}", expected=_COLUMNS) from None
        except (TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}:{number}: {error}", expected=_COLUMNS) from None
        if example.id in seen:
            raise InputError(
                f"{path}:{number}: id {example.id!r} again (first in line {seen[example.id]})",
                expected="ids that differ",
            )
        seen[example.id] = number
        rows.append(example)
    if not rows:
        raise InputError(f"{path}: holds no question", expected=f"one row a question with {_COLUMNS}")
    return _with_splits(rows)


def _with_splits(rows: list[Example]) -> list[Example]:
    """Rows without a split get one: by fact, in an order that a name's hash gives, so that new rows move few old ones."""
    facts = sorted({e.fact for e in rows if not e.split}, key=lambda fact: zlib.crc32(fact.encode()))
    held = set(facts[: max(1, round(len(facts) / 5))])
    return [e if e.split else replace(e, split="held_out_facts" if e.fact in held else "train") for e in rows]


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                for row in (reader := csv.DictReader(file)):
                    yield reader.line_num, row
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, json.loads(line)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", expected="a JSONL or CSV file") from None
    except csv.Error as error:
        raise InputError(f"{path}: not CSV: {error}", expected="a header line, then one row a question") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start})", next_step="save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{number if 'number' in locals() else 1}: not JSON: {error.msg}", expected="one JSON object a line"
        ) from None


def _completed(row: Any, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise TypeError(f"{type(row).__name__} instead of an object")
    full = {k: v for k, v in row.items() if v not in (None, "")}
    full.setdefault("id", f"q{number}")
    if "references" not in full and "answer" in full:
        answer = full["answer"]
        full["references"] = answer if isinstance(answer, list) else str(answer)
    if "passages" not in full and "passage" in full and "document" in full:
        page = full.get("page")
        full["passages"] = [
            {"document": full["document"], "text": full["passage"], "page": int(page) if page else None}
        ]
    full.setdefault("split", "" if full.get("references") else "unanswerable")
    return full


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write a JSONL questions file; returns the number of rows."""
    lines = [json.dumps(example_to_json(e), ensure_ascii=False) for e in examples]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)
