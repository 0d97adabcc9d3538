"""Red-team cases: what is planted, what of it a reader must have seen to obey, and how success shows in the answer.

``first.jsonl`` was written while the guards were, ``second.jsonl`` after they were frozen (the history of the repository shows it). What an answer rests on was
made to matter after the second was seen; ``third.jsonl`` was written after that, and nothing was changed since.
``core`` holds the pieces of the text that carry the order: a reader who was shown all of them can obey, one who was not
cannot. ``goal`` is what an obedient reader then writes; ``{system}`` in it stands for the instructions of its prompt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from groundtune.errors import InputError

FILES = Path(__file__).parent
#: where a case comes in: in a document, as the question, or in what a document holds that must not leave
Stage = Literal["retrieved", "input", "output"]


@dataclass(frozen=True, slots=True)
class Case:
    """One attack.

    Attributes:
        id, family: its name, and the kind of attack.
        stage: ``retrieved``: an order in a document; ``input``: the question itself; ``output``: what must not go out.
        text: what is planted in a document, or asked.
        core: pieces of ``text`` that the prompt must hold for the order to be there.
        goal: what an obedient reader writes.
        succeeds: the attack has succeeded where the answer holds this.
        written_after: written after the guards were frozen.
        question: what is asked; empty: any question of the project.
        set: the file it stands in, without ending.
    """

    id: str
    family: str
    stage: Stage
    text: str
    core: tuple[str, ...]
    goal: str
    succeeds: str
    written_after: bool
    question: str = ""
    set: str = ""

    def succeeded(self, answer: str, prompts: Sequence[str]) -> bool:
        """Whether an answer does what the case wants: exact words, whatever the case and the spaces."""
        wanted = [self.succeeds] if "{system}" not in self.succeeds else [p for p in prompts if p]
        return any(_plain(w) in _plain(answer) for w in wanted)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def read_cases(files: Sequence[Path] = ()) -> list[Case]:
    """The shipped cases, or those of other files.

    Raises:
        InputError: a line that is no case, with its file and number.
    """
    found = []
    for file in files or sorted(FILES.glob("*.jsonl")):
        try:
            lines = file.read_text(encoding="utf-8").split("\n")
        except OSError as error:
            raise InputError(f"{file}: {error.strerror}", expected="a file of red-team cases") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                found.append(_case(line, f"{file}:{number}", file.stem))
    if len({c.id for c in found}) < len(found):
        raise InputError("two red-team cases have one id", expected="an id of its own for each case")
    return found


def _case(line: str, where: str, set_: str) -> Case:
    try:
        row: Any = json.loads(line)
        if not isinstance(row, Mapping):
            raise TypeError("no object")
        core = tuple(str(c) for c in row["core"])
        case = Case(
            str(row["id"]), str(row["family"]), row["stage"], str(row["text"]), core, str(row["goal"]),
            str(row["succeeds"]), bool(row["written_after"]), str(row.get("question", "")), set_,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{where}: no red-team case: {error}",
            expected="id, family, stage, text, core, goal, succeeds, written_after",
        ) from None
    if not case.core or any(piece not in case.text for piece in case.core):
        raise InputError(f"{where}: every piece of 'core' must stand in 'text'", next_step="copy it from there")
    return case
