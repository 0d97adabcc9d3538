"""How well a passage supports a statement, from 0 to 1: what an answer is cited with, marked by, and judged by.

A statement is a sentence of an answer, or a short answer such as "27 days", which means nothing without its question. The
score is a logistic regression over what can be read off the words, plus the likeness of question and statement to the
passage; it is the claim that natural language inference makes in ALCE (Gao et al., "Enabling Large Language Models to
Generate Text with Citations", EMNLP 2023) and in AIS (Rashkin et al., "Measuring Attribution in Natural Language
Generation Models", Computational Linguistics 2023), without a model of 11 billion parameters. What a bag of words and a
sentence encoder both miss is looked at by itself: numbers are equal or not (27 is not 24, 27 days is not 27 weeks), a
name stands there or not, and what one side denies the other must not say (scope of negation as in NegEx, Chapman et al.
2001). Weights come from the example's training questions with altered and wrong passages as counter-examples
(``tools/sources_results.py calibrate``); held-out questions had no part in it. Leaves out reasoning: a sum, a conclusion,
a synonym that the encoder does not know count as unsupported.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from groundtune.dataset.reading import sentences
from groundtune.retrieval.claim_words import Words, language_of, words_of

#: texts -> unit vectors, shape (len(texts), dimensions)
Embed = Callable[[Sequence[str]], Any]

#: weight of each feature (:func:`features`, :func:`with_likeness`) and the constant; printed by ``calibrate``
WEIGHTS = {
    "held": 2.03,
    "new_held": 4.02,
    "number": -6.79,
    "name": -5.74,
    "denied": -6.42,
    "year": -3.82,
    "brief": 0.64,
    "brief_asked": 6.62,
    "likeness": 7.53,
    "constant": -7.67,
}
#: the same without an embedder
WEIGHTS_WORDS = {
    "held": 2.99,
    "new_held": 4.10,
    "asked": 0.36,
    "number": -5.28,
    "name": -5.52,
    "denied": -5.41,
    "year": -3.72,
    "brief": -1.87,
    "brief_asked": 6.96,
    "constant": -4.00,
}
#: a score from which a passage counts as support, the default of ``answer.support``: in folds over the training facts 94 %
#: of the right passages have it and 3 % of the wrong ones, most of these with the very words of the answer in another context
THRESHOLD = 0.7
#: below this by words alone a passage is not embedded: its score is the one by words
WORTH_EMBEDDING = 0.01

#: answers that say what the question asks, or its contrary
_POLAR = ("yes", "no", "ja", "nein")
_YEAR = re.compile(r"(?:19|20)\d\d")


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement beside a passage that may support it.

    Attributes:
        statement: a sentence of an answer, or a short answer.
        passage: a sentence, or a few.
        question: what the statement answers; empty where there is none.
        place: the passage's document name and headings: "staff handbook 2026 > Annual leave".
    """

    statement: str
    passage: str
    question: str = ""
    place: str = ""


def support(statement: str, passage: str, *, question: str = "", place: str = "", embed: Embed | None = None) -> float:
    """How well a passage supports a statement, 0 to 1; see :func:`support_scores`."""
    return support_scores([Claim(statement, passage, question, place)], embed)[0]


def support_scores(claims: Sequence[Claim], embed: Embed | None = None) -> list[float]:
    """The support of many claims, each 0 to 1, in their order.

    A passage of several sentences counts as its best sentence, or its best two in a row.

    Args:
        claims: what to score.
        embed: the index's embedder; without one the score rests on the words alone.
    """
    parts = [(n, part) for n, claim in enumerate(claims) for part in _windows(claim)]
    rows = [features(part) for _, part in parts]
    scores = [_logistic(row, WEIGHTS_WORDS) for row in rows]
    if embed is not None:
        near = [i for i, score in enumerate(scores) if score >= WORTH_EMBEDDING]
        seen = with_likeness([parts[i][1] for i in near], [rows[i] for i in near], embed)
        for i, row in zip(near, seen, strict=True):
            scores[i] = _logistic(row, WEIGHTS)
    best = [0.0] * len(claims)
    for (n, _), score in zip(parts, scores, strict=True):
        best[n] = max(best[n], score)
    return best


