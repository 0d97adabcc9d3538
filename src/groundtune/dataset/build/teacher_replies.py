"""What a teacher wrote: reading its JSON however it is wrapped, and checking each pair against the passage.

Leaves out asking; a reply is a text.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from groundtune.dataset.build.templates import whole_sentences
from groundtune.dataset.reading import STOP_WORDS

_OPENING = re.compile(r"[\[{]")
#: brackets of a reply that are tried as the beginning of JSON
_MAX_STARTS = 500
MAX_ANSWER_WORDS = 20
MAX_QUESTION_WORDS = 60
_QUESTION = ("question", "q", "Question", "frage")
_OTHER = ("other_wording", "rephrased", "paraphrase", "other", "question2")
_ANSWER = ("answer", "a", "Answer", "short_answer", "antwort")
_QUOTE = ("quote", "evidence", "support", "supporting_quote", "sentence", "zitat")
_POINTING = re.compile(
    r"\b(?:the|this|that|given|above) (?:passage|text|excerpt|paragraph|document|section|quote|context)\b"
    r"|\baccording to (?:the|this) (?:passage|text|document)|\bmentioned (?:above|here)\b",
    re.IGNORECASE,
)
_SAME = str.maketrans(
    {
        "‘": "'",
        "’": "'",
        "“": '"',
        "”": '"',
        "„": '"',
        "«": '"',
        "»": '"',
        "–": "-",
        "—": "-",
        "‑": "-",
        "−": "-",
        "\u00ad": None,
    }
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A supported question: its phrasings, its answer, and the sentences of the passage that hold the quote."""

    questions: tuple[str, ...]
    answer: str
    passage: str


@dataclass(frozen=True, slots=True)
class Reject:
    """A pair, or a whole reply, that was not taken."""

    place: str
    reason: str
    question: str = ""
    answer: str = ""
    quote: str = ""


def check_reply(reply: str, passage: str, *, place: str) -> tuple[list[Pair], list[Reject]]:
    """The supported pairs of a reply about a passage, and the others with the reason."""
    pairs: list[Pair] = []
    rejects: list[Reject] = []
    found = list(pairs_in(reply))
    if not found and not re.search(r"\[\s*\]", reply):
        shown = " ".join(reply.split())[:200]
        rejects.append(Reject(place, "no JSON with questions in the reply", question=shown))
    for row in found:
        question, answer, quote = (_first(row, keys) for keys in (_QUESTION, _ANSWER, _QUOTE))
        other = _first(row, _OTHER)
        checked = _checked(question, answer, quote, passage)
        if isinstance(checked, str):
            rejects.append(Reject(place, checked, question, answer, quote))
            continue
        wordings = [question, other] if other and not _fault_of_question(other) else [question]
        pairs.append(Pair(tuple(dict.fromkeys(wordings)), answer.rstrip(" ."), checked[0]))
    return pairs, rejects


def pairs_in(reply: str) -> Iterator[dict[str, Any]]:
    """Every object with a question in a reply: in a list, in an object, in a fence, between words, or cut short."""
    decoder = json.JSONDecoder(strict=False)
    at = 0
    for _ in range(_MAX_STARTS):
        start = _OPENING.search(reply, at)
        if start is None:
            return
        try:
            value, at = decoder.raw_decode(reply, start.start())
        except (ValueError, RecursionError):
            at = start.end()
            continue
        yield from _with_questions(value, 0)


def _with_questions(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth > 6:
        return
    if isinstance(value, dict):
        if _first(value, _QUESTION):
            yield value
            return
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _with_questions(part, depth + 1)


def _first(row: dict[str, Any], keys: tuple[str, ...]) -> str:
    for key in keys:
        value = row.get(key)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return " ".join(str(value).split())
    return ""


def _fault_of_question(question: str) -> str:
    if len(question.split()) < 3 or len(question.split()) > MAX_QUESTION_WORDS:
        return "the question has too few or too many words"
    return "the question points to the passage" if _POINTING.search(question) else ""


def _checked(question: str, answer: str, quote: str, passage: str) -> tuple[str] | str:
    """The passage's sentences that hold the quote, or the reason why the pair is not taken."""
    if fault := _fault_of_question(question):
        return fault
    if not answer or len(answer.split()) > MAX_ANSWER_WORDS:
        return "no answer" if not answer else "the answer is long"
    if not quote:
        return "no quote"
    said = normalised_words(quote)
    if not said or f" {' '.join(said)} " not in f" {' '.join(normalised_words(passage))} ":
        return "the quote is not in the passage"
    words = normalised_words(answer)
    telling = [w for w in words if w not in STOP_WORDS] or words
    if not telling or not set(telling) <= set(said):
        return "the answer is not in the quote"
    if f" {' '.join(words)} " in f" {' '.join(normalised_words(question))} ":
        return "the question tells the answer"
    found = _sentences_with(said, passage)
    return (found,) if found else "the quote is not in the passage"


def normalised_words(text: str) -> list[str]:
    """Words in lower case without punctuation at their edges; quotation marks, dashes and widths made the same."""
    same = unicodedata.normalize("NFKC", text).translate(_SAME).casefold()
    return [w for raw in same.split() if (w := raw.strip("\"'.,;:!?()[]{}|*_`-"))]


def _sentences_with(said: list[str], passage: str) -> str:
    """The fewest whole sentences in a row that hold the words, as they stand in the passage; "" where none do."""
    spans = []
    at = 0
    for sentence in whole_sentences(passage):
        start = passage.find(sentence, at)
        if start < 0:
            continue
        at = start + len(sentence)
        spans.append((start, at))
    wanted = f" {' '.join(said)} "
    for count in range(1, len(spans) + 1):
        for first in range(len(spans) - count + 1):
            text = passage[spans[first][0] : spans[first + count - 1][1]]
            if wanted in f" {' '.join(normalised_words(text))} ":
                return text
    return ""
