"""Answers with sources: the weights of the support score, and how often a wrong passage is cited.

python tools/sources_results.py calibrate PROJECT
    prints WEIGHTS, WEIGHTS_WORDS and THRESHOLD of groundtune.retrieval.support, fitted on the questions of the split
    train, and how well the score tells right from wrong passages, in folds over facts
PROJECT is the example, ingested and indexed:
    cp -r src/groundtune/example work/example && groundtune ingest --project work/example && groundtune index --project work/example
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from groundtune.config import load_config
from groundtune.methods._setup import Setup
from groundtune.records import Chunk, Example
from groundtune.retrieval.claim_words import NEGATIONS, words_of
from groundtune.retrieval.index import chunk_sentences, document_chunks, heading_line
from groundtune.retrieval.support import (
    THRESHOLD,
    WEIGHTS,
    WEIGHTS_WORDS,
    Claim,
    features,
    with_likeness,
)
from groundtune.workspace import Workspace

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_AUXILIARY = re.compile(r"\b(is|are|was|were|may|must|can|will|has|have|should)\b")
_WORDS = "two three four five six seven eight nine ten eleven twelve fifteen twenty thirty".split()


def open_setup(project: Path) -> Setup:
    """The project, ingested and indexed."""
    return Setup(Workspace(project), load_config(project))


def project_sentences(setup: Setup) -> list[tuple[str, Chunk]]:
    """Every sentence of the index with its chunk."""
    from groundtune.ingest.ingest import read_result

    embedder = setup.retriever.embedder
    chunks = document_chunks(setup.workspace, read_result(setup.workspace).documents, setup.config.index, embedder.count_tokens)  # fmt: skip
    return [(text, chunk) for chunk in chunks for text in chunk_sentences(chunk)]


def another_number(found: re.Match[str], rng: random.Random) -> str:
    """A number of the same form, near and different."""
    digits = re.sub(r"\d+", lambda m: str(max(0, int(m[0]) + rng.choice((-7, -3, -2, -1, 1, 2, 3, 4, 9)))).zfill(len(m[0]) if m[0][0] == "0" else 0), found[0])  # fmt: skip
    return digits if digits != found[0] else f"{int(found[0].split(',')[0].split('.')[0].split(':')[0]) + 1}"


def altered_value(value: str, others: Sequence[str], rng: random.Random) -> str | None:
    """Another value of the same kind: other numbers in it, or another name or phrase of the project's answers."""
    if _NUMBER.search(value):
        return _NUMBER.sub(lambda m: another_number(m, rng), value)
    for word in value.lower().split():
        if word in _WORDS:
            return re.sub(rf"\b{word}\b", rng.choice([w for w in _WORDS if w != word]), value, flags=re.IGNORECASE)
    shape = (value[:1].isupper(), min(3, len(value.split())))
    alike = [o for o in others if (o[:1].isupper(), min(3, len(o.split()))) == shape and not _NUMBER.search(o) and not words_of(o).stems & words_of(value).stems]  # fmt: skip
    return rng.choice(alike) if alike else None


def altered_passage(passage: str, references: Sequence[str], others: Sequence[str], rng: random.Random) -> tuple[str, str] | None:  # fmt: skip
    """The passage with another value where a reference stands, and that value; None where none stands word for word."""
    for reference in references:
        place = re.search(rf"(?<!\w){re.escape(reference)}(?!\w)", passage, re.IGNORECASE)
        value = altered_value(reference, others, rng) if place else None
        if place and value:
            return passage[: place.start()] + value + passage[place.end() :], value
    return None


def negated(sentence: str) -> str | None:
    """The sentence denied; None where that is not to be had by one word."""
    if " not " in sentence:
        return sentence.replace(" not ", " ", 1)
    return _AUXILIARY.sub(r"\1 not", sentence, count=1) if _AUXILIARY.search(sentence) else None


def shortened(sentence: str, keep: str, rng: random.Random) -> str:
    """The sentence as a model may retell it: a fifth of its words left out, a clause moved, never the words of ``keep``."""
    kept = {w.lower() for w in re.findall(r"[\w'-]+", keep)} | NEGATIONS
    words = [w for w in sentence.split() if w.lower().strip(".,;:") in kept or rng.random() < 0.8]
    text = " ".join(words).strip(" ,.;")
    head, comma, tail = text.partition(", ")
    return f"{tail[:1].upper()}{tail[1:]}, {head}." if comma and rng.random() < 0.5 and tail else f"{text}."


@dataclass(frozen=True, slots=True)
class Pair:
    """A claim that its passage supports, or not, and what makes it hard."""

    claim: Claim
    right: bool
    fact: str
    kind: str


