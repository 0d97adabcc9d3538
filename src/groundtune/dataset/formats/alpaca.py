"""Alpaca: ``instruction``, ``input``, ``output``, perhaps ``system`` and ``history``; self-instruct's ``instances`` too.

The user's turn is the instruction and, on the next line, the input (as LLaMA-Factory joins them). Written back, the whole turn is the instruction.
"""

from __future__ import annotations

from typing import Any

from groundtune.dataset.formats._messages import (
    CannotHold,
    RowFault,
    answer_of,
    need_conversation,
    need_object,
    plain_turns,
    text_of,
)
from groundtune.records import Conversation, Message, Preference

KEYS = frozenset({"instruction", "input", "output", "system", "history", "instances"})


def sniff(row: Any) -> float:
    """Has ``instruction`` and ``output``, or ``instances`` of them."""
    if not isinstance(row, dict) or "instruction" not in row:
        return 0.0
    return 0.8 if "output" in row or isinstance(row.get("instances"), list) else 0.0


def expand(row: Any) -> list[Any]:
    """A row of self-instruct as one row an instance; any other row as it is."""
    instances = row.get("instances") if isinstance(row, dict) else None
    if not isinstance(instances, list) or not instances:
        return [row]
    shared = {k: v for k, v in row.items() if k != "instances"}
    rows = []
    for number, instance in enumerate(instances, 1):
        one = {**shared, **instance} if isinstance(instance, dict) else {**shared, "output": instance}
        if len(instances) > 1 and isinstance(shared.get("id"), str):
            one["id"] = f"{shared['id']}-{number}"
        rows.append(one)
    return rows


def read(row: Any) -> Conversation:
    """One row.

    Raises:
        RowFault: instruction or output missing or empty, or a history that is no list of pairs.
    """
    row = need_object(row)
    messages: list[Message] = []
    system = row.get("system")
    if isinstance(system, str) and system.strip():
        messages.append(Message("system", system))
    history = row.get("history") or []
    if not isinstance(history, list):
        raise RowFault(("data_type", "'history' is no list of [question, answer] pairs"))
    for number, pair in enumerate(history):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(t, str) and t.strip() for t in pair):
            raise RowFault(("data_type", f"history[{number}] is no pair of texts"))
        messages += [Message("user", pair[0]), Message("assistant", pair[1])]
    extra = row.get("input")
    if extra is not None and not isinstance(extra, str):
        raise RowFault(("missing_content", "'input' is no text"))
    question = text_of(row, "instruction") + (f"\n{extra}" if extra and extra.strip() else "")
    return Conversation((*messages, Message("user", question), Message("assistant", answer_of(row, "output"))))


def write(item: Conversation | Preference) -> dict[str, Any]:
    """One row.

    Raises:
        CannotHold: tools, names, untrained turns, or turns that do not alternate.
    """
    conversation = need_conversation(item, "alpaca")
    if conversation.tools:
        raise CannotHold("alpaca has no place for tools")
    messages = conversation.messages
    plain_turns(messages, "alpaca")
    row: dict[str, Any] = {"instruction": "", "input": "", "output": ""}
    if messages and messages[0].role == "system":
        row["system"], messages = messages[0].content, messages[1:]
    if not messages or [m.role for m in messages] != ["user", "assistant"] * (len(messages) // 2):
        raise CannotHold("alpaca holds turns that alternate, user first, assistant last")
    row["instruction"], row["output"] = messages[-2].content, messages[-1].content
    if len(messages) > 2:
        turns = messages[:-2]
        row["history"] = [[turns[i].content, turns[i + 1].content] for i in range(0, len(turns), 2)]
    return row
