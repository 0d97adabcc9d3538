"""groundtune's own questions: ``question`` with ``references``, ``fact``, ``split`` and the passages they rest on.

The first reference is the answer to learn; a question without any is answered by the sentence that says so. The further
references are for scoring: a conversation cannot carry them, and a conversion says how many stayed behind. A flat row,
as of a table, has ``answer``, ``document``, ``page`` and ``passage`` instead.
"""

from __future__ import annotations

from typing import Any

from groundtune.dataset.formats._messages import (
    ORIGIN,
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
_FLAT = frozenset({"question", "answer", "document", "passage"})


def sniff(row: Any) -> float:
    """Has ``question`` and ``references``, or in one flat row ``question``, ``answer``, ``document`` and ``passage``."""
    if not isinstance(row, dict) or "question" not in row:
        return 0.0
    return 0.9 if "references" in row else 0.8 if row.keys() >= _FLAT else 0.0


def lost(row: dict[str, Any]) -> list[str]:
    """What the row says and a conversation has no place for."""
    names = []
    key, answers = _answers(row)
    if isinstance(answers, list) and len(answers) > 1:
        names.append(f"{key} after the first")
    if row.get("passages"):
        names.append("text and page of passages")
    documents = sources(row)
    if len(documents) > 1:
        names.append("documents of passages after the first")
    carried = {"question", key, "passages", *(k for k in ORIGIN if isinstance(row.get(k), str))}
    for name in ("document", "source"):
        if documents and row.get(name) == documents[0]:
            carried.add(name)
        elif documents:
            carried.discard(name)
    return names + [str(k) for k, v in row.items() if k not in carried and v not in (None, "", [], {})]


def sources(row: dict[str, Any]) -> list[str]:
    """The documents that a row rests on, each once: those of its passages, else the one that it names."""
    passages = row.get("passages")
    found = [p.get("document") for p in passages if isinstance(p, dict)] if isinstance(passages, list) else []
    place = row.get("place")
    one = [row.get("document"), place.get("document") if isinstance(place, dict) else None, row.get("source")]
    named = [[d for d in some if isinstance(d, str) and d] for some in (found, one)]
    return list(dict.fromkeys(named[0])) or named[1][:1]


def _answers(row: dict[str, Any]) -> tuple[str, Any]:
    """The key that the answers stand under, and what stands there."""
    key = "answer" if not row.get("references") and row.get("answer") else "references"
    return key, row.get(key)


def read(row: Any) -> Conversation:
    """One question.

    Raises:
        RowFault: no question, or references that are no texts.
    """
    row = need_object(row)
    question = text_of(row, "question")
    key, references = _answers(row)
    references = [references] if isinstance(references, str) else references or []
    if not isinstance(references, list) or not all(isinstance(r, str) for r in references):
        raise RowFault(("data_type", f"{key!r} is no list of texts"))
    answer = answer_of({key: references[0]}, key) if references else ABSTENTION
    source = next(iter(sources(row)), "")
    return Conversation((Message("user", question), Message("assistant", answer)), source=source)


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