def pairs_of(example: Example, setup: Setup, corpus: list[tuple[str, Chunk]], others: Sequence[str], rng: random.Random) -> Iterator[Pair]:  # fmt: skip
    """Right and wrong passages for the answer of one question."""
    question = example.question
    at = [(p, next((c for t, c in corpus if c.document == p.document and (p.text in t or t in p.text)), None)) for p in example.passages]  # fmt: skip
    gold = [(p.text, heading_line(c)) for p, c in at if c and any(_holds(p.text, r) for r in example.references)]
    if not gold:
        return
    passage, place = gold[0]
    reference = next(r for r in example.references if _holds(passage, r))
    retold = shortened(passage, reference, rng)
    restated = f"{question.rstrip(' ?')}: {reference}."
    forms = [("short", reference, question), ("retold", retold, question), ("retold alone", retold, "")]
    forms += [("restated", restated, question), ("sentence", f"The answer is {reference}.", question)]

    def pair(form: tuple[str, str, str], text: str, there: str, right: bool, kind: str) -> Pair:
        return Pair(Claim(form[1], text, form[2], there), right, example.fact, f"{form[0]}, {kind}")

    for form in forms:
        yield pair(form, passage, place, True, "gold")
    for _ in range(2):
        changed = altered_passage(passage, example.references, others, rng)
        if changed:
            for form in forms:
                yield pair(form, changed[0], place, False, "altered passage")
            wrong = altered_passage(retold, [reference], others, rng)
            if wrong:
                yield pair(("retold", wrong[0], question), passage, place, False, "altered statement")
    denied = negated(passage)
    if denied:
        for form in forms[1:3]:
            yield pair(form, denied, place, False, "negated")
    all_gold = {p.text for p in example.passages}
    hits = setup.retriever.retrieve(question)
    near = [(t, h.chunk) for h in hits for t, _ in h.sentences if t not in all_gold and not _holds(t, reference)]
    same = [(t, c) for t, c in corpus if t not in all_gold and not _alike(t, passage) and _holds(t, reference)]
    for kind, found, count in (("other sentence found", near, 4), ("same words elsewhere", same, 3)):
        for text, chunk in rng.sample(found, min(count, len(found))):
            for form in forms if kind.startswith("same") else forms[:2]:
                yield pair(form, text, heading_line(chunk), False, kind)


def _holds(text: str, value: str) -> bool:
    said, there = words_of(value), words_of(text)
    return bool(said.stems or said.numbers) and said.stems <= there.stems and all(n in there.numbers for n in said.numbers)  # fmt: skip


def _alike(a: str, b: str) -> bool:
    one, two = words_of(a).stems, words_of(b).stems
    return len(one & two) >= 0.6 * max(1, min(len(one), len(two)))


def calibrate(project: Path, seed: int) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold

    setup, rng = open_setup(project), random.Random(seed)
    corpus = project_sentences(setup)
    train = setup.training_examples()
    others = sorted({e.references[0] for e in train})
    pairs = [p for e in train for p in pairs_of(e, setup, corpus, others, rng)]
    rows = [features(p.claim) for p in pairs]
    seen = with_likeness([p.claim for p in pairs], rows, setup.retriever.embedder.embed)
    right = np.asarray([p.right for p in pairs])
    facts = np.asarray([p.fact for p in pairs])
    print(f"{len(pairs)} pairs of {len(set(facts))} facts, {right.sum()} right")
    for title, found, columns in (
        ("WEIGHTS", seen, list(WEIGHTS)[:-1]),
        ("WEIGHTS_WORDS", rows, list(WEIGHTS_WORDS)[:-1]),
    ):
        data = np.asarray([[row[name] for name in columns] for row in found])
        model: Any = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000)
        scores = np.zeros(len(pairs))
        for fit, rest in GroupKFold(5).split(data, right, facts):
            scores[rest] = model.fit(data[fit], right[fit]).predict_proba(data[rest])[:, 1]
        print(f"\n{title}: area under the curve {roc_auc_score(right, scores):.4f} (five folds over facts)")
        for threshold in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
            said = scores >= threshold
            print(f"  from {threshold}: {said[right].mean():.3f} of the right, {said[~right].mean():.3f} of the wrong")
        for kind in sorted({p.kind for p in pairs}):
            here = np.asarray([p.kind == kind for p in pairs])
            print(f"    {kind:40} n {here.sum():5}  supported at {THRESHOLD}: {(scores[here] >= THRESHOLD).mean():.3f}")
        model.fit(data, right)
        weights = dict(zip(columns, model.coef_[0], strict=True), constant=model.intercept_[0])
        print(f"{title} = {{" + ", ".join(f'"{n}": {w:.2f}' for n, w in weights.items()) + "}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("calibrate")
    first.add_argument("project", type=Path)
    first.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    calibrate(given.project, given.seed)


if __name__ == "__main__":
    main()
