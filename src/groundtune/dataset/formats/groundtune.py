"""groundtune's own questions: ``question`` with ``references``, ``fact``, ``split`` and the passages they rest on.

The first reference is the answer to learn; a question without any is answered by the sentence that says so. The further
references are for scoring: a conversation cannot carry them, and a conversion says how many stayed behind.
"""

from __future__ import annotations

from typing import Any

from groundtune.dataset.formats._messages import (
    CannotHold,
    RowFault,
    answer_of,
    need_object,
    question_and_answer,
    text_of,
)
from groundtune.dataset.prompts import ABSTENTION
from groundtune.records import Conversation, Message, Preference

KEYS = frozenset({"question", "references", "passages", "kind", "answer"})


def sniff(row: Any) -> float:
    """Has ``question`` and ``references``."""
    return 0.9 if isinstance(row, dict) and "question" in row and "references" in row else 0.0


def lost(row: dict[str, Any]) -> list[str]:
    """What the row says and a conversation has no place for."""
    names = []
    if isinstance(row.get("references"), list) and len(row["references"]) > 1:
        names.append("references after the first")
    if row.get("passages"):
        names.append("text and page of passages")
    return names


def read(row: Any) -> Conversation:
    """One question.

    Raises:
        RowFault: no question, or references that are no texts.
    """
    row = need_object(row)
    question = text_of(row, "question")
    references = row.get("references")
    references = [references] if isinstance(references, str) else references or []
    if not isinstance(references, list) or not all(isinstance(r, str) for r in references):
        raise RowFault(("data_type", "'references' is no list of texts"))
    answer = answer_of({"references": references[0]}, "references") if references else ABSTENTION
    passages = row.get("passages")
    first = passages[0] if isinstance(passages, list) and passages else None
    document = first.get("document") if isinstance(first, dict) else ""
    return Conversation(
        (Message("user", question), Message("assistant", answer)), source=document if isinstance(document, str) else ""
    )


def write(item: Conversation | Preference) -> dict[str, Any]:
    """One question with its answer as the only reference, and where known id, fact, split and source.

    Raises:
        CannotHold: a system message, tools, or more than one question and its answer.
    """
    _, question, answer = question_and_answer(item, "groundtune")
    assert isinstance(item, Conversation)
    row: dict[str, Any] = {"question": question, "references": [] if answer == ABSTENTION else [answer]}
    if not question.strip() or not answer.strip():
        raise CannotHold("an empty question or answer")
    for name in ("id", "fact", "split", "source"):
        if value := getattr(item, name):
            row[name] = value
    return row
