"""Plain text to pretrain on: one text a line of a ``.txt`` file, or ``{"text": ...}``.

A text is a conversation of one assistant turn and nothing else.
"""

from __future__ import annotations

from typing import Any

from groundtune.dataset.formats._messages import CannotHold, RowFault, need_conversation, plain_turns
from groundtune.records import Conversation, Message, Preference

KEYS = frozenset({"text"})


def sniff(row: Any) -> float:
    """Is a text, or has one and is nothing else."""
    if isinstance(row, dict):
        return 0.3 if isinstance(row.get("text"), str) else 0.0
    return 0.3 if isinstance(row, str) else 0.0


def read(row: Any) -> Conversation:
    """One text.

    Raises:
        RowFault: it is empty or not text.
    """
    text = row.get("text") if isinstance(row, dict) else row
    if not isinstance(text, str) or not text.strip():
        raise RowFault(("missing_content", "no text"))
    return Conversation((Message("assistant", text),))


def write(item: Conversation | Preference) -> dict[str, Any]:
    """``{"text": ...}``; a ``.txt`` file gets the text alone.

    Raises:
        CannotHold: the item has a prompt or several turns.
    """
    conversation = need_conversation(item, "text")
    if len(conversation.messages) != 1 or conversation.messages[0].role != "assistant" or conversation.tools:
        raise CannotHold("text holds running text; this item is a conversation")
    plain_turns(conversation.messages, "text")
    return {"text": conversation.messages[0].content}
