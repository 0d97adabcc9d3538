"""OpenAI chat JSONL: ``{"messages": [...], "tools": [...]}``, multi-turn, with tool calls and ``weight``.

Reads the deprecated ``functions`` and ``function_call`` too. ``parallel_tool_calls``, which steers generation and not training, is
left behind by a conversion, which says so.
"""

from __future__ import annotations

from typing import Any

from groundtune.dataset.formats._messages import (
    need_conversation,
    need_object,
    read_messages,
    read_tools,
    write_messages,
)
from groundtune.records import Conversation, Preference

KEYS = frozenset({"messages", "tools", "functions"})


def sniff(row: Any) -> float:
    """Has ``messages``."""
    return 0.8 if isinstance(row, dict) and "messages" in row else 0.0


def read(row: Any) -> Conversation:
    """One line.

    Raises:
        RowFault: with the code of every fault.
    """
    row = need_object(row)
    messages = read_messages(row.get("messages"))
    tools = read_tools(row.get("tools")) + read_tools(row.get("functions"), "functions")
    return Conversation(messages, tools)


def write(item: Conversation | Preference) -> dict[str, Any]:
    """One line.

    Raises:
        CannotHold: a preference.
    """
    conversation = need_conversation(item, "openai_chat")
    row: dict[str, Any] = {"messages": write_messages(conversation.messages)}
    if conversation.tools:
        row["tools"] = [dict(t) for t in conversation.tools]
    return row
