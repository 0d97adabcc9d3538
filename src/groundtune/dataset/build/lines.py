"""Questions from lines and sentences of the form "key: value", and from dated lines of a chronicle.

Leaves out lines whose key is a sentence or opens an enumeration, and values that go on after the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from groundtune.dataset.build.grammar import FINITE, MONTHS
from groundtune.dataset.build.templates import Fact, Place, balanced

_BULLET = re.compile(r"^(?:[-*•]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+")
_DATED = re.compile(rf"^((?:\d{{1,2}} )?(?:(?:{MONTHS}) )?(?:1[0-9]|20)\d\d): (\S.*)$")
_PAIR = re.compile(r"^([^\W\d_](?:[^:;?!.\"]|\.(?=\S)|:(?=\d)){1,59}): ([^:]|[^:\s](?:[^:]|:(?=\d))*[^:\s])$")
_NOT_A_KEY = frozenset(
    "for if when as in on at by to from with without and or but the a an this that these those it he she they we you i "
    "note example examples namely http https mailto subject re see nb p.s. ps warning tip caution important".split()
)
_CLAUSE = re.compile(
    r"\b(?:is|are|was|were|has|have|had|must|may|can|will|should|shall|"
    r"choose|chooses|among|between|following|follows?|means)\b",
    re.I,
)
#: numbers a heading, and says nothing of what is in it
_NUMBERED = re.compile(
    r"(?:chapter|section|part|article|appendix|annex|table|figure|fig\.|page|step|no\.?|"
    r"kapitel|abschnitt|teil) ?[\dIVX]+$|\d",
    re.I,
)
MAX_KEY_WORDS = 6
MAX_LINE_CHARACTERS = 400


def line_facts(line: str, place: Place, *, title: str, heading: str = "") -> Iterator[Fact]:
    """The fact of one line or sentence, if it has one of the two forms.

    Args:
        line: as it stands in the document, with its bullet.
        title: the document's, which the second phrasing names.
        heading: the nearest heading above, which the first phrasing names.
    """
    text = _BULLET.sub("", line.strip())
    if len(text) > MAX_LINE_CHARACTERS:
        return
    if dated := _DATED.match(text):
        yield from _event(dated[1], dated[2], text, place, title)
        return
    pair = _PAIR.match(text)
    if not pair or text == title:
        return
    key, value = pair[1].strip(), pair[2].strip().rstrip(".")
    words = key.split()
    if (
        len(words) > MAX_KEY_WORDS
        or words[0].lower() in _NOT_A_KEY
        or not key[0].isupper()
        or _CLAUSE.search(key)
        or FINITE.search(key)
        or _NUMBERED.match(key)
        or not 1 <= len(value.split()) <= 15
        or ". " in value
        or '"' in key
        or not balanced(key)
        or value.endswith((",", ";"))
    ):
        return
    above = f' in "{heading}"' if heading and heading != title and '"' not in heading else ""
    questions = [f'What is given under "{key}"{above}?']
    if title and '"' not in title:
        questions.append(f'What does "{title}" say under "{key}"?')
    yield Fact(tuple(questions), value, text, "key_value", f"key {key}", place)


def _event(date: str, rest: str, text: str, place: Place, title: str) -> Iterator[Fact]:
    end = re.search(r"[.!](?=\s|$)", rest)
    answer = rest[: end.start()] if end else rest
    if not 2 <= len(answer.split()) <= 18:
        return
    when = f"on {date}" if date[:2].strip().isdigit() and " " in date and not date[:3].isdigit() else f"in {date}"
    questions = [f"What happened {when}?"]
    if title and '"' not in title:
        questions.append(f'Which event does "{title}" record for {date}?')
    yield Fact(tuple(questions), answer, text, "time", f"event {date}", place)
