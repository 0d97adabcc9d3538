"""A verdict without a language model: the nearest sentence is read, and numbers, names, negations and opposites compared.

The stupid judge first: it cannot reason, and whatever judges with a model has to beat it. Of all sentences of the evidence
the one that shares most words with the claim, in the nearest passage, of the newest document, is read. Does it speak of
what the claim speaks of? If not: NEE. Does it contradict, by another number, a missing name, a negation or an opposite?
False. Otherwise True where it holds nearly all of the claim's words. Thresholds were chosen on the example's training
claims (``python tools/claims_results.py``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from groundtune.dataset.reading import sentences
from groundtune.evaluation.claims import Evidence
from groundtune.retrieval.claim_words import words_of
from groundtune.retrieval.support import Claim, features

_OPPOSITES = (
    ("inside", "outside"), ("raised", "lowered"), ("raise", "lower"), ("paid", "unpaid"), ("open", "closed"),
    ("opened", "closed"), ("always", "never"), ("allowed", "forbidden"), ("allowed", "prohibited"), ("allowed", "penalty"),
    ("first", "last"), ("more", "less"), ("upper", "lower"), ("included", "excluded"), ("earlier", "later"), ("new", "second-hand"),
    ("new", "used"), ("increased", "decreased"), ("rose", "fell"), ("won", "lost"), ("bought", "sold"), ("morning", "evening"),
    ("arrive", "leave"), ("every", "only"), ("ever", "deleted"), ("public", "private"), ("early", "late"), ("minimum", "maximum"),
    ("above", "below"), ("accepted", "refused"), ("compulsory", "voluntary"), ("hot", "cold"), ("with", "without"), ("kept", "deleted"),
    ("permanent", "temporary"), ("indoors", "outdoors"), ("weekdays", "weekends"), ("same", "different"), ("interest", "interest-free"),
)  # fmt: skip
OPPOSITES = frozenset(pair for a, b in _OPPOSITES for pair in ((a, b), (b, a)))
#: words that say that nothing is paid; a sum of money contradicts them
_FREE = re.compile(r"\bfree\b(?!-)|\bno charge\b|\bwithout charge\b", re.IGNORECASE)
_SUM = re.compile(r"\d[\d.,]* (?:crowns|euros?|dollars|pounds|percent|per cent)\b|[$€£]\s?\d", re.IGNORECASE)
#: what is set aside: "larch shingles instead of slate", "and never to Port Ellery"
_SET_ASIDE = re.compile(r"\b(?:instead of|rather than|never to|not to|except on|except)\b\s+([^,.;]+)", re.IGNORECASE)
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
#: mean of the two from which a sentence speaks of what the claim speaks of: the share of the claim's words that stand in
#: it or in its document's name, and the cosine of claim and passage
ABOUT = 0.6
#: share of the claim's words from which a claim that nothing contradicts is true; below, something else is said: false
HELD = 0.6
#: what a sentence of an older document loses against one of the newest
OLDER = 0.15


@dataclass(frozen=True, slots=True)
class Reading:
    """A sentence read beside a claim.

    Attributes:
        sentence: its text.
        held: share of the claim's words, numbers left out, in the sentence or its document's name, 0 to 1.
        alike: cosine of the claim and the nearest sentence of the passage.
        contradicts: why it does: number, name, denied, year, opposite, free or set aside; empty where it does not.
    """

    sentence: str
    held: float
    alike: float
    contradicts: str


class RuleVerdict:
    """The rule; see the module's head."""

    name = "rule"

    def judge(self, claims: Sequence[str], evidence: Sequence[Sequence[Evidence]] | None) -> list[tuple[str, bool]]:
        """(label, True) of each claim; without evidence NEE: the rule knows nothing by heart."""
        if evidence is None:
            return [("NEE", True)] * len(claims)
        return [(verdict(read(c, found)), True) for c, found in zip(claims, evidence, strict=True)]


def verdict(reading: Reading | None) -> str:
    """True, False or NEE."""
    if reading is None or (reading.held + reading.alike) / 2 < ABOUT:
        return "NEE"
    return "False" if reading.contradicts or reading.held < HELD else "True"


def read(claim: str, evidence: Sequence[Evidence]) -> Reading | None:
    """The sentence of the evidence that speaks most about what the claim speaks of; None where there is none."""
    newest = max((_year(e.document) for e in evidence), default="")
    asked = set(_YEAR.findall(claim))
    best: tuple[float, Evidence, str, float] | None = None
    for found in evidence:
        year = _year(found.document)
        older = OLDER if year and (year not in asked if asked else year < newest) else 0.0
        for sentence in sentences(found.text):
            held = _held(claim, sentence, found.document)
            score = held + (1.0 - found.distance) - older
            if best is None or score > best[0]:
                best = (score, found, sentence, held)
    if best is None:
        return None
    _, found, sentence, held = best
    return Reading(sentence, held, 1.0 - found.distance, contradiction(claim, sentence, found.document))


def contradiction(claim: str, sentence: str, document: str = "") -> str:
    """Why a sentence about the same contradicts a claim; empty where it does not."""
    found = features(Claim(claim, sentence, place=_words(document)))
    for name in ("number", "name", "denied", "year"):
        if found[name] >= 0.5:
            return name
    said, there = ({w.lower() for w in re.findall(r"[\w-]+", text)} for text in (claim, sentence))
    if any((a, b) in OPPOSITES and b not in said and a not in there for a in said for b in there):
        return "opposite"
    if _FREE.search(claim) and _SUM.search(sentence) and not _FREE.search(sentence):
        return "free"
    new = words_of(claim).stems & words_of(" ".join(_SET_ASIDE.findall(sentence)).lower()).stems
    return "set aside" if new and not _SET_ASIDE.search(claim) else ""


def _held(claim: str, sentence: str, document: str) -> float:
    said = words_of(claim).stems
    there = words_of(sentence).stems | words_of(_words(document)).stems
    return len(said & there) / len(said) if said else 0.0


def _words(document: str) -> str:
    return re.sub(r"[-_./]", " ", document.rpartition(".")[0])


def _year(document: str) -> str:
    return max(_YEAR.findall(document), default="")
