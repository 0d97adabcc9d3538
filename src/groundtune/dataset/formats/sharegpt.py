"""ShareGPT: ``conversations`` of ``from`` and ``value``, with function calls, observations, tools and chosen/rejected.

Function calls and observations as LLaMA-Factory writes them. They carry no call ids: reading numbers the calls (``call_1`` ...) and
gives observations the ids in order; writing leaves ids out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from groundtune.dataset.formats._messages import CannotHold, RowFault, need_object, read_tools
from groundtune.records import Conversation, Message, Preference, Role, ToolCall

_ROLES: dict[str, Role] = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant",
    "bing": "assistant", "bard": "assistant", "system": "system", "function_call": "assistant", "observation": "tool",
    "tool": "tool", "function_response": "tool",
}  # fmt: skip
_BACK = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}
KEYS = frozenset({"conversations", "system", "tools", "chosen", "rejected"})


def sniff(row: Any) -> float:
    """Has ``conversations``."""
    return 0.85 if isinstance(row, dict) and "conversations" in row else 0.0


def read(row: Any) -> Conversation | Preference:
    """One row.

    Raises:
        RowFault: with the code of every fault.
    """
    row = need_object(row)
    calls = _Calls()
    messages = _turns(row.get("conversations"), "conversations", calls)
    system = row.get("system")
    if isinstance(system, str) and system.strip():
        messages = (Message("system", system), *messages)
    tools = read_tools(row.get("tools"))
    if "chosen" not in row and "rejected" not in row:
        return Conversation(messages, tools)
    sides = []
    for key in ("chosen", "rejected"):
        if key not in row:
            raise RowFault(("missing_side", f"no {key!r}"))
        side = row[key] if isinstance(row[key], list) else [row[key]]
        sides.append(_turns(side, key, calls.copy()))
    return Preference(messages, sides[0], sides[1], tools)


class _Calls:
    """Numbers the calls of a conversation and hands their ids to the observations that follow."""

    def __init__(self, made: int = 0, open_ids: Sequence[str] = ()) -> None:
        self.made = made
        self.open = list(open_ids)

    def copy(self) -> _Calls:
        return _Calls(self.made, self.open)

    def read(self, value: str, place: str) -> tuple[ToolCall, ...]:
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            raise RowFault(("arguments_not_json", f"{place}: a function call that is not JSON")) from None
        calls = []
        for one in parsed if isinstance(parsed, list) else [parsed]:
            if not isinstance(one, dict) or not isinstance(one.get("name"), str) or not one["name"]:
                raise RowFault(("arguments_not_json", f"{place}: a function call without a name"))
            self.made += 1
            arguments = one.get("arguments", {})
            text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            calls.append(ToolCall(one["name"], text, f"call_{self.made}"))
        self.open = [c.id for c in calls]
        return tuple(calls)

    def answered(self) -> str:
        return self.open.pop(0) if self.open else ""


def _turns(raw: Any, place: str, calls: _Calls) -> tuple[Message, ...]:
    if not isinstance(raw, list) or not raw:
        raise RowFault(("missing_messages_list", f"{place!r} is no list of turns"))
    faults: list[tuple[str, str]] = []
    messages = []
    for number, turn in enumerate(raw):
        try:
            messages.append(_turn(turn, f"{place}[{number}]", calls))
        except RowFault as fault:
            faults += fault.faults
    if faults:
        raise RowFault(*faults)
    return tuple(messages)


def _turn(turn: Any, place: str, calls: _Calls) -> Message:
    if not isinstance(turn, dict):
        raise RowFault(("data_type", f"{place} is no object"))
    if missing := [k for k in ("from", "value") if k not in turn]:
        raise RowFault(("message_missing_key", f"{place} has no {missing[0]!r}"))
    if extra := sorted(k for k in turn.keys() - {"from", "value", "weight"} if turn[k] is not None):
        raise RowFault(("message_unrecognized_key", f"{place} has the key {extra[0]!r}, which would be lost"))
    speaker, value = turn["from"], turn["value"]
    if not isinstance(speaker, str) or speaker not in _ROLES:
        raise RowFault(("unrecognized_role", f"{place} is from {speaker!r}"))
    role = _ROLES[speaker]
    if not isinstance(value, str) or (not value.strip() and role != "tool"):
        fault = ("missing_content", f"{place}: the value is empty or no text")
        raise RowFault(fault, *([("empty_answer", fault[1])] if role == "assistant" else []))
    weight = turn.get("weight")
    if weight is not None and (isinstance(weight, bool) or weight not in (0, 1)):
        raise RowFault(("weight_not_0_or_1", f"{place} has the weight {weight!r}"))
    trained = weight is None or role != "assistant" or weight == 1
    if speaker == "function_call":
        return Message("assistant", "", tool_calls=calls.read(value, place), trained=trained)
    if role == "tool":
        return Message("tool", value, tool_call_id=calls.answered())
    return Message(role, value, trained=trained)


def write(item: Conversation | Preference) -> dict[str, Any]:
    """One row.

    Raises:
        CannotHold: names, developer turns, a turn with both text and calls, arguments that are not JSON.
    """
    row: dict[str, Any] = {"conversations": [_written(m) for m in item.messages]}
    if isinstance(item, Preference):
        if not item.chosen or not item.rejected:
            raise CannotHold("sharegpt pairs need both sides; this item has one answer with a label (see kto)")
        for key, side in (("chosen", item.chosen), ("rejected", item.rejected)):
            turns = [_written(m) for m in side]
            row[key] = turns[0] if len(turns) == 1 else turns
    if item.tools:
        row["tools"] = json.dumps([dict(t) for t in item.tools], ensure_ascii=False)
    return row


def _written(message: Message) -> dict[str, Any]:
    if message.role not in _BACK:
        raise CannotHold(f"sharegpt has no place for a {message.role} turn")
    if message.name:
        raise CannotHold(f"sharegpt has no place for a speaker's name ({message.name!r})")
    turn: dict[str, Any] = {"from": _BACK[message.role], "value": message.content}
    if message.tool_calls:
        if message.content:
            raise CannotHold("sharegpt has no place for a turn with both text and tool calls")
        turn = {"from": "function_call", "value": json.dumps(_calls_written(message), ensure_ascii=False)}
    if not message.trained and message.role == "assistant":
        turn["weight"] = 0
    return turn


def _calls_written(message: Message) -> Any:
    calls = []
    for call in message.tool_calls:
        try:
            calls.append({"name": call.name, "arguments": json.loads(call.arguments)})
        except (ValueError, RecursionError):
            raise CannotHold(f"the arguments of {call.name!r} are not JSON") from None
    return calls[0] if len(calls) == 1 else calls
