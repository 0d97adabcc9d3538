"""The example's claims: true or false by the passages of a fact, or not in the documents; read, checked, divided.

That a fact's passages stand in their documents is checked with the facts (``build.py``); here, that each claim that is
true or false has such a fact, that its numbers are (or are not all) the passage's, and that nothing is said twice.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from questions import Fact, overlap

#: in claims.yaml -> in claims.jsonl, the words of the published lesson
LABELS = {"true": "True", "false": "False", "nee": "NEE"}
#: share of facts, and of claims without one, on which thresholds are chosen
TRAIN_SHARE = 0.2
_NUMBER = re.compile(r"\d[\d,.:]*\d|\d")
_WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()


@dataclass(frozen=True, slots=True)
class Claim:
    id: str
    text: str
    label: str
    fact: str


def read_claims(path: Path) -> list[Claim]:
    """The claims in the file's order, with ids of their own."""
    rows: list[dict[str, str]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    seen: Counter[str] = Counter()
    out = []
    for row in rows:
        about = row.get("fact", "n")
        seen[about] += 1
        out.append(Claim(f"claim-{about}-{seen[about]}", row["text"], row["label"], row.get("fact", "")))
    return out


def check_claims(claims: list[Claim], facts: list[Fact]) -> Iterator[tuple[str, list[str], str]]:
    """(name of the check, what is wrong, note)."""
    by_id = {fact.id: fact for fact in facts}
    labels = Counter(claim.label for claim in claims)
    rows = list(claim_rows([c for c in claims if not c.fact or c.fact in by_id], facts))
    tested = Counter(row["label"] for row in rows if row["split"] == "test")
    yield "claims: 150 to test on, about a third of each label", [
        *(f"label {label!r}" for label in labels if label not in LABELS),
        *(f"{label}: {n} of {tested.total()}" for label, n in tested.items() if not 0.3 <= n / tested.total() <= 0.37),
        *([] if tested.total() >= 150 else [f"{tested.total()} instead of 150"]),
    ], str(dict(tested))  # fmt: skip
    yield "claims: true and false ones name a fact, others none", [
        c.id for c in claims if (c.fact not in by_id if c.label != "nee" else bool(c.fact))
    ], ""  # fmt: skip
    known = [c for c in claims if c.fact in by_id]
    strange = {c.id: _numbers(c.text) - _numbers(" ".join(_texts(by_id[c.fact]))) for c in known}
    yield "claims: true ones hold no number that their passages and questions do not", [
        f"{c.id}: {sorted(strange[c.id])}" for c in known if c.label == "true" and strange[c.id]
    ], ""  # fmt: skip
    yield "claims: false ones do not hold their fact's answer", [
        f"{c.id}: {by_id[c.fact].references[0]!r}"
        for c in known
        if c.label == "false" and by_id[c.fact].references[0].lower() in c.text.lower() and len(known) and not strange[c.id]
        and _same_words(c.text, by_id[c.fact].passages)
    ], ""  # fmt: skip
    twice = [c.text for c in claims if [d.text.lower() for d in claims].count(c.text.lower()) > 1]
    near = [
        f"{a.id}, {b.id}"
        for n, a in enumerate(claims)
        for b in claims[:n]
        if a.label == b.label and overlap(a.text, b.text) >= 0.75
    ]
    yield "claims: none twice, no near copies of one label", [*twice, *near], f"{len(claims)} claims"


def claim_rows(claims: Iterable[Claim], facts: list[Fact]) -> Iterator[dict[str, Any]]:
    """The lines of claims.jsonl; all claims of a fact are on the same side."""
    by_id = {fact.id: fact for fact in facts}
    for claim in claims:
        passages = [asdict(p) for p in by_id[claim.fact].passages] if claim.fact else []
        digest = hashlib.sha256(f"claims {claim.fact or claim.id}".encode()).digest()
        split = "train" if int.from_bytes(digest[:4]) < TRAIN_SHARE * 2**32 else "test"
        yield {
            "id": claim.id, "claim": claim.text, "label": LABELS.get(claim.label, claim.label),
            "split": split, "fact": claim.fact, "passages": passages,
        }  # fmt: skip


def _texts(fact: Fact) -> list[str]:
    return [*(p.text for p in fact.passages), *(p.document for p in fact.passages), *fact.questions]


def _numbers(text: str) -> set[str]:
    """Numbers in digits; those up to fifteen in words count as digits."""
    words = {str(n) for n, word in enumerate(_WORDS, 1) if re.search(rf"\b{word}\b", text, re.IGNORECASE)}
    return {n.strip(".,:") for n in _NUMBER.findall(text)} | words


def _same_words(text: str, passages: Iterable[Any]) -> bool:
    """Whether a claim says nothing that its passages do not: then it cannot be false."""
    said = set(re.findall(r"\w+", " ".join(p.text for p in passages).lower()))
    return set(re.findall(r"\w+", text.lower())) <= said
