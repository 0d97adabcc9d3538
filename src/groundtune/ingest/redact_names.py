"""Names of a given list found in a text: whole words, in the spellings that letters and lists have."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from groundtune.errors import InputError

_TOKEN = re.compile(r"[^\W_]+")
#: what may stand between two parts of a name
_BETWEEN = re.compile(r"[ \t\xa0]{1,4}\n?[ \t]{0,4}|\n[ \t]{0,4}|[-\u2010\u2011'’·]|\. ?")
_COMMA = re.compile(r" ?,[ \t\xa0]{0,4}\n?[ \t]{0,4}")
_SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa", "æ": "ae", "œ": "oe", "ł": "l"})
_PARTICLES = frozenset("von van der den de del della di da dos du la le zu zum zur ter ten bin ibn al el".split())
_LONGEST_LINE = 200


@dataclass(frozen=True, slots=True)
class _Pattern:
    """Folded words of a name; before the word at ``comma`` stands a comma (0: nowhere)."""

    words: tuple[str, ...]
    comma: int = 0


@dataclass(frozen=True, slots=True)
class Names:
    """A list made ready by :func:`names_of`.

    A name of several parts is found in any case, and with the family name first and a comma. A name of one part is
    found only with a capital, since many a name is a word ("Mark", "Rose"). Either may end in 's, which stays, or in a
    genitive s. Umlauts may be spelt out (Müller, Mueller) and accents left out.
    """

    by_first: Mapping[str, tuple[_Pattern, ...]]

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """(start, end) of each name in the text, in order, none within another; the longest name counts."""
        if not self.by_first:
            return
        places = [match.span() for match in _TOKEN.finditer(text)]
        words = [_folded(text[start:end]) for start, end in places]
        at = 0
        while at < len(places):
            length = self._length(text, places, words, at)
            if length:
                yield places[at][0], places[at + length - 1][1]
            at += length or 1

    def _length(self, text: str, places: list[tuple[int, int]], words: list[str], at: int) -> int:
        patterns = self.by_first.get(words[at], ())
        if words[at].endswith("s"):  # a name of one part in the genitive
            patterns = (*patterns, *(p for p in self.by_first.get(words[at][:-1], ()) if len(p.words) == 1))
        return next((len(p.words) for p in patterns if _stands(p, text, places, words, at)), 0)


def _stands(pattern: _Pattern, text: str, places: list[tuple[int, int]], words: list[str], at: int) -> bool:
    size = len(pattern.words)
    found = tuple(words[at : at + size])
    if found[:-1] != pattern.words[:-1] or found[-1] not in (pattern.words[-1], f"{pattern.words[-1]}s"):
        return False
    if size == 1:
        return not text[places[at][0]].islower()
    return all(
        (_COMMA if n == pattern.comma else _BETWEEN).fullmatch(text, places[at + n - 1][1], places[at + n][0])
        for n in range(1, size)
    )


def _folded(word: str) -> str:
    if word.isascii():
        return word.lower()
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFC", word[:100]).casefold().translate(_SPELT_OUT))
    return "".join(c for c in plain if not unicodedata.combining(c))


def names_of(names: Iterable[str]) -> Names:
    """Make a list ready; "Family, Given" in it is the same as "Given Family"."""
    found: dict[str, dict[_Pattern, None]] = {}
    for name in names:
        family, comma, given = name.partition(",")
        parts = [*given.split(), *family.split()] if comma else name.split()
        first = next((n for n, part in enumerate(parts[1:], 1) if part in _PARTICLES), len(parts) - 1)
        before, after = (_words(" ".join(each)) for each in (parts[:first], parts[first:]))
        patterns = [_Pattern((*before, *after))]
        if before and after:
            patterns.append(_Pattern((*after, *before), len(after)))
        for pattern in patterns:
            if sum(map(len, pattern.words)) > 1:
                found.setdefault(pattern.words[0], {})[pattern] = None
    return Names({first: tuple(sorted(each, key=lambda p: -len(p.words))) for first, each in found.items()})


def _words(text: str) -> tuple[str, ...]:
    return tuple(_folded(match[0]) for match in _TOKEN.finditer(text))


def read_names(path: Path) -> tuple[str, ...]:
    """The names in a file, one a line; blank lines and those that begin with # are left out.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or holds no name or an overlong line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 (byte {error.start})", expected="one name a line", next_step="save it as UTF-8"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}", expected="a file with one name a line",
            next_step="check `ingest: names:` in groundtune.yaml",
        ) from None  # fmt: skip
    names: list[str] = []
    for number, line in enumerate(lines, start=1):
        name = " ".join(line.split())
        if not name or name[0] == "#":
            continue
        if len(name) > _LONGEST_LINE or not names_of([name]).by_first:
            raise InputError(f"{path}:{number}: {name[:20]!r} is no name",
                             expected="one name a line, of two letters and more",
                             next_step="correct the line, or put # before it")  # fmt: skip
        names.append(name)
    if not names:
        raise InputError(f"{path}: holds no name", expected="one name a line")
    return tuple(names)
