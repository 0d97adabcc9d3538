"""What the chat formats share: messages, tool calls and tools from raw JSON and back, with every fault named by its code.

The codes that OpenAI's data-preparation notebook uses keep their names (``message_missing_key``, ``unrecognized_role`` ...).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast, get_args

from groundtune.records import Conversation, Message, Preference, Role, ToolCall

ROLES = frozenset(get_args(Role))
#: top-level keys that say where an item comes from; every format of JSON objects may carry them
ORIGIN = ("id", "fact", "split", "source")
_KEYS = frozenset({"role", "content", "name", "function_call", "weight", "tool_calls", "tool_call_id"})
#: what OpenAI's own answers carry and a message says nothing by when it is empty
_EMPTY_KEYS = frozenset({"refusal", "annotations", "audio", "reasoning_content", "reasoning", "thinking"})


class RowFault(ValueError):
    """A row that is not what its format asks for.

    Attributes:
        faults: (code, reason) of everything that is wrong with it.
    """

    def __init__(self, *faults: tuple[str, str]) -> None:
        self.faults = faults
        super().__init__("; ".join(reason for _, reason in faults))


class CannotHold(ValueError):
    """An item that a format has no place for: writing it would lose something."""


def need_object(row: Any) -> dict[str, Any]:
    """The row, where it is a JSON object.

    Raises:
        RowFault: ``data_type``.
    """
    if not isinstance(row, dict):
        raise RowFault(("data_type", f"{_kind(row)} instead of an object"))
    return row


def text_of(row: Mapping[str, Any], key: str, code: str = "missing_content") -> str:
    """A text that must be there.

    Raises:
        RowFault: it is missing, no text, or empty.
    """
    value = row.get(key)
    if not isinstance(value, str):
        raise RowFault((code, f"no {key!r}" if value is None else f"{key!r} is {_kind(value)} instead of text"))
    if not value.strip():
        raise RowFault((code, f"{key!r} is empty"))
    return value


def answer_of(row: Mapping[str, Any], key: str) -> str:
    """The text to learn, which must be there.

    Raises:
        RowFault: ``empty_answer`` besides what :func:`text_of` says.
    """
    try:
        return text_of(row, key)
    except RowFault as fault:
        raise RowFault(*fault.faults, ("empty_answer", str(fault))) from None


def read_messages(raw: Any, place: str = "messages") -> tuple[Message, ...]:
    """A list of OpenAI messages.

    Raises:
        RowFault: with everything that is wrong in any of them.
    """
    if not isinstance(raw, list) or not raw:
        what = f"no {place!r}" if raw is None else f"{place!r} is empty" if raw == [] else f"{place!r} is {_kind(raw)}"
        raise RowFault(("missing_messages_list", f"{what}, expected a list of messages"))
    faults: list[tuple[str, str]] = []
    messages = [_message(one, f"{place}[{number}]", faults) for number, one in enumerate(raw)]
    if faults:
        raise RowFault(*faults)
    return tuple(m for m in messages if m is not None)


def _message(raw: Any, place: str, faults: list[tuple[str, str]]) -> Message | None:
    if not isinstance(raw, dict):
        faults.append(("data_type", f"{place} is {_kind(raw)} instead of an object"))
        return None
    for key in raw.keys() - _KEYS:
        if key not in _EMPTY_KEYS or raw[key]:
            faults.append(("message_unrecognized_key", f"{place} has the key {key!r}, which would be lost"))
    role = raw.get("role")
    if "role" not in raw:
        faults.append(("message_missing_key", f"{place} has no 'role'"))
    elif not isinstance(role, str) or role not in ROLES:
        faults.append(("unrecognized_role", f"{place} has the role {role!r}"))
    calls = _calls(raw, place, faults)
    content = _content(raw, place, bool(calls), faults)
    weight = raw.get("weight")
    if weight is not None and (isinstance(weight, bool) or weight not in (0, 1)):
        faults.append(("weight_not_0_or_1", f"{place} has the weight {weight!r}"))
    name, call_id = raw.get("name") or "", raw.get("tool_call_id") or ""
    if not isinstance(name, str) or not isinstance(call_id, str):
        faults.append(("data_type", f"{place}: 'name' and 'tool_call_id' must be text"))
        return None
    if faults:
        return None
    trained = weight is None or role != "assistant" or weight == 1
    return Message(cast(Role, role), content, name, calls, call_id, trained)


def _content(raw: dict[str, Any], place: str, calls: bool, faults: list[tuple[str, str]]) -> str:
    content = raw.get("content")
    role = raw.get("role")
    if isinstance(content, list):
        parts = [
            p for p in content if isinstance(p, dict) and p.get("type") == "text" and isinstance(p.get("text"), str)
        ]
        if len(parts) != len(content):
            faults.append(("content_not_text", f"{place} has a content part that is no text"))
            return ""
        content = "".join(p["text"] for p in parts)
    if content is not None and not isinstance(content, str):
        faults.append(("missing_content", f"{place}: 'content' is {_kind(content)} instead of text"))
        return ""
    if content and content.strip():
        return content
    if (calls and role == "assistant") or (role in ("tool", "function") and content is not None):
        return content or ""
    if "content" not in raw:
        faults.append(("message_missing_key", f"{place} has no 'content'"))
    else:
        faults.append(("missing_content", f"{place}: the content is empty"))
    if role == "assistant":
        faults.append(("empty_answer", f"{place}: the assistant says nothing"))
    return ""


def _calls(raw: dict[str, Any], place: str, faults: list[tuple[str, str]]) -> tuple[ToolCall, ...]:
    found: list[ToolCall] = []
    many = raw.get("tool_calls")
    if many is not None and not isinstance(many, list):
        faults.append(("data_type", f"{place}: 'tool_calls' is {_kind(many)} instead of a list"))
        return ()
    for number, call in enumerate(many or ()):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or call.get("type", "function") != "function":
            faults.append(("data_type", f"{place}: tool_calls[{number}] is no function call"))
            continue
        call_id = call.get("id")
        found += _call(function, call_id if isinstance(call_id, str) else "", f"{place}.tool_calls[{number}]", faults)
    if (single := raw.get("function_call")) is not None:
        found += _call(single, "", f"{place}.function_call", faults)
    if found and raw.get("role") != "assistant":
        faults.append(("call_by_other_role", f"{place}: {raw.get('role')!r} calls a tool, only the assistant may"))
    return tuple(found)


def _call(raw: Any, call_id: str, place: str, faults: list[tuple[str, str]]) -> list[ToolCall]:
    name = raw.get("name") if isinstance(raw, dict) else None
    if not isinstance(name, str) or not name:
        faults.append(("data_type", f"{place} has no 'name'"))
        return []
    arguments = raw.get("arguments", "{}")
    if not isinstance(arguments, str):  # Hugging Face templates take objects
        arguments = json.dumps(arguments, ensure_ascii=False)
    return [ToolCall(name, arguments, call_id)]


def read_tools(raw: Any, place: str = "tools") -> tuple[Mapping[str, Any], ...]:
    """Tools as OpenAI's ``{"type": "function", "function": {...}}``, from those, bare functions, or JSON text of them.

    Raises:
        RowFault: ``tools_not_a_list``.
    """
    if isinstance(raw, str):
        if not raw.strip():
            return ()
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError):
            raise RowFault(("tools_not_a_list", f"{place!r} is text that is not JSON")) from None
    if raw is None:
        return ()
    if not isinstance(raw, list):
        raise RowFault(("tools_not_a_list", f"{place!r} is {_kind(raw)} instead of a list"))
    found = []
    for number, tool in enumerate(raw):
        if isinstance(tool, dict) and "function" not in tool and isinstance(tool.get("name"), str):
            tool = {"type": "function", "function": tool}
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RowFault(("tools_not_a_list", f"{place}[{number}] has no function with a name"))
        found.append(tool)
    return tuple(found)


def write_messages(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Messages as OpenAI writes them; the inverse of :func:`read_messages`."""
    return [_written(m) for m in messages]


