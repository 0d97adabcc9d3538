"""Questions with their passages, mined from a corpus of documents, to train and to choose settings on.

python tools/mine_questions.py ../shared/corpus work/mined.jsonl [--most 30000]

Reads the families `medquad` (question, answer), `openstax_qa` (review question; the paragraph of its module that holds the
answer), `openstax_glossary` (definition without its term; the paragraph it is used in), `plos` and `government` (title;
an opening paragraph) and asks for facts of running text in `openstax`, `onestop` and `government` by groundtune's own rules
(:mod:`groundtune.dataset.build`). A row: question, positive, negatives (nearest by BM25 of the same family that are
another passage), kind, part (`train`, `validation`, `test`: by the hash of the document, so that no document is in two).
Nothing of Cranfield or XQuAD is read; the corpus was cleaned of both (its MANIFEST).
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groundtune.dataset.build.sentences import sentence_facts
from groundtune.dataset.build.templates import Place, vocabulary
from groundtune.dataset.reading import STOP_WORDS, sentences
from groundtune.retrieval.bm25 import Bm25
from groundtune.workspace import digest

#: words of a passage
SHORTEST, LONGEST = 25, 110
NEGATIVES, AMONG = 7, 25
_CHOICES = re.compile(r"\s*\((?:a|i)\)\s.*$|\s*\b[aA][.)]\s.*$", re.DOTALL)


def rows(corpus: Path, family: str) -> Iterator[dict[str, Any]]:
    for path in sorted(corpus.glob(f"{family}-*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as file:
            yield from map(json.loads, file)


def words(text: str) -> set[str]:
    return {w for w in re.findall(r"\w+", text.lower()) if w not in STOP_WORDS}


def windows(text: str) -> list[str]:
    """Runs of whole sentences of SHORTEST to LONGEST words, within paragraphs where these are long enough."""
    out: list[str] = []
    run: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in sentences(paragraph):
            length = len(sentence.split())
            if run and sum(len(s.split()) for s in run) + length > LONGEST:
                out.append(" ".join(run))
                run = []
            if length <= LONGEST:
                run.append(sentence)
        if sum(len(s.split()) for s in run) >= SHORTEST:
            out.append(" ".join(run))
            run = []
    return out


def part_of(document: str) -> str:
    return {0: "validation", 1: "test"}.get(int(digest(document)[:8], 16) % 20, "train")


def asked(question: str) -> str:
    return " ".join(_CHOICES.sub("", question).split())


def medquad(corpus: Path) -> Iterator[tuple[str, str, str]]:
    for row in rows(corpus, "medquad"):
        found = windows(row["answer"])
        if found:
            yield row["question"], found[0], row["source"]


def openstax(corpus: Path) -> Iterator[tuple[str, str, str, str]]:
    """(kind, question, passage, document) of the text books: review questions, definitions, facts of running text."""
    passages = {row["source"]: windows(row["text"]) for row in rows(corpus, "openstax")}
    for row in rows(corpus, "openstax_qa"):
        question, answer = asked(row["question"]), words(str(row["answer_text"]))
        if row["has_math"] or row["needs_figure"] or not 5 <= len(question.split()) <= 40 or not answer:
            continue
        wanted = answer | words(question)
        best = max(passages.get(row["source"], []), key=lambda p: len(wanted & words(p)), default="")
        if best and len(answer & words(best)) >= 0.6 * len(answer) and len(wanted & words(best)) >= 4:
            yield "review", question, best, row["source"]
    for row in rows(corpus, "openstax_glossary"):
        place = [w for w in windows(row["context"]) if row["term"].lower() in w.lower()]
        if place and len(row["meaning"].split()) >= 5:
            question = f"What is {row['term']}?" if len(row["term"]) % 2 else f"{row['meaning'].rstrip('.')}"
            yield "glossary", question, place[0], row["source"]
    for source, found in passages.items():
        yield from facts(source, found)


def facts(source: str, passages: list[str]) -> Iterator[tuple[str, str, str, str]]:
    """Questions that groundtune's own rules ask of sentences."""
    known = vocabulary(passages)
    for passage in passages:
        for sentence in sentences(passage):
            for fact in sentence_facts(sentence, Place(source, 0, 0), known):
                yield "fact", fact.questions[0], passage, source


def titled(corpus: Path, family: str) -> Iterator[tuple[str, str, str]]:
    for row in rows(corpus, family):
        found = windows(row["text"])
        if found and len(row["title"].split()) >= 4:
            yield row["title"], found[0], row["source"]


def gathered(corpus: Path) -> Iterator[tuple[str, str, str, str]]:
    for question, passage, source in medquad(corpus):
        yield "medquad", question, passage, source
    yield from openstax(corpus)
    for family in ("plos", "government", "techdocs_aws"):
        for question, passage, source in titled(corpus, family):
            yield f"{family} title", question, passage, source
    for family in ("onestop", "government", "factbook"):
        for row in rows(corpus, family):
            yield from facts(row["source"], windows(row["text"]))


def with_negatives(found: list[tuple[str, str, str, str]], rng: random.Random) -> Iterator[dict[str, Any]]:
    by_kind: dict[str, list[tuple[str, str, str, str]]] = defaultdict(list)
    for row in found:
        by_kind[row[0]].append(row)
    for kind, of_kind in by_kind.items():
        passages = list(dict.fromkeys(p for _, _, p, _ in of_kind))
        near = Bm25(passages).best([q for _, q, _, _ in of_kind], AMONG)
        for (_, question, positive, source), ranked in zip(of_kind, near, strict=True):
            own = words(positive)
            wrong = [passages[n] for n in ranked if len(own & words(passages[n])) < 0.6 * len(own)]
            if len(wrong) >= 3:
                row = {"question": question, "positive": positive, "negatives": rng.sample(wrong, min(NEGATIVES, len(wrong)))}  # fmt: skip
                yield {**row, "kind": kind, "part": part_of(source), "document": source}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--most", type=int, default=6000, help="of one kind")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    by_kind: dict[str, dict[str, tuple[str, str, str, str]]] = defaultdict(dict)
    for row in gathered(given.corpus):
        by_kind[row[0]].setdefault(row[1], row)  # a question once
    found = [
        r for of_kind in by_kind.values() for r in rng.sample(list(of_kind.values()), min(len(of_kind), given.most))
    ]
    mined = list(with_negatives(found, rng))
    rng.shuffle(mined)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in mined), encoding="utf-8")
    for (kind, part), count in sorted(Counter((r["kind"], r["part"]) for r in mined).items()):
        print(f"{count:6} {kind}, {part}")


if __name__ == "__main__":
    main()
