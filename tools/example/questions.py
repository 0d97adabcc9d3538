"""The example's facts and questions: how they are read, compared by their wording and divided into splits."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml
from nltk.stem import PorterStemmer

HELD_OUT_FACTS = 32
#: token Jaccard from which two questions are near copies of each other
NEAR_COPY = 0.6

#: function words: they say nothing about whether a question and a sentence share their wording
STOP_WORDS = frozenset(
    """
    a about above after again against all am an and another any anybody anyone anything are around as at be because
    been before being below between both but by can cannot could d did do does doing don down during each either
    else ever every everybody everyone for from further had has have having he her here hers him his how i if in
    into is it its itself just like ll m many may me might more most much must my myself no nobody nor not now of
    off on once one only onto or other our ours out over per please re s same shall she should since so some
    somebody someone something such t than that the their theirs them themselves then there these they this those
    through to too under until up upon us ve very was we were what whatever when where which while who whom whose
    why will with within without would yes yet you your yours
    """.split()
)
WORD = re.compile(r"[A-Za-z]+|\d+(?:[.,:]\d+)*")
_stem = cache(PorterStemmer().stem)


@dataclass(frozen=True, slots=True)
class Passage:
    document: str
    page: int | None
    text: str


@dataclass(slots=True)
class Fact:
    id: str
    part: str
    kind: str
    passages: list[Passage]
    references: list[str]
    questions: list[str]
    far: list[bool] = field(default_factory=list)


@dataclass(slots=True)
class Part:
    """What people wrote: one folder of ``source``."""

    name: str
    documents: list[Path]
    facts: list[Fact]
    unanswerable: list[str]


# --------------------------------------------------------------------------
# Reading


def read_facts(folder: Path) -> tuple[list[Fact], list[str]]:
    """The facts and the unanswerable questions of a folder's facts.yaml."""
    content: dict[str, Any] = yaml.safe_load((folder / "facts.yaml").read_text(encoding="utf-8"))
    facts = [
        Fact(
            id=row["id"],
            part=folder.name,
            kind=row["kind"],
            passages=[Passage(p["document"], p.get("page"), p["text"]) for p in row["passages"]],
            references=[str(r) for r in (row["answer"], *row.get("aliases", ()))],
            questions=[q if isinstance(q, str) else q["text"] for q in row["questions"]],
        )
        for row in content["facts"]
    ]
    return facts, list(content["unanswerable"])


def read_part(folder: Path) -> Part:
    """One part's documents, facts and unanswerable questions."""
    facts, unanswerable = read_facts(folder)
    for fact in facts:
        fact.far = [is_far(question, fact) for question in fact.questions]
    documents = sorted(p for p in folder.iterdir() if p.suffix in (".md", ".csv"))
    return Part(folder.name, documents, facts, unanswerable)


# --------------------------------------------------------------------------
# Wording


def content_words(text: str) -> list[str]:
    """The words as written, without stop words."""
    return [w for w in WORD.findall(text) if w.lower() not in STOP_WORDS]


def overlap(a: str, b: str) -> float:
    """Token Jaccard of two texts: stems, without stop words."""
    x, y = _stems(a), _stems(b)
    return len(x & y) / len(x | y) if x | y else 0.0


@cache
def _stems(text: str) -> frozenset[str]:
    return frozenset(_stem(w.lower()) for w in content_words(text))


def is_far(question: str, fact: Fact) -> bool:
    """README rule 2: no content word of the question but names shares its stem with the answering sentence."""
    capitalised = {w for p in fact.passages for w in WORD.findall(p.text) if w[0].isupper()}
    words = [w for w in content_words(question) if not w[0].isdigit() and w not in capitalised]
    return not {_stem(w.lower()) for w in words} & _stems(fact.passages[-1].text)


def opening(question: str) -> str:
    """The first four words."""
    return " ".join(re.findall(r"[\w'.:-]+", question.lower())[:4])


# --------------------------------------------------------------------------
# Splits


def same_side(facts: list[Fact]) -> list[list[Fact]]:
    """Facts that must fall on the same side: twins, shared passages, questions that are near copies of each other."""
    parent = {fact.id: fact.id for fact in facts}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for a, b in combinations(facts, 2):
        shared = {(p.document, p.text) for p in a.passages} & {(p.document, p.text) for p in b.passages}
        twins = "table" not in (a.kind, b.kind) and overlap(a.passages[-1].text, b.passages[-1].text) >= 0.5
        if shared or twins or any(overlap(x, y) >= NEAR_COPY for x in a.questions for y in b.questions):
            parent[root(b.id)] = root(a.id)
    groups: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        groups[root(fact.id)].append(fact)
    return list(groups.values())


def _order(name: str) -> str:
    return hashlib.sha256(f"groundtune example {name}".encode()).hexdigest()


def in_hash_order(names: list[str]) -> list[str]:
    """Names in an order that nobody chose, the same every time."""
    return sorted(names, key=_order)


def held_out_facts(facts: list[Fact]) -> set[str]:
    """The ids of about 32 facts, spread evenly over the parts and kinds, whole groups of ``same_side`` together."""
    cells_of = Counter((fact.part, fact.kind) for fact in facts)
    wanted = {cell: HELD_OUT_FACTS / len(facts) * count for cell, count in cells_of.items()}
    chosen: set[str] = set()
    for group in sorted(same_side(facts), key=lambda group: (-len(group), _order(group[0].id))):
        add = Counter((fact.part, fact.kind) for fact in group)
        if len(chosen) + len(group) <= HELD_OUT_FACTS and all(wanted[cell] >= n - 0.5 for cell, n in add.items()):
            chosen |= {fact.id for fact in group}
            for cell, n in add.items():
                wanted[cell] -= n
    return chosen


def held_out_phrasing(fact: Fact) -> int | None:
    """Which question of a trained fact is held out: the positions take turns, passing over near copies of the others."""
    count = len(fact.questions)
    start = int(fact.id[1:])
    for n in ((start + step) % count for step in range(count)):
        if all(overlap(fact.questions[n], fact.questions[m]) < NEAR_COPY for m in range(count) if m != n):
            return n
    return None


def rows(parts: list[Part], held: set[str]) -> Iterator[dict[str, Any]]:
    """The lines of questions.jsonl."""
    for part in parts:
        for fact in part.facts:
            phrasing = held_out_phrasing(fact)
            for n, question in enumerate(fact.questions):
                split = "held_out_facts" if fact.id in held else "held_out_phrasings" if n == phrasing else "train"
                yield {
                    "id": f"{fact.id}-{n + 1}", "fact": fact.id, "split": split, "question": question,
                    "references": fact.references, "passages": [asdict(p) for p in fact.passages],
                    "kind": fact.kind, "far": fact.far[n],
                }  # fmt: skip
        for n, question in enumerate(part.unanswerable, 1):
            name = f"u-{part.name[-1]}{n:02}"
            yield {
                "id": name, "fact": name, "split": "unanswerable", "question": question,
                "references": [], "passages": [], "kind": "unanswerable", "far": False,
            }  # fmt: skip