def with_likeness(claims: Sequence[Claim], rows: Sequence[dict[str, float]], embed: Embed) -> list[dict[str, float]]:
    """The features of claims with what an embedder sees.

    ``likeness``: cosine of question and statement to the passage behind its place; ``brief_asked``: that of the question
    alone, as far as the statement is brief.
    """
    if not claims:
        return []
    texts = [
        (f"{c.question} {c.statement}".strip(), c.question or c.statement, f"{c.place}: {c.passage}".removeprefix(": "))
        for c in claims
    ]
    unique = list(dict.fromkeys(text for parts in texts for text in parts))
    vectors = embed(unique)
    at = {text: n for n, text in enumerate(unique)}
    found = []
    for row, (said, asked, passage) in zip(rows, texts, strict=True):
        to_said, to_asked = (float(vectors[at[text]] @ vectors[at[passage]]) for text in (said, asked))
        found.append({**row, "likeness": to_said, "brief_asked": row["brief"] * to_asked})
    return found


def features(claim: Claim) -> dict[str, float]:
    """What can be read off the words; each from 0 to 1, but for ``denied``.

    ``held``: share of the statement's words and numbers in the passage, what the question does not say counting most;
    ``new_held``: the same of what the question does not say; ``asked``: share of the question's in passage or place;
    ``number``: a number of the statement is not there, or with another unit, half where the question brought it up;
    ``name``: a new name is not there, half to one by the share of them; ``denied``: one side denies what the other says (2
    where the answer is a bare yes or no); ``year``: statement or question are about another year; ``brief``: 1 / (1 + words
    that the question does not say); ``brief_asked``: ``brief`` times ``asked``.
    """
    language = language_of(claim.statement, claim.question, claim.passage)
    texts = (claim.statement, claim.question, claim.passage, claim.place)
    statement, question, passage, place = (words_of(text, language) for text in texts)
    answer = claim.statement.strip(" .!").lower()
    said = question if answer in _POLAR else statement
    held = {s for s in said.stems if s in passage.stems}
    around = held | (said.stems & place.stems)
    numbers = {n: _number_held(n, said, passage) for n in said.numbers}
    wrong = [n for n, there in numbers.items() if not there and n not in place.numbers]
    repeated = answer not in _POLAR and all(n in question.numbers for n in wrong)
    new = (said.stems - question.stems) | {n for n in said.numbers if n not in question.numbers}
    found = around | {n for n in numbers if n not in wrong}
    every = said.stems | set(said.numbers)
    weights = {term: (3.0 if term in said.numbers else 2.0 if term in said.names else 1.0) * (1.0 if term in new else 0.3) for term in every}  # fmt: skip
    total = sum(weights.values())
    new_names = said.names & new
    asked = question.stems | set(question.numbers)
    here = passage.stems | place.stems | set(passage.numbers) | set(place.numbers)
    share_asked = len(asked & here) / len(asked) if asked else 1.0
    brief = 1.0 / (1 + max(1, len(new)))
    return {
        "held": sum(w for t, w in weights.items() if t in found) / total if total else 0.0,
        "new_held": len(new & found) / len(new) if new else float(bool(total)),
        "asked": share_asked,
        "number": (0.5 if repeated else 1.0) if wrong else 0.0,
        "name": 0.5 + 0.5 * len(new_names - around) / len(new_names) if new_names - around else 0.0,
        "denied": _denies(said, passage, answer) * (2.0 if answer in _POLAR else 1.0),
        "year": _other_year(statement, question, passage, place),
        "brief": brief,
        "brief_asked": brief * share_asked,
    }


def _number_held(number: str, said: Words, passage: Words) -> bool:
    units, there = said.numbers[number], passage.numbers.get(number)
    return there is not None and (not units or not there or bool(units & there))


def _denies(said: Words, passage: Words, answer: str) -> float:
    if answer in ("no", "nein"):
        return float(not said.stems & passage.denied)
    shared = said.stems & passage.stems
    return float(bool(shared & (said.denied ^ passage.denied)))


def _other_year(statement: Words, question: Words, passage: Words, place: Words) -> float:
    asked = {n for n in (*statement.numbers, *question.numbers) if _YEAR.fullmatch(n)}
    here = {n for n in (*passage.numbers, *place.numbers) if _YEAR.fullmatch(n)}
    return float(bool(asked and here and not asked & here))


def _windows(claim: Claim) -> list[Claim]:
    """The claim beside each sentence of its passage, and beside each two in a row."""
    parts = sentences(claim.passage)
    if len(parts) < 2:
        return [claim]
    texts = [*parts, *(f"{a} {b}" for a, b in pairwise(parts))]
    return [Claim(claim.statement, text, claim.question, claim.place) for text in texts]


def _logistic(row: dict[str, float], weights: dict[str, float]) -> float:
    total = weights["constant"] + sum(weight * row[name] for name, weight in weights.items() if name != "constant")
    return 1.0 / (1.0 + math.exp(-total))
