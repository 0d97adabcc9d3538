"""Task markers as GPT-2 used them: ``text <to-fr> texte``, ``article <summarize> summary``; one a line, or as ``text``.

The marker becomes the system message. Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), section 2.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from groundtune.dataset.formats._messages import CannotHold, RowFault, question_and_answer
from groundtune.records import Conversation, Message, Preference

KEYS = frozenset({"text"})
MARKER = re.compile(r"<[A-Za-z][A-Za-z0-9]*(?:[-_][A-Za-z0-9]+)*>")
_SPLIT = re.compile(rf"[ \t]+({MARKER.pattern})[ \t]+|\t({MARKER.pattern})\t")
#: tags of HTML that stand in running text and are no task
_TAGS = frozenset(
    "<b> <i> <u> <p> <br> <a> <em> <strong> <li> <ul> <ol> <div> <span> <html> <body> <s> <pad> <unk>".split()
)
_END = "<|endoftext|>"


def sniff(row: Any) -> float:
    """A text with one marker between two others."""
    return 0.9 if len(_places(_text(row))) == 1 else 0.0


def _text(row: Any) -> str:
    if isinstance(row, dict):
        row = row.get("text")
    return row if isinstance(row, str) else ""


def _places(text: str) -> list[re.Match[str]]:
    return [m for m in _SPLIT.finditer(text) if (m.group(1) or m.group(2)).lower() not in _TAGS]


def read(row: Any) -> Conversation:
    """One line.

    Raises:
        RowFault: no marker, several, or an empty side.
    """
    text = _text(row).removesuffix("\n")
    if text.rstrip().endswith(_END):
        text = text.rstrip().removesuffix(_END)
    places = _places(text)
    if len(places) != 1:
        what = "no task marker such as <to-fr>" if not places else f"{len(places)} task markers, expected one"
        raise RowFault(("no_task_marker", what))
    place = places[0]
    question, answer = text[: place.start()].strip(" \t"), text[place.end() :].strip(" \t")
    if not question:
        raise RowFault(("missing_content", "nothing before the task marker"))
    if not answer:
        raise RowFault(("missing_content", "nothing after the task marker"), ("empty_answer", "nothing to learn"))
    marker = place.group(1) or place.group(2)
    return Conversation((Message("system", marker), Message("user", question), Message("assistant", answer)))


def fit(item: Conversation | Preference) -> Conversation | Preference:
    """The item without blanks at the ends of its texts, which markers leave no place for; a conversion counts them."""
    if not isinstance(item, Conversation):
        return item
    return replace(item, messages=tuple(replace(m, content=m.content.strip()) for m in item.messages))


def write(item: Conversation | Preference) -> dict[str, Any]:
    """One line, as ``{"text": ...}``; a ``.txt`` file gets the text alone.

    Raises:
        CannotHold: the system message is no marker, or the texts hold one.
    """
    marker, question, answer = question_and_answer(item, "task_markers", system=True)
    if not MARKER.fullmatch(marker):
        raise CannotHold(f"the system message {marker[:40]!r} is no task marker; name one with --task")
    if question != question.strip(" \t") or answer != answer.strip(" \t"):
        raise CannotHold("task_markers has no place for blanks at the ends of a text")
    text = f"{question} {marker} {answer}"
    if len(_places(text)) != 1 or answer.rstrip().endswith(_END) or answer.endswith("\n"):
        raise CannotHold("a text of the item holds a task marker or ends like one")
    return {"text": text}