def _written(message: Message) -> dict[str, Any]:
    row: dict[str, Any] = {"role": message.role}
    row["content"] = message.content if message.content or not message.tool_calls else None
    if message.name:
        row["name"] = message.name
    if len(message.tool_calls) == 1 and not message.tool_calls[0].id:  # the older, single form has no id
        call = message.tool_calls[0]
        row["function_call"] = {"name": call.name, "arguments": call.arguments}
    elif message.tool_calls:
        row["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in message.tool_calls
        ]
    if message.tool_call_id:
        row["tool_call_id"] = message.tool_call_id
    if not message.trained and message.role == "assistant":
        row["weight"] = 0
    return row


def need_conversation(item: Conversation | Preference, name: str) -> Conversation:
    """The item, where it is one to imitate.

    Raises:
        CannotHold: it is a preference.
    """
    if not isinstance(item, Conversation):
        raise CannotHold(f"{name} holds conversations, no preference pairs")
    return item


def plain_turns(messages: Sequence[Message], name: str, roles: Iterable[str] = ("system", "user", "assistant")) -> None:
    """Check that messages are nothing but roles and texts.

    Raises:
        CannotHold: names what the format has no place for.
    """
    allowed = frozenset(roles)
    for message in messages:
        if message.role not in allowed:
            raise CannotHold(f"{name} has no place for a {message.role} turn")
        if message.tool_calls or message.tool_call_id:
            raise CannotHold(f"{name} has no place for tool calls")
        if message.name:
            raise CannotHold(f"{name} has no place for a speaker's name ({message.name!r})")
        if not message.trained and message.role == "assistant":
            raise CannotHold(f"{name} has no place for a turn that is not trained on (weight 0)")


def question_and_answer(item: Conversation | Preference, name: str, *, system: bool = False) -> tuple[str, str, str]:
    """(system text or "", user text, assistant text) of a conversation that is just that.

    Raises:
        CannotHold: it has more turns, tools, or a system message where ``system`` is False.
    """
    conversation = need_conversation(item, name)
    if conversation.tools:
        raise CannotHold(f"{name} has no place for tools")
    messages = conversation.messages
    plain_turns(messages, name)
    head = ""
    if messages and messages[0].role == "system" and system:
        head, messages = messages[0].content, messages[1:]
    if [m.role for m in messages] != ["user", "assistant"]:
        turns = ", ".join(m.role for m in conversation.messages)
        raise CannotHold(
            f"{name} holds one question and its answer{' with a system text' if system else ''}, not {turns}"
        )
    return head, messages[0].content, messages[1].content


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
