"""Prompts that ask for reasoning, and the answer taken out of what a model writes; with passages or without.

Shared by ``chain_of_thought`` and ``self_consistency``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from groundtune.dataset.prompts import abstains
from groundtune.methods._context import Context, find
from groundtune.methods._setup import Backend, Setup
from groundtune.records import Message

_MARK = re.compile(
    r"(?:^|\n|(?<=[.!?:;] )|(?<=\*\*))\s*(?:\*\*)?(?:final )?answer(?:\*\*)?\s*:\s*(?:\*\*)?", re.IGNORECASE
)
_SO = re.compile(r"\b(?:so|thus|therefore|hence)?,?\s*the (?:final |right |correct )?answer is:?\s+", re.IGNORECASE)

_ABBREVIATION = re.compile(r"\b[A-Za-z]\.$")


def extract_answer(text: str) -> str:
    """The answer behind the last "Answer:" or "the answer is"; else the last line, as it stands.

    As in Wei et al. and Wang et al. 2022, who take what follows "The answer is". One line; quotes, emphasis and a full stop
    at its end are taken off.
    """
    text = text.strip()
    marks = [*_MARK.finditer(text)] or [*_SO.finditer(text)]
    behind = [found for m in marks if (found := _line(text[m.end() :]))]
    if behind:
        return behind[-1]
    return next((found for line in reversed(text.splitlines()) if (found := _line(line))), "")


def _line(text: str) -> str:
    line = text.strip().partition("\n")[0].strip().strip('*`"“”').strip()
    return line if _ABBREVIATION.search(line) or abstains(line) else line.removesuffix(".")


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions as they are put to a model.

    Attributes:
        prompts: one a question.
        contexts: what was found for each; empty without retrieval.
    """

    prompts: list[list[Message]]
    contexts: list[Context]

    @property
    def open(self) -> list[int]:
        """Numbers of the questions that are put to the model: not of those that the retriever refuses."""
        return [n for n in range(len(self.prompts)) if not (self.contexts and self.contexts[n].refused)]


def ask_to_reason(setup: Setup, backend: Backend, questions: Sequence[str], *, search: bool) -> Asked:
    """The prompts of ``chain_of_thought``, over passages where it searches."""
    if not search:
        prompt = setup.prompt("chain_of_thought")
        return Asked([prompt.messages(question=q) for q in questions], [])
    prompt = setup.prompt("chain_of_thought_with_passages")
    contexts = find(setup, backend, questions)
    return Asked([prompt.messages(question=c.question, passages=c.text) for c in contexts], contexts)
