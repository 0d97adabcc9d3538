"""What of an item is compared with other items: its prompt, what stands around that, its answer; as text and as 64-bit keys."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from groundtune.records import Conversation, Message, Preference


def prompt_of(item: Conversation | Preference) -> str:
    """The turns before the last answer, without system messages; "" for running text."""
    if isinstance(item, Preference):
        turns: Sequence[Message] = item.messages
    else:
        end = len(item.messages)
        while end and item.messages[end - 1].role != "assistant":
            end -= 1
        turns = item.messages[: max(0, end - 1)]
    return "\n".join(m.content for m in turns if m.role not in ("system", "developer"))


def question_of(item: Conversation | Preference) -> str:
    """The last user turn."""
    return next((m.content for m in reversed(item.messages) if m.role == "user"), "")


def answer_of(item: Conversation | Preference) -> str:
    """What is learnt at last: the last assistant turn with its tool calls, or both sides of a preference."""
    if isinstance(item, Preference):
        return "\x00".join("\n".join(_said(m) for m in side) for side in (item.chosen, item.rejected))
    return next((_said(m) for m in reversed(item.messages) if m.role == "assistant"), "")


def _said(message: Message) -> str:
    return message.content + "".join(f"\n{c.name}({c.arguments})" for c in message.tool_calls)


def context_of(item: Conversation | Preference) -> str:
    """What else decides the answer: system messages and the names of the tools on offer."""
    system = [m.content for m in item.messages if m.role in ("system", "developer")]
    return "\n".join([*system, *(str(t.get("function", {}).get("name", "")) for t in item.tools)])


def key_of(text: str) -> int:
    """64 bits of a text without regard to case and white space; 0 for an empty one. The same in every process."""
    plain = " ".join(text.split()).casefold()
    if not plain:
        return 0
    data = plain.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1


def trained_on(split: str) -> bool:
    """True for rows that training uses: those without a split, and ``train``."""
    return split in ("", "train", "training")
