"""One answer and whether it is good: ``{"messages": [...], "label": true}``, or ``prompt``, ``completion`` and ``label``.

An item with a label is a Preference that has one side only. Ethayarajh et al., "KTO" (2024); names as TRL and LLaMA-Factory write them.
"""

from __future__ import annotations

from typing import Any

from groundtune.dataset.formats import openai_chat, prompt_completion, sharegpt
from groundtune.dataset.formats._messages import CannotHold, RowFault, need_object, write_messages
from groundtune.records import Conversation, Preference

_LABELS = ("label", "kto_tag")
KEYS = frozenset({*_LABELS, *openai_chat.KEYS, *prompt_completion.KEYS, "conversations", "system"})


def sniff(row: Any) -> float:
    """Has a conversation and a label that is true or false."""
    if not isinstance(row, dict) or not any(k in row for k in _LABELS):
        return 0.0
    if "messages" not in row and "conversations" not in row and not ("prompt" in row and "completion" in row):
        return 0.0
    return 0.95 if any(row.get(k) in (True, False) for k in _LABELS) else 0.1


def read(row: Any) -> Preference:
    """One line.

    Raises:
        RowFault: no label, or what the conversation's own format says.
    """
    row = need_object(row)
    label = next((row[k] for k in _LABELS if k in row), None)
    if label not in (True, False):
        raise RowFault(("label_not_true_or_false", f"the label is {label!r}"))
    rest = {k: v for k, v in row.items() if k not in _LABELS}
    module = openai_chat if "messages" in row else prompt_completion if "prompt" in row else sharegpt
    whole = module.read(rest)
    assert isinstance(whole, Conversation)
    start = len(whole.messages)
    while start and whole.messages[start - 1].role == "assistant":
        start -= 1
    answer = whole.messages[start:]
    if not answer:
        raise RowFault(("last_not_assistant", "the last turn is not the assistant's: nothing is labelled"))
    chosen, rejected = (answer, ()) if label else ((), answer)
    return Preference(whole.messages[:start], chosen, rejected, whole.tools)


def write(item: Conversation | Preference) -> dict[str, Any]:
    """One line.

    Raises:
        CannotHold: no preference, or a pair (two lines would be needed).
    """
    if not isinstance(item, Preference) or bool(item.chosen) == bool(item.rejected):
        raise CannotHold("kto holds one answer with a label a line, no pairs and no plain conversations")
    row: dict[str, Any] = {"messages": write_messages((*item.messages, *item.chosen, *item.rejected))}
    if item.tools:
        row["tools"] = [dict(t) for t in item.tools]
    row["label"] = bool(item.chosen)
    return row
