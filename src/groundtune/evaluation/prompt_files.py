"""Prompts that evaluation puts to a model, as files a user can read, copy and edit: turns with places to fill in.

A file has turns, each behind a line ``[system]`` or ``[user]``; lines that begin with ``#`` before the first are a note,
and ``key: value`` lines there say how the reply is to be read. ``{name}`` is a place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from groundtune.errors import InputError
from groundtune.records import Message, Role

SHIPPED = Path(__file__).parent / "prompts"
_TURN = re.compile(r"^\[(system|user)\][ \t]*$", re.MULTILINE)
_PLACE = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A prompt as it was read: its ``key: value`` lines, and (role, text with places) of each turn."""

    settings: dict[str, str]
    turns: tuple[tuple[Role, str], ...]

    def messages(self, values: Mapping[str, str]) -> list[Message]:
        """The turns with every place filled in once; braces inside a value stay what they are."""
        return [Message(role, _PLACE.sub(lambda m: values.get(m[1], m[0]), text)) for role, text in self.turns]

    @property
    def places(self) -> set[str]:
        """The names in braces."""
        return {name for _, text in self.turns for name in _PLACE.findall(text)}


def read_prompt(path: Path) -> PromptFile:
    """A prompt file.

    Raises:
        InputError: it cannot be read, or has no ``[user]`` turn.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"{path}: cannot be read: {reason}", expected="a prompt file") from None
    head, *parts = _TURN.split(text)
    turns = tuple((cast(Role, role), body.strip()) for role, body in zip(parts[::2], parts[1::2], strict=True))
    if not any(role == "user" and body for role, body in turns):
        raise InputError(f"{path}: no text behind a line [user]", expected="turns behind lines [system] and [user]")
    lines = [line for line in head.splitlines() if line.strip() and not line.startswith("#")]
    settings = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return PromptFile(settings, turns)


def shipped(name: str) -> PromptFile:
    """One of our own prompts."""
    return read_prompt(SHIPPED / f"{name}.txt")
