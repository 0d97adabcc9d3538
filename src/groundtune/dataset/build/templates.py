"""What the extractive templates share: the fact they make, its place, and what makes a question sound.

A template turns one sentence, line or table row into questions whose answer is copied out of it. Templates prefer
leaving a fact out to asking badly: a question that fails :func:`sound` is not made. ``templates_sentences`` reads
running text, ``templates_lines`` lines such as "key: value", ``templates_tables`` tables and rows. Leaves out any
parser and any model; wording is English, tables also in German.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from groundtune.dataset.reading import sentences

MAX_ANSWER_WORDS = 18
MAX_QUESTION_WORDS = 36
_ABBREVIATION = re.compile(
    r"(?:\b(?:Dr|Mr|Mrs|Ms|Prof|St|No|Nos|Fig|Sec|Art|approx|ca|vs|cf|Inc|Ltd|Co|Tel|Ext|Abs|Nr|bzw|usw)"
    r"|\b(?:e\.g|i\.e|z\.B|a\.m|p\.m)|(?:^| )[A-Z])\.$"
)
#: says nothing: no answer is made of these
_EMPTY = frozenset(
    {"", "-", "--", "–", "—", "n/a", "na", "none", "nil", "null", "nan", "tbd", "?", "x", "keine", "k.a."}
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fact stands: numbers count from 1 within the document (section) and the section (sentence)."""

    document: str
    section: int
    sentence: int
    page: int | None = None
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact with the ways to ask for it.

    Attributes:
        questions: phrasings, the plainest first.
        answer: a literal span of ``passage``.
        passage: the sentence, line or row that answers, as it stands in the document; a table's row with its header.
        kind: ``definition``, ``person``, ``place``, ``time``, ``amount``, ``key_value``, ``table``.
        aspect: what is asked of the passage (a column, a rule's name), so that one row can hold many facts.
        place: where the passage stands.
        named_by: for a row of a long table: its pieces "header: value" that tell it from every other row.
    """

    questions: tuple[str, ...]
    answer: str
    passage: str
    kind: str
    aspect: str
    place: Place
    named_by: tuple[str, ...] = ()


def whole_sentences(text: str) -> Iterator[str]:
    """Sentences of a text; one that was cut after an abbreviation ("Dr.") is joined with the next."""
    kept = ""
    for sentence in sentences(text):
        joined = f"{kept} {sentence}" if kept else sentence
        if _ABBREVIATION.search(joined) and joined in text:
            kept = joined
            continue
        yield joined if joined in text else sentence
        kept = ""
    if kept:
        yield kept


def normalised(text: str) -> str:
    """Lower case, single spaces, no punctuation at the edges of words: what two equal questions share."""
    words = (word.strip("\"'.,;:!?()[]“”‘’„") for word in text.casefold().split())
    return " ".join(word for word in words if word)


def sound(fact: Fact) -> Fact | None:
    """The fact with those of its questions that are well-formed; None where nothing remains.

    The answer must stand literally in the passage, say something, and not be told by the question itself.
    """
    answer = fact.answer.strip()
    if (
        answer.casefold() in _EMPTY
        or answer not in fact.passage
        or len(answer.split()) > MAX_ANSWER_WORDS
        or not any(c.isalnum() for c in answer)
        or not balanced(answer)
    ):
        return None
    told = f" {normalised(answer)} "
    kept = [q for q in fact.questions if _well_formed(q) and told not in f" {normalised(q)} "]
    if not kept:
        return None
    return replace(fact, questions=tuple(dict.fromkeys(kept)), answer=answer)


def _well_formed(question: str) -> bool:
    words = question.split()
    return (
        3 <= len(words) <= MAX_QUESTION_WORDS
        and len(question) <= 300
        and question.endswith("?")
        and question.count("?") == 1
        and (question[0].isupper() or question[0] in '"“')
        and balanced(question)
        and "  " not in question
        and "\n" not in question
    )


def balanced(text: str) -> bool:
    """True where brackets and double quotes close."""
    return text.count("(") == text.count(")") and text.count("[") == text.count("]") and text.count('"') % 2 == 0


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What tells a name from a word that is written large because a sentence begins with it.

    Attributes:
        words: words that stand in lower case somewhere.
        names: words that stand with a capital after a word in lower case somewhere.
    """

    words: frozenset[str]
    names: frozenset[str]


def vocabulary(texts: Iterable[str], *, most: int = 200_000) -> Vocabulary:
    """The words and names of some texts; stops at ``most`` different ones."""
    words: set[str] = set()
    names: set[str] = set()
    for text in texts:
        if len(words) + len(names) >= most:
            break
        words.update(re.findall(r"(?<![\w.])[a-zäöüß][\w'-]*", text))
        names.update(re.findall(r"(?<=[a-zäöüß] )[A-ZÄÖÜ][\w'-]*", text))
    return Vocabulary(frozenset(words), frozenset(names))


_DETERMINERS = frozenset(
    "a an the each every all some any most both no one two three four five six seven eight".split()
)


def inside(subject: str, known: Vocabulary) -> str | None:
    """A sentence's subject as it is written inside a sentence: its first word in lower case unless it is a name.

    None where that cannot be told.
    """
    first, _, rest = subject.partition(" ")
    small = subject[0].lower() + subject[1:]
    if first.lower() in _DETERMINERS:
        return small
    first = first.rstrip(",")
    if first != first.capitalize() or rest[:1].isupper() or (first in known.names and first.lower() not in known.words):
        return subject
    if first.lower() in known.words:
        return small
    return small if re.search(r"(?:s|ed|ing)$", first) and (rest or first.endswith("s")) else None
