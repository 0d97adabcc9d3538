"""The words of the invented exercises, from invented_words.txt, and what is made of a word alone: its article, its plural."""

from __future__ import annotations

import re
from importlib import resources
from typing import Final


def data(name: str) -> str:
    """Text of a data file of this folder."""
    return resources.files("groundtune.dataset").joinpath(name).read_text(encoding="utf-8")


def words(text: str) -> tuple[str, ...]:
    """The words between the bars of a text."""
    return tuple(word.strip() for word in text.split("|"))


def _word_lists(text: str) -> dict[str, tuple[str, ...]]:
    """Lists by name: a line ``name:``, then its words between bars on indented lines."""
    parts = re.split(r"^(\w+):\n", text, flags=re.MULTILINE)[1:]
    return {name: words(" ".join(block.split())) for name, block in zip(parts[::2], parts[1::2], strict=True)}


WORDS: Final = _word_lists(data("invented_words.txt"))
NOUNS: Final = WORDS["nouns"]
ADJECTIVES: Final = WORDS["adjectives"]
COLOURS: Final = WORDS["colours"]
FIRST: Final = WORDS["first"]
SYL1: Final = WORDS["syl1"]
SYL2: Final = WORDS["syl2"]
PLACE_END: Final = WORDS["place_end"]
NAME_END: Final = WORDS["name_end"]
GIVEN_END: Final = WORDS["given_end"]
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def an(word: str) -> str:
    """The word with its indefinite article and a blank before it."""
    return ("an " if word[0] in "aeiou" and not word.startswith(("uni", "euro", "one")) else "a ") + word


def plural(noun: str) -> str:
    """Its plural."""
    if noun.endswith(("s", "x", "sh", "ch")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return {"goose": "geese", "knife": "knives", "leaf": "leaves", "potato": "potatoes"}.get(noun, noun + "s")


_MASS: Final = frozenset(WORDS["mass"])
COUNTABLE: Final = tuple(n for n in NOUNS if n not in _MASS)
NOUNS_PL: Final = tuple(plural(n) for n in COUNTABLE)
