"""Prompts as files: what is said to a model, to be read and edited, with places for the question and what goes with it.

A file has turns, each behind a line ``[system]``, ``[user]`` or ``[assistant]``; lines that begin with ``#`` before the
first are a note to the reader. ``{question}`` and the like are filled in; ``{{question}}`` stands for itself, and other
braces are left as they are. ``prompts/NAME.txt`` beside ``groundtune.yaml`` comes before the one that ships with
groundtune. A line ``key: value`` before the first turn says how the reply is read (of a judge: ``scale: yes-no``). ``{x}`` is the question too and a last ``{y}`` the answer's place, as hard prompt templates are written:
``Translate the English sentence '{x}' into German: {y}``. Leaves out how good a prompt is (``methods._prompt_choice``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from groundtune.errors import InputError, UnknownNameError
from groundtune.records import Message, Role

#: the prompts that ship with groundtune
SHIPPED = Path(__file__).parent / "prompts"
#: the project's own, beside groundtune.yaml
FOLDER = "prompts"
_TURN = re.compile(r"\[(\w+)\][ \t]*")
_ROLES = ("system", "user", "assistant")
_SETTING = re.compile(r"([a-z_]+):[ \t]+(\S.*)")
_PLACE = re.compile(r"\{\{([a-z_]+)\}\}|\{([a-z_]+)\}")
#: how hard prompt templates call the question
_SHORT = {"x": "question"}


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A prompt as it was read.

    Attributes:
        name: without ``.txt``.
        path: where it was read.
        turns: (role, text with places); the last is the user's.
        settings: of the lines ``key: value`` before the first turn.
    """

    name: str
    path: Path
    turns: tuple[tuple[str, str], ...]
    settings: Mapping[str, str] = field(default_factory=dict)

    def messages(self, shots: Sequence[Mapping[str, str]] = (), **values: str) -> list[Message]:
        """The prompt with its places filled in; a turn without text is left out.

        Args:
            shots: worked examples, each the values of the last turn and its ``answer``; they go before that turn.
            values: of the places, by name.
        """
        *before, (role, asked) = self.turns
        out = [(r, filled(text, values)) for r, text in before]
        for shot in shots:
            out += [(role, filled(asked, {**values, **shot})), ("assistant", shot["answer"])]
        return [Message(cast(Role, r), text) for r, text in [*out, (role, filled(asked, values))] if text]

    @property
    def places(self) -> set[str]:
        """The names in braces, of all turns."""
        return {_SHORT.get(m[2], m[2]) for _, text in self.turns for m in _PLACE.finditer(text) if m[2]}

    def told(self, instruction: str) -> PromptFile:
        """The same prompt with another system message; "" for none."""
        rest = tuple(turn for turn in self.turns if turn[0] != "system")
        return replace(self, turns=(("system", instruction), *rest) if instruction else rest)

    def text(self, note: str = "") -> str:
        """The prompt as a file holds it, below a note."""
        head = "".join(f"# {line}\n" for line in note.splitlines())
        head += "".join(f"{key}: {value}\n" for key, value in self.settings.items())
        return head + "".join(f"[{role}]\n{text}\n" for role, text in self.turns)


def filled(text: str, values: Mapping[str, str]) -> str:
    """A turn with its places filled in, each once: braces in a value stay what they are."""

    def place(match: re.Match[str]) -> str:
        return f"{{{match[1]}}}" if match[1] else values.get(_SHORT.get(match[2], match[2]), match[0])

    return _PLACE.sub(place, text)


def literal(text: str) -> str:
    """A text as a file must hold it to say just that."""
    quoted = re.sub(r"\{([a-z_]+)\}", r"{{\1}}", text)
    return "\n".join(f" {line}" if _TURN.fullmatch(line) else line for line in quoted.splitlines())


def prompt_names() -> list[str]:
    """The prompts there are."""
    return sorted(path.stem for path in SHIPPED.glob("*.txt"))


def own_path(root: Path, name: str) -> Path:
    """Where a project keeps its own wording of a prompt."""
    return root / FOLDER / f"{name}.txt"


def read_prompt_file(root: Path, name: str) -> PromptFile:
    """A prompt: the project's own, or else the one that ships with groundtune.

    Args:
        root: the project folder.

    Raises:
        UnknownNameError: no such prompt. InputError: the project's file cannot be used; says which place is wrong.
    """
    if name not in prompt_names():
        raise UnknownNameError("prompt", name, prompt_names())
    shipped = parse_prompt(SHIPPED / f"{name}.txt")
    path = own_path(root, name)
    if not path.exists():
        return shipped
    own = parse_prompt(path)
    _check_places(own, shipped.places)
    if dict(own.settings).keys() != dict(shipped.settings).keys():
        head = ", ".join(f"{key}: {value}" for key, value in shipped.settings.items())
        raise InputError(
            f"{path}: {', '.join(own.settings) or 'no setting'} before the first turn", expected=head or "none"
        )
    return own


def parse_prompt(path: Path) -> PromptFile:
    """Read a prompt file.

    Raises:
        InputError: it cannot be read, has no turns, a role of another name, or ends in another turn than the user's.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"{path}: cannot be read: {reason}", expected="a text file in UTF-8") from None
    turns: list[tuple[str, list[str]]] = []
    settings: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        found = _TURN.fullmatch(line)
        if found and found[1].lower() in _ROLES:
            turns.append((found[1].lower(), []))
        elif turns:
            turns[-1][1].append(line)
        elif setting := _SETTING.fullmatch(line):
            settings[setting[1]] = setting[2].strip()
        elif line.strip() and not line.startswith("#"):
            raise InputError(
                f"{path}:{number}: {line[:60]!r} before the first turn",
                expected="a line [system] or [user] above it, or a note that begins with #",
            )
    if not turns or turns[-1][0] != "user":
        raise InputError(
            f"{path}: {'ends with the turn [' + turns[-1][0] + ']' if turns else 'holds no turn'}",
            expected="turns behind the lines [system], [user] and [assistant], the last of them [user]",
            next_step=f"groundtune prompts --copy {path.stem if path.stem in prompt_names() else 'closed_book'}, in another folder, shows one that works",
        )
    *before, (role, asked) = [(role, "\n".join(found).strip("\n")) for role, found in turns]
    asked = asked.removesuffix("{y}").rstrip() if asked.endswith("{y}") else asked
    return PromptFile(path.stem, path, (*before, (role, asked)), settings)


def _check_places(own: PromptFile, wanted: set[str]) -> None:
    known = ", ".join(f"{{{name}}}" for name in sorted(wanted))
    for name in sorted(own.places - wanted):
        raise InputError(
            f"{own.path}: unknown place {{{name}}}",
            expected=f"{known} and no other; {{{{{name}}}}} stands for the words themselves",
        )
    for name in sorted(wanted - own.places):
        raise InputError(
            f"{own.path}: no place {{{name}}}",
            expected=f"each of {known} at least once",
            next_step=f"put {{{name}}} where it is to stand, or delete the file: the shipped one holds again",
        )


def rows(root: Path) -> list[dict[str, Any]]:
    """Every prompt with its file, whether it is the project's own, its places and the note at its head."""
    out = []
    for name in prompt_names():
        prompt = read_prompt_file(root, name)
        note = [line.lstrip("# ") for line in (SHIPPED / f"{name}.txt").read_text("utf-8").splitlines() if line[:1] == "#"]  # fmt: skip
        own = prompt.path == own_path(root, name)
        out.append({"name": name, "own": own, "file": str(prompt.path), "places": sorted(prompt.places), "note": " ".join(note)})  # fmt: skip
    return out
