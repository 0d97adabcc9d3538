"""Ordinary text and questions from files, to count false alarms on: what a guard stops that nobody should mind."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundtune.config import GuardConfig
from groundtune.errors import InputError
from groundtune.guardrails.guarded import Guarded
from groundtune.guardrails.policy import threshold
from groundtune.records import Completion, Message, Source
from groundtune.system import as_messages


@dataclass(frozen=True, slots=True)
class Row:
    """A passage, and a question with its right answer where the file has them."""

    text: str
    question: str = ""
    answer: str = ""


def read_rows(file: Path, count: int) -> list[Row]:
    """Rows evenly from the file, at most ``count``; a passage counts with its first 1,500 characters.

    Raises:
        InputError: no such file, or a row without ``text`` and ``context``.
    """
    try:
        content = lzma.decompress(file.read_bytes()) if file.suffix == ".xz" else file.read_bytes()
        rows: list[Any] = [json.loads(line) for line in content.decode("utf-8").split("\n") if line.strip()]
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise InputError(f"{file}: {error}", expected="JSON lines, or those compressed as .xz") from None
    found = []
    for row in rows[:: max(1, len(rows) // count)][:count]:
        text = row.get("text") or row.get("context")
        if not text:
            raise InputError(f"{file}: a row without 'text' or 'context'", expected="one of them in every row")
        answers = row.get("answers") or row.get("answer") or [""]
        answers = answers["text"] if isinstance(answers, dict) else [answers] if isinstance(answers, str) else answers
        found.append(Row(str(text)[:1500], str(row.get("question") or ""), str(_text(answers[0]))))
    return found


def _text(answer: Any) -> Any:
    return answer["text"] if isinstance(answer, dict) else answer


class _Right:
    """A System that answers every question rightly, from the passage that holds it."""

    name, description = "right", "the reference answers"

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = {row.question: row for row in rows}

    def answer(self, messages: Sequence[Message]) -> Completion:
        """The reference answer."""
        row = self._rows[messages[-1].content]
        return Completion(row.answer, retrieved=(Source("ordinary", "ordinary-0", 1.0, "", text=row.text),))

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """Many."""
        return [self.answer(c) for c in conversations]


def _stopped(rows: Sequence[Row], policy: GuardConfig, prefix: str) -> dict[str, Any]:
    asked = list({row.question: row for row in rows if row.question and row.answer}.values())
    others = [n for n in GuardConfig.model_fields if n.startswith(("input_", "output_")) and not n.startswith(prefix)]
    system = Guarded(_Right(asked), policy.model_copy(update=dict.fromkeys(others, False)))
    changed = [r.question for r in asked if system.answer(as_messages(r.question)).text != r.answer]
    return {"asked": len(asked), "stopped": len(changed), "examples": changed[:10]}


def off_topic(questions: Sequence[str], nearness: Callable[[str], float], policy: GuardConfig) -> dict[str, Any]:
    """Questions that ``input_off_topic`` stops, or would if it were on."""
    limit = threshold(policy, "input_off_topic")
    far = [q for q in questions if 1.0 - nearness(q) >= limit]
    return {"asked": len(questions), "stopped": len(far), "examples": far[:10]}


def questions_stopped(rows: Sequence[Row], policy: GuardConfig) -> dict[str, Any]:
    """Ordinary questions that a rule on questions stops or changes."""
    return _stopped(rows, policy, "input_")


def answers_stopped(rows: Sequence[Row], policy: GuardConfig) -> dict[str, Any]:
    """Right answers, with the passage that holds them, that a rule on answers stops or changes."""
    return _stopped(rows, policy, "output_")
