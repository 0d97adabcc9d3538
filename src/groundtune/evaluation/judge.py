"""A language model that judges answers by a rubric: how it is asked, and how its replies are read.

As in Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena" (NeurIPS 2023): single answers are graded by a
rubric and a reference, pairs are asked in both orders, and a winner counts only where both orders agree. A reply that holds
no score is a failure and is counted, never guessed. Whether the judge is to be believed says ``agreement``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from groundtune.errors import InputError
from groundtune.prompt_files import PromptFile, parse_prompt, read_prompt_file
from groundtune.records import Completion, Example, Generation
from groundtune.workspace import digest

#: scale -> the labels that it has, worst first
SCALES = {"yes-no": ("no", "yes"), "1-5": ("1", "2", "3", "4", "5"), "pair": ("B", "tie", "A")}
RUBRICS = ("correct", "quality", "pair")
_NEEDED = {
    "yes-no": {"question", "answer"},
    "1-5": {"question", "answer"},
    "pair": {"question", "answer_a", "answer_b"},
}
_SAID = re.compile(
    r"\b(?:score|grade|rating|verdict|answer)\b\W{0,4}(?:is\W+)?[\"'*]*(yes|no|tie|[1-5](?![.\d])|[ab])\b", re.I
)
_ALONE = {
    "yes-no": re.compile(r"^\W*(yes|no)\b", re.I),
    "1-5": re.compile(r"^\W*([1-5])(?:\s*/\s*5)?\W*$"),
    "pair": re.compile(r"^\W*(a|b|tie)\W*$", re.I),
}


class Backend(Protocol):
    """What generates (:mod:`groundtune.backends`)."""

    name: str

    def generate_batch(self, conversations: Any, *, max_tokens: int = 32) -> list[Generation]:
        """Answers to many conversations."""
        ...


@dataclass(frozen=True, slots=True)
class Rubric:
    """A rubric file as it was read.

    Attributes:
        name: correct, quality, pair, or the file's name.
        scale: a key of ``SCALES``.
        prompt: what is put to the judge.
    """

    name: str
    scale: str
    prompt: PromptFile

    @property
    def labels(self) -> tuple[str, ...]:
        """What it may say, worst first (of a pair: B, tie, A)."""
        return SCALES[self.scale]

    @property
    def signature(self) -> str:
        """Changes with any word of the prompt."""
        return digest([self.scale, self.prompt.turns])[:16]


def read_rubric(name: str, root: Path) -> Rubric:
    """One of ours by name (or the project's ``prompts/judge_NAME.txt``), or a file, relative to the project.

    Raises:
        InputError: no such rubric, no ``scale:`` line, or a place that is missing in it.
    """
    path = root / Path(name).expanduser()
    if name not in RUBRICS and not path.is_file():
        raise InputError(f"no rubric {name!r}", expected=f"{', '.join(RUBRICS)}, or a file", next_step="judge.rubric")
    prompt = read_prompt_file(root, f"judge_{name}") if name in RUBRICS else parse_prompt(path)
    path, scale = prompt.path, prompt.settings.get("scale", "")
    if scale not in SCALES:
        raise InputError(f"{path}: scale {scale!r}", expected=f"a line `scale: ` and one of {', '.join(SCALES)}")
    missing = sorted(_NEEDED[scale] - prompt.places)
    if missing:
        raise InputError(f"{path}: no place {{{missing[0]}}}", expected="places for what is to be judged")
    return Rubric(name if name in RUBRICS else path.stem, scale, prompt)


def parse_score(reply: str, scale: str) -> str | None:
    """The label that a reply gives: of its JSON's ``score``, of "score: ...", or the reply itself; None where none does."""
    for text in re.findall(r"\{[^{}]*\}", reply):
        try:
            found: Any = json.loads(text)
        except ValueError:
            continue
        value = found.get("score") if isinstance(found, dict) else None
        if value is not None:
            if isinstance(value, bool):
                value = "yes" if value else "no"
            return _label(str(int(value)) if isinstance(value, float) and value.is_integer() else str(value), scale)
    said = [label for label in (_label(match, scale) for match in _SAID.findall(reply)) if label]
    if said:
        return said[-1] if len(set(said)) == 1 else None
    alone = _ALONE[scale].match(reply.strip())
    return _label(alone[1], scale) if alone else None


def _label(text: str, scale: str) -> str | None:
    return {label.lower(): label for label in SCALES[scale]}.get(text.strip().lower())


class Judge:
    """A model with a rubric.

    Args:
        backend: what generates.
        rubric: how to judge.
        max_tokens: most tokens of a reply.
    """

    def __init__(self, backend: Backend, rubric: Rubric, *, max_tokens: int = 200) -> None:
        self.rubric, self._backend, self._max_tokens = rubric, backend, max_tokens
        self.name = f"{backend.name}, {rubric.name}"

    def grade(self, rows: Sequence[Mapping[str, str]]) -> list[str | None]:
        """The label of each row; None where the reply holds none, or, of a pair, ``tie`` where the orders disagree.

        Args:
            rows: ``question``, ``reference``, ``sources`` and ``answer``, or ``answer_a`` and ``answer_b``.
        """
        first = self._asked(rows)
        if self.rubric.scale != "pair":
            return first
        swapped = self._asked([{**r, "answer_a": r["answer_b"], "answer_b": r["answer_a"]} for r in rows])
        back = {"A": "B", "B": "A", "tie": "tie"}
        return [
            None if a is None or b is None else a if a == back[b] else "tie"
            for a, b in zip(first, swapped, strict=True)
        ]

    def _asked(self, rows: Sequence[Mapping[str, str]]) -> list[str | None]:
        empty = {"reference": "", "sources": ""}
        prompts = [self.rubric.prompt.messages((), **{**empty, **row}) for row in rows]
        written = self._backend.generate_batch(prompts, max_tokens=self._max_tokens)
        return [parse_score(g.text, self.rubric.scale) for g in written]


def judge_values(
    judge: Judge, completions: Mapping[str, Completion], examples: Sequence[Example]
) -> tuple[dict[str, float], int]:
    """Question id -> 0 (worst) to 1 (best), and the number of replies that held no score.

    Raises:
        InputError: a rubric for pairs.
    """
    if judge.rubric.scale == "pair":
        raise InputError("a rubric for pairs grades no single answer", expected="correct, quality or one like them")
    rows = [row_of(completions[e.id], e) for e in examples]
    labels = judge.grade(rows)
    top = len(judge.rubric.labels) - 1
    values = {
        e.id: judge.rubric.labels.index(label) / top
        for e, label in zip(examples, labels, strict=True)
        if label is not None
    }
    return values, sum(label is None for label in labels)


def row_of(completion: Completion, example: Example) -> dict[str, str]:
    """What a judge is shown of an answer."""
    return {
        "question": example.question,
        "reference": " | ".join(example.references),
        "sources": "\n".join(s.text or s.quote for s in completion.sources[:3]),
        "answer": completion.text,
    }
