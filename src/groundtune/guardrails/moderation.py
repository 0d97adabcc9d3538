"""Is a text harmful, by OpenAI's thirteen categories: word and phrase lists (``moderation_words.toml``), no trained model.

Spelling is evened out before the lists are applied: case, accents, look-alike letters, digits and signs in the place of
letters (``k1ll``), letters with something between them (``k i l l``, ``k.i.l.l``), drawn-out letters (``killlll``).

What such lists cannot see: what is not said in their words, other languages than English, pictures, who speaks to whom,
irony. They do not see a negation or a quotation either: "never kill yourself" and a news report are scored as if they were
meant. The scores order texts by number and weight of hits; they are no probabilities. Where a wrong answer does harm, let
somebody look, or name a model that was trained for this in ``serve.aliases``.
"""

from __future__ import annotations

import codecs
import re
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

#: OpenAI's categories, in the order of its answers
CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/intent", "self-harm/instructions", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
#: so many hits of one pattern count
_COUNTED = 3
#: words that ``..`` stands for, at most
_GAP = r"(?:\S+ ){0,4}"
_LOOKS_LIKE = str.maketrans("аеорсухіјѕԁһӏαεορτυνκι", "aeopcyxijsdhlaeoptuvki")
_LEET = [str.maketrans("013457@$€", letters) for letters in ("oieastase", "oleastase")]  # 1 is an i or an l
_LEET_I = re.compile(r"[!|](?=\w)")
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
_APART = re.compile(r"(?<![^\W_])(?:[^\W\d_]([ ._*\-~])(?:[^\W\d_]\1)+[^\W\d_])(?![^\W_])")
_DRAWN = re.compile(r"([a-z])\1{2,}")
_APOSTROPHES = re.compile(r"(?<=\w)['’`´](?=\w)")
_OTHER = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in a text.

    Attributes:
        scores: 0 to 1, of each category.
        flags: whether the score reaches the category's threshold.
    """

    scores: dict[str, float]
    flags: dict[str, bool]


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One line of the lists.

    Attributes:
        weight: how sure one hit makes us.
        hit: on a text of words that each have one space behind them.
        squeezed: the same with all spaces taken out, for letters that stood apart; none for a single word, which the
            letters then are, too.
        needs: of each of these sets a text must have a word; what has none need not be searched.
    """

    weight: float
    hit: re.Pattern[str]
    squeezed: re.Pattern[str] | None
    needs: tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True)
class _Category:
    threshold: float
    patterns: tuple[_Pattern, ...]


def moderate(text: str) -> Verdict:
    """Score a text in every category; a part of a category, such as ``hate/threatening``, counts for the whole, too."""
    readings = list(_readings(text))
    scores = {name: _score(category, readings) for name, category in _lists().items()}
    for name in CATEGORIES:
        whole, _, part = name.partition("/")
        if part:
            scores[whole] = max(scores[whole], scores[name])
    flags = {name: scores[name] >= _lists()[name].threshold for name in CATEGORIES}
    return Verdict({name: scores[name] for name in CATEGORIES}, flags)


def _score(category: _Category, readings: list[tuple[str, frozenset[str]]]) -> float:
    missed = 1.0
    for pattern in category.patterns:
        hits = 0
        for reading, words in readings:
            if not words:
                found = pattern.squeezed.finditer(reading) if pattern.squeezed else iter(())
            elif all(need & words for need in pattern.needs):
                found = pattern.hit.finditer(reading)
            else:
                continue
            hits = max(hits, sum(1 for _, _ in zip(range(_COUNTED), found, strict=False)))
        missed *= prod([1 - pattern.weight] + [1 - pattern.weight / 2] * (hits - 1)) if hits else 1
    return round(1 - missed, 6)


# ---------------------------------------------------------------- spelling


def _readings(text: str) -> Iterator[tuple[str, frozenset[str]]]:
    """The ways to read a text, each as words with a space behind them, and the set of them; letters that stood apart and
    are put together come last, without a set."""
    plain = unicodedata.normalize("NFKD", _INVISIBLE.sub("", text)).casefold()
    plain = "".join(c for c in plain if not unicodedata.combining(c)).translate(_LOOKS_LIKE)
    plain = _APOSTROPHES.sub("", plain)
    seen = set()
    versions = (plain, *(_LEET_I.sub("i", plain).translate(letters) for letters in _LEET))
    for version in versions:
        together = _APART.sub(lambda m: m[0].replace(m[1], ""), version)
        for drawn in (together, _DRAWN.sub(r"\1", together), _DRAWN.sub(r"\1\1", together)):
            words = " ".join(_OTHER.sub(" ", drawn).split()) + " "
            if words not in seen:
                seen.add(words)
                yield words, frozenset(words.split())
    for run in {m[0] for version in versions for m in _APART.finditer(version)}:
        yield _OTHER.sub("", run), frozenset()


# ---------------------------------------------------------------- the lists


@cache
def _lists() -> dict[str, _Category]:
    given = tomllib.loads((Path(__file__).parent / "moderation_words.toml").read_text(encoding="utf-8"))
    veiled = {name: codecs.decode(words, "rot13") for name, words in given["veiled"].items()}
    classes = {**given["classes"], **veiled}
    return {
        name: _Category(category["threshold"], tuple(_pattern(w, p, classes) for w, p in category["patterns"]))
        for name, category in given["categories"].items()
    }


def _pattern(weight: float, elements: str, classes: dict[str, str]) -> _Pattern:
    spaced, needs, squeezed = "", [], ""
    for element in elements.split():
        if element == "..":
            spaced += _GAP
            continue
        optional = element.endswith("?")
        words = [w for part in _choices(element.rstrip("?")) for w in _members(part, classes)]
        spaced += f"(?:(?:{'|'.join(words)}) )" + ("?" if optional else "")
        squeezed += f"(?:{'|'.join(w.replace(' ', '') for w in words)})" + ("?" if optional else "")
        if not optional and not any("[" in w for w in words):
            needs.append(frozenset(w.split()[0] for w in words))
    short = len(needs) < 2 or ".." in elements
    return _Pattern(weight, re.compile(rf"(?<!\S){spaced}"), None if short else re.compile(squeezed), tuple(needs))


def _choices(element: str) -> list[str]:
    return element.split("|")


def _members(part: str, classes: dict[str, str]) -> list[str]:
    return classes[part[1:-1]].split("|") if part.startswith("{") else [part]


def shown(verdict: Verdict) -> dict[str, Any]:
    """A verdict as one of the ``results`` of OpenAI's Moderations API; only text is ever looked at."""
    return {
        "flagged": any(verdict.flags.values()),
        "categories": verdict.flags,
        "category_scores": verdict.scores,
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
    }
