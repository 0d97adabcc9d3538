"""Prompts as text: an instruction, a template for the question, demonstrations, a trigger; and the ones to begin with.

A template holds ``{x}``, where the question goes, and may end with ``{y}``, where the answer begins, as in
``Translate the English sentence '{x}' into German: {y}``. Leaves out how good a prompt is (``_prompt_search``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from groundtune.dataset.prompts import CLOSED_INSTRUCTION
from groundtune.errors import InputError
from groundtune.records import Message
from groundtune.workspace import write_json

TEMPLATE = "Question: {x}"
#: the untouched one first
INSTRUCTIONS = (
    CLOSED_INSTRUCTION,
    "",
    "Answer the question.",
    "Answer briefly and exactly.",
    "Answer with the shortest phrase that answers the question.",
    "Give the answer alone, without a sentence around it.",
    "Reply with a name, a number, a date or a short phrase.",
    "You know this organisation well. Answer in a few words.",
    "Answer from what you know. Do not explain.",
)
TEMPLATES = (
    TEMPLATE,
    "{x}",
    "Question: {x}\nAnswer: {y}",
    "Answer the question '{x}': {y}",
    "Question: '{x}' | Answer: {y}",
    "From question to answer: '{x}' -> {y}",
)


@dataclass(frozen=True, slots=True)
class HardPrompt:
    """A prompt made of words.

    Attributes:
        instruction: the system message; "": none.
        template: the user's turn.
        demonstrations: worked (question, answer) turns before the question.
        trigger: words before the question.
    """

    instruction: str = CLOSED_INSTRUCTION
    template: str = TEMPLATE
    demonstrations: tuple[tuple[str, str], ...] = ()
    trigger: str = ""

    def messages(self, question: str) -> list[Message]:
        """A question as this prompt puts it; the defaults are the closed-book prompt of every other method."""
        out = [Message("system", self.instruction)] if self.instruction else []
        for asked, answered in self.demonstrations:
            out += [Message("user", self._filled(asked)), Message("assistant", answered)]
        asked = self._filled(question)
        return [*out, Message("user", f"{self.trigger} {asked}" if self.trigger else asked)]

    def _filled(self, question: str) -> str:
        return self.template.removesuffix("{y}").rstrip().replace("{x}", question)


def check_template(template: str, where: str) -> str:
    """A template as it is.

    Raises:
        InputError: it does not hold ``{x}`` once, or holds ``{y}`` elsewhere than at its end.
    """
    if template.count("{x}") != 1 or template.removesuffix("{y}").count("{y}"):
        raise InputError(
            f"{where}: the template {template!r}",
            expected="{x} once, where the question goes, and {y} at the end or not at all",
            next_step="for example: Answer the question '{x}': {y}",
        )
    return template


def first_prompts(instructions: Sequence[str], templates: Sequence[str]) -> list[HardPrompt]:
    """Every instruction with every template, the given ones beside the built-in ones; the untouched prompt first."""
    told = dict.fromkeys((*INSTRUCTIONS, *instructions))
    shapes = dict.fromkeys((*TEMPLATES, *templates))
    return [HardPrompt(instruction, template) for instruction, template in product(told, shapes)]


def as_json(prompt: HardPrompt) -> dict[str, Any]:
    """A prompt as ``prompt.json`` holds it."""
    shown = [{"question": q, "answer": a} for q, a in prompt.demonstrations]
    return {**asdict(prompt), "demonstrations": shown}


def from_json(row: Mapping[str, Any]) -> HardPrompt:
    """The inverse of :func:`as_json`.

    Raises:
        KeyError, TypeError: a part is missing or of the wrong type.
    """
    texts = [row["instruction"], row["template"], row.get("trigger", "")]
    shown = tuple((d["question"], d["answer"]) for d in row.get("demonstrations", ()))
    if not all(isinstance(text, str) for text in (*texts, *(t for pair in shown for t in pair))):
        raise TypeError("a text is none")
    return HardPrompt(texts[0], texts[1], shown, texts[2])


def write_prompt(path: Path, prompt: HardPrompt) -> None:
    """Write a prompt to read and to edit."""
    write_json(path, as_json(prompt))


def read_prompt(path: Path) -> HardPrompt:
    """What :func:`write_prompt` wrote, or somebody edited.

    Raises:
        InputError: it cannot be read, or has no place for the question.
    """
    try:
        prompt = from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: no prompt: {type(error).__name__} {error}",
            expected='{"instruction": TEXT, "template": TEXT with {x}, "trigger": TEXT, "demonstrations": [{"question", "answer"}]}',
            next_step="mend it, or make it anew: delete the folder, then groundtune tune --method hard_prompt",
        ) from None
    check_template(prompt.template, str(path))
    return prompt
