"""Defects of a single item: order of roles, tool calls, weights, sides of a preference, and what stands in its texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from groundtune.dataset.formats.task_markers import MARKER
from groundtune.records import Conversation, Message, Preference

#: markers of the chat templates in use; a tokenizer's own control tokens come on top
_MARKERS = re.compile(
    r"<\|(?:im_start|im_end|im_sep|user|assistant|system|end|endoftext|begin_of_text|end_of_text|start_header_id|end_header_id|"
    r"eot_id|eom_id|tool|observation|endofprompt|start|message|channel|return)\|>|\[/?INST\]|<</?SYS>>|</?start_of_turn>|"
    r"<end_of_turn>|<\|START_OF_TURN_TOKEN\|>|<\|END_OF_TURN_TOKEN\|>|\[/?AVAILABLE_TOOLS\]|^### (?:Instruction|Response):|"
    r"^(?:Human|Assistant): .*\n+(?:Human|Assistant): ",
    re.MULTILINE,
)
_PLACEHOLDER = re.compile(r"\{\{\s*[A-Za-z_][\w. |-]{0,60}\}\}|\{%-?\s*\w+[^%]{0,80}%\}")
_MOJIBAKE = re.compile("Ã[\x80-\xbf¢-¿]|Â[\xa0-¿]|â€[\x80-\xbf™œ“”˜¦¡“”žŸ]|â‚¬|ï»¿")
_HALF = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")
_SPECIAL = re.compile(r"<\|[A-Za-z][\w-]{0,40}\|>")
#: what none of the searches above can match without
_SUSPECT = re.compile(
    "[<\\[{$ÃÂâï\ud800-\udfff\x00-\x08\x0b\x0e-\x1f\x7f\ufffd]|^### |^Human: |^Assistant: ", re.MULTILINE
)

Fault = tuple[str, str]


class TextSearch:
    """Looks for what does not belong into a text.

    Args:
        control_tokens: the model's own, as text; empty without a tokenizer.
        single_tokens: what the tokenizer knows as one token; None without a tokenizer.
    """

    def __init__(self, control_tokens: Iterable[str] = (), single_tokens: frozenset[str] | None = None) -> None:
        self._control = frozenset(t for t in control_tokens if t)
        longest = sorted(self._control, key=len, reverse=True)
        self._own = re.compile("|".join(map(re.escape, longest))) if longest else None
        self._suspect = _SUSPECT
        if odd := [t for t in longest if not _SUSPECT.search(t)]:  # control tokens without < or [
            self._suspect = re.compile(f"{_SUSPECT.pattern}|{'|'.join(map(re.escape, odd))}", re.MULTILINE)
        self._known = single_tokens

    def faults(self, text: str, place: str) -> Iterator[Fault]:
        """(code, detail) of what is found in a text; most texts are passed after one look."""
        if self._suspect.search(text) is None:
            return
        own = self._own.search(text) if self._own else None
        if own:
            yield "control_token_in_text", f"{own[0]!r} in {place}"
        marker = next((m for m in _MARKERS.finditer(text) if m[0] not in self._control), None)
        if marker:
            yield "chat_marker_in_text", f"{marker[0].splitlines()[0]!r} in {place}"
        if found := _PLACEHOLDER.search(text):
            yield "template_placeholder", f"{found[0]!r} in {place}"
        if found := _MOJIBAKE.search(text):
            yield "mojibake", f"{text[max(0, found.start() - 8) : found.end() + 8]!r} in {place}"
        if "\ufffd" in text:
            yield "replacement_character", f"in {place}"
        if _HALF.search(text):
            yield "half_character", f"in {place}"
        if found := _CONTROLS.search(text):
            yield "control_character", f"{found[0]!r} in {place}"
        if self._known is not None:
            special = _SPECIAL.search(text) or MARKER.fullmatch(text)
            if special and special[0] not in self._known and special[0] not in self._control:
                yield "unknown_special_token", f"{special[0]!r} in {place}"


def item_faults(item: Conversation | Preference, search: TextSearch) -> list[Fault]:
    """(code, detail) of every defect of an item."""
    if isinstance(item, Preference):
        return _preference_faults(item, search)
    faults = list(_text_faults(item.messages, search))
    faults += _turn_faults(item.messages, item.tools)
    answers = [m for m in item.messages if m.role == "assistant"]
    if not answers:
        faults.append(("example_missing_assistant_message", ""))
    elif not any(m.trained for m in answers):
        faults.append(("all_weights_zero", f"{len(answers)} assistant turns"))
    if item.messages and item.messages[-1].role != "assistant":
        faults.append(("last_not_assistant", f"the last turn is {item.messages[-1].role!r}"))
    return faults


def running_text_faults(item: Conversation, search: TextSearch) -> list[Fault]:
    """The same for a text to pretrain on, which has no roles."""
    return list(_text_faults(item.messages, search))


def _preference_faults(item: Preference, search: TextSearch) -> list[Fault]:
    faults = list(_text_faults((*item.messages, *item.chosen, *item.rejected), search))
    faults += _turn_faults((*item.messages, *(item.chosen or item.rejected)), item.tools)
    if item.messages and item.messages[-1].role == "assistant":
        faults.append(("two_assistants_in_a_row", "the prompt ends with an assistant turn"))
    for name, side in (("chosen", item.chosen), ("rejected", item.rejected)):
        if side and side[-1].role != "assistant":
            faults.append(("last_not_assistant", f"{name} ends with {side[-1].role!r}"))
    if item.chosen and [_said(m) for m in item.chosen] == [_said(m) for m in item.rejected]:
        faults.append(("equal_sides", repr(item.chosen[-1].content[:60])))
    return faults


def _said(message: Message) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    return message.role, message.content.strip(), tuple((c.name, c.arguments) for c in message.tool_calls)


def _text_faults(messages: Sequence[Message], search: TextSearch) -> Iterator[Fault]:
    seen: set[str] = set()
    for number, message in enumerate(messages):
        for text in (message.content, message.name, *(c.arguments for c in message.tool_calls)):
            for code, detail in search.faults(text, f"turn {number + 1} ({message.role})") if text else ():
                if code not in seen:
                    seen.add(code)
                    yield code, detail


def _turn_faults(messages: Sequence[Message], tools: Sequence[object]) -> list[Fault]:
    faults: list[Fault] = []
    roles = [m.role for m in messages]
    talk = [(n, r) for n, r in enumerate(roles) if r not in ("system", "developer")]
    if not any(r == "user" for r in roles):
        faults.append(("missing_user_message", ""))
    if not any(r in ("system", "developer") for r in roles):
        faults.append(("missing_system_message", ""))
    elif any(r in ("system", "developer") for r in roles[talk[0][0] if talk else len(roles) :]):
        faults.append(("system_not_first", f"turns {', '.join(roles[:6])}"))
    if talk and talk[0][1] == "assistant":
        faults.append(("assistant_first", ""))
    for (_, before), (number, role) in pairwise(talk):
        if before == role == "user":
            faults.append(("two_users_in_a_row", f"turn {number + 1}"))
            break
    if any(m.tool_calls or m.role in ("tool", "function") for m in messages):
        faults += _tool_faults(messages, tools)
    elif any(a[1] == b[1] == "assistant" for a, b in pairwise(talk)):
        faults.append(("two_assistants_in_a_row", ""))
    return faults


def _tool_faults(messages: Sequence[Message], tools: Sequence[object]) -> list[Fault]:
    faults: list[Fault] = []
    names = {t["function"].get("name") for t in tools if isinstance(t, dict) and isinstance(t.get("function"), dict)}
    waiting: list[str] = []  # ids of calls not answered yet; "" for the older form without ids
    for number, message in enumerate(messages):
        place = f"turn {number + 1}"
        if message.role in ("tool", "function"):
            key = message.tool_call_id if message.role == "tool" else ""
            if key in waiting:
                waiting.remove(key)
            elif not key and waiting:
                waiting.pop(0)
            else:
                faults.append(("tool_answer_without_call", f"{place}{f', id {key!r}' if key else ''}"))
            continue
        if waiting:
            faults.append(("call_without_tool_answer", f"before {place}"))
            waiting = []
        for call in message.tool_calls:
            waiting.append(call.id)
            if not _is_object(call.arguments):
                faults.append(("arguments_not_json", f"{place}, {call.name}: {call.arguments[:60]!r}"))
            if not names:
                faults.append(("tools_not_described", f"{place} calls {call.name!r}"))
            elif call.name not in names:
                faults.append(("unknown_tool", f"{place} calls {call.name!r}"))
        if message.tool_calls and not message.content:
            faults.append(("tool_call_without_content", place))
    return list({code: (code, detail) for code, detail in reversed(faults)}.values())


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
