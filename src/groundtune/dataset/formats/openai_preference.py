"""Preference pairs: ``input`` with ``preferred_output`` and ``non_preferred_output``, or ``chosen`` and ``rejected``.

Reads OpenAI's two spellings (``preferred_completion`` in its API description), TRL's (``prompt``, ``chosen``, ``rejected`` as texts
or messages, the prompt perhaps only inside both sides) and LLaMA-Factory's (``instruction`` and ``input``). Writes OpenAI's guide's.
"""

from __future__ import annotations

from typing import Any

from groundtune.dataset.formats._messages import (
    CannotHold,
    RowFault,
    need_object,
    read_messages,
    read_tools,
    text_of,
    write_messages,
)
from groundtune.records import Conversation, Message, Preference

_PAIRS = (("preferred_output", "non_preferred_output"), ("preferred_completion", "non_preferred_completion"))
_CHOSEN = ("chosen", "rejected")
KEYS = frozenset({"input", "prompt", "instruction", "system", "tools", *_CHOSEN, *_PAIRS[0], *_PAIRS[1]})


def sniff(row: Any) -> float:
    """Has both sides of a pair, and no ``conversations``."""
    if not isinstance(row, dict) or "conversations" in row:
        return 0.0
    return 0.9 if any(a in row and b in row for a, b in (*_PAIRS, _CHOSEN)) else 0.0


def read(row: Any) -> Preference:
    """One line.

    Raises:
        RowFault: with the code of every fault.
    """
    row = need_object(row)
    better, worse = next(((a, b) for a, b in (*_PAIRS, _CHOSEN) if a in row or b in row), _PAIRS[0])
    for side in (better, worse):
        if side not in row:
            raise RowFault(("missing_side", f"no {side!r}"))
    chosen, rejected = _side(row, better), _side(row, worse)
    prompt, tools = _prompt(row)
    if not prompt:  # both sides tell the whole conversation
        same = 0
        while same < min(len(chosen), len(rejected)) - 1 and chosen[same] == rejected[same]:
            same += 1
        prompt, chosen, rejected = chosen[:same], chosen[same:], rejected[same:]
        if not prompt:
            raise RowFault(("missing_messages_list", f"no prompt, neither beside nor inside {better!r} and {worse!r}"))
    return Preference(prompt, chosen, rejected, tools)


def _side(row: dict[str, Any], key: str) -> tuple[Message, ...]:
    value = row[key]
    if isinstance(value, str):
        if not value.strip():
            raise RowFault(("missing_content", f"{key!r} is empty"), ("empty_answer", f"{key!r} is empty"))
        return (Message("assistant", value),)
    return read_messages([value] if isinstance(value, dict) else value, key)


def _prompt(row: dict[str, Any]) -> tuple[tuple[Message, ...], tuple[Any, ...]]:
    given = row.get("input")
    if isinstance(given, dict):
        return read_messages(given.get("messages"), "input.messages"), read_tools(given.get("tools"), "input.tools")
    tools = read_tools(row.get("tools"))
    head = (Message("system", row["system"]),) if isinstance(row.get("system"), str) and row["system"].strip() else ()
    if isinstance(row.get("prompt"), list):
        return (*head, *read_messages(row["prompt"], "prompt")), tools
    if isinstance(row.get("prompt"), str):
        return (*head, Message("user", text_of(row, "prompt"))), tools
    if "instruction" in row:
        extra = f"\n{given}" if isinstance(given, str) and given.strip() else ""
        return (*head, Message("user", text_of(row, "instruction") + extra)), tools
    return (), tools


def write(item: Conversation | Preference) -> dict[str, Any]:
    """One line.

    Raises:
        CannotHold: no pair, or a side is missing.
    """
    if not isinstance(item, Preference):
        raise CannotHold("openai_preference holds pairs, no single conversations")
    if not item.chosen or not item.rejected:
        raise CannotHold("openai_preference needs both sides; this item has one answer with a label (see kto)")
    given: dict[str, Any] = {"messages": write_messages(item.messages)}
    if item.tools:
        given["tools"] = [dict(t) for t in item.tools]
    return {
        "input": given,
        "preferred_output": write_messages(item.chosen),
        "non_preferred_output": write_messages(item.rejected),
    }
