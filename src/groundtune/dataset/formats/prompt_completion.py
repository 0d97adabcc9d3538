"""Prompt and completion: ``{"prompt": ..., "completion": ...}``, as texts or as lists of messages."""

from __future__ import annotations

from typing import Any

from groundtune.dataset.formats._messages import (
    RowFault,
    answer_of,
    need_object,
    question_and_answer,
    read_messages,
    read_tools,
    text_of,
)
from groundtune.records import Conversation, Message, Preference

KEYS = frozenset({"prompt", "completion", "tools"})


def sniff(row: Any) -> float:
    """Has ``prompt`` and ``completion``."""
    return 0.8 if isinstance(row, dict) and "prompt" in row and "completion" in row else 0.0


def read(row: Any) -> Conversation:
    """One line; white space at the ends is kept, it is part of what such files teach.

    Raises:
        RowFault: a side is missing or empty.
    """
    row = need_object(row)
    if isinstance(row.get("prompt"), list) and isinstance(row.get("completion"), list):
        prompt, completion = read_messages(row["prompt"], "prompt"), read_messages(row["completion"], "completion")
        return Conversation((*prompt, *completion), read_tools(row.get("tools")))
    if row.get("tools"):
        raise RowFault(("tools_not_a_list", "'tools' beside a prompt that is text"))
    prompt_text = text_of(row, "prompt")
    return Conversation((Message("user", prompt_text), Message("assistant", answer_of(row, "completion"))))


def write(item: Conversation | Preference) -> dict[str, Any]:
    """One line of two texts.

    Raises:
        CannotHold: more than one question and its answer.
    """
    _, question, answer = question_and_answer(item, "prompt_completion")
    return {"prompt": question, "completion": answer}
