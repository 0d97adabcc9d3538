"""Builds the shipped example: renders the documents, writes the questions and claims, checks the rules of README.md.

``python tools/example/build.py`` checks and rebuilds everything (nothing is written where a check fails);
``--check source/part_a`` checks one part and writes nothing.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pypdfium2
from claims import check_claims, claim_rows, read_claims
from questions import NEAR_COPY, WORD, Fact, Part, held_out_facts, opening, overlap, read_part, rows, same_side
from render import PAGE_BREAK, cells, render, shipped_name

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "src" / "groundtune" / "example"
KINDS = ("plain", "table", "superseded", "near_twin", "two_passages")


class Checks:
    """Collects what is wrong and prints a line a check."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def report(self, name: str, failures: Iterable[str], note: str = "") -> None:
        found = list(failures)
        self.failures += [f"{name}: {failure}" for failure in found]
        count = f" ({len(found)} failures)" if found else ""
        print(f"{'FAIL' if found else 'ok':4}  {name}{f': {note}' if note else ''}{count}")


def squeeze(text: str) -> str:
    """Whitespace normalised."""
    return " ".join(text.split())


def compact(text: str) -> str:
    """Letters and digits only: how the cells of a table row are compared."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def units(source: Path, page: int | None) -> list[str]:
    """The paragraphs, list items and table rows (cells joined by a comma) of a document, or of one of its pages."""
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".csv":
        return [", ".join(row) for row in csv.reader(io.StringIO(text))]
    if page is not None:
        pages = text.split(PAGE_BREAK)
        text = pages[page - 1] if 1 <= page <= len(pages) else ""
    return [", ".join(cells(line)) if line.startswith("|") else squeeze(line) for line in text.splitlines()]


# --------------------------------------------------------------------------
# Checks


def check_facts(checks: Checks, facts: list[Fact]) -> None:
    """The rules that concern one fact at a time."""
    ids = Counter(fact.id for fact in facts)

    def well_formed(fact: Fact) -> bool:
        passages = 2 if fact.kind == "two_passages" else 1
        return fact.kind in KINDS and len(fact.questions) == 5 and len(fact.passages) == passages and ids[fact.id] == 1

    checks.report(
        "form: ids, kinds, five questions, one passage (two_passages: two)",
        [fact.id for fact in facts if not well_formed(fact)],
        f"{len(facts)} facts",
    )
    checks.report(
        "answers stand in the last passage, 1 to 6 words",
        [
            f"{f.id}: {f.references[0]!r}"
            for f in facts
            if f.references[0] not in f.passages[-1].text or not 1 <= len(f.references[0].split()) <= 6
        ],
    )
    checks.report(
        "no answer inside its own question",
        [f"{f.id}-{n}: {r!r}" for f in facts for n, q in enumerate(f.questions, 1) for r in f.references
         if f" {' '.join(WORD.findall(r.lower()))} " in f" {' '.join(WORD.findall(q.lower()))} "],
    )  # fmt: skip
    questions = [q for f in facts for q in f.questions]
    far = sum(sum(f.far) for f in facts)
    checks.report("at least two far questions a fact", [f"{f.id}: {sum(f.far)}" for f in facts if sum(f.far) < 2])
    checks.report(
        "far share",
        [] if far >= 0.4 * len(questions) else ["below 40 %"],
        f"{far} of {len(questions)} ({far / len(questions):.0%})",
    )


def check_passages(checks: Checks, parts: list[Part], rendered: dict[str, bytes]) -> None:
    """Every passage stands in its source and, for a PDF, on that page of what is shipped."""
    sources = {shipped_name(path): path for part in parts for path in part.documents}
    in_source, in_pdf, looked = [], [], 0
    for fact in (f for part in parts for f in part.facts):
        for passage in fact.passages:
            where = f"{fact.id}: {passage.document} page {passage.page}: {passage.text}"
            source = sources.get(passage.document)
            is_pdf = passage.document.endswith(".pdf")
            if (
                source is None
                or is_pdf != (passage.page is not None)
                or not any(squeeze(passage.text) in unit for unit in units(source, passage.page))
            ):
                in_source.append(where)
            elif passage.page is not None:
                looked += 1
                text = page_text(rendered[passage.document], passage.page)
                if not (
                    squeeze(passage.text) in squeeze(text)
                    or (fact.kind == "table" and compact(passage.text) in compact(text))
                ):
                    in_pdf.append(where)
    checks.report("passages verbatim in their sources", in_source)
    checks.report("passages on their page of the rendered PDF", in_pdf, f"{looked} looked up")


@cache
def page_text(content: bytes, page: int) -> str:
    """The text of one page of a rendered PDF, as a reader of it sees it."""
    document = pypdfium2.PdfDocument(content)
    try:
        return str(document[page - 1].get_textpage().get_text_range())
    finally:
        document.close()


def check_questions(checks: Checks, parts: list[Part]) -> None:
    """Openings and copies."""
    uses: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for part in parts:
        for fact in part.facts:
            for question in fact.questions:
                uses[opening(question)].add((part.name, fact.id))
        for question in part.unanswerable:
            uses[opening(question)].add((part.name, question))
    checks.report(
        "an opening of four words serves one fact in a part, five over all",
        [
            f"{start!r}: {sorted(name for _, name in used)}"
            for start, used in uses.items()
            if len(used) > 5 or max(Counter(p for p, _ in used).values()) > 1
        ],
        f"{len(uses)} openings",
    )
    asked = Counter(
        squeeze(q).lower()
        for part in parts
        for q in (*(q for f in part.facts for q in f.questions), *part.unanswerable)
    )
    checks.report("no question twice", [q for q, n in asked.items() if n > 1], f"{len(asked)} questions")
    checks.report(
        "no near copies among the questions of a fact",
        [
            f"{f.id}: {x!r} / {y!r}"
            for part in parts
            for f in part.facts
            for x, y in combinations(f.questions, 2)
            if overlap(x, y) >= 0.75
        ],
    )


def check_whole(checks: Checks, parts: list[Part], rendered: dict[str, bytes], lines: list[dict[str, Any]]) -> None:
    """What only holds for all parts together: sizes and splits."""
    facts = [fact for part in parts for fact in part.facts]
    answerable = sum(len(fact.questions) for fact in facts)
    longest = max(len(pypdfium2.PdfDocument(content)) for name, content in rendered.items() if name.endswith(".pdf"))
    for name, count, least in (
        ("documents", len(rendered), 30),
        ("facts", len(facts), 80),
        ("questions", answerable, 300),
        ("pages of the longest PDF", longest, 35),
    ):
        checks.report(name, [] if count >= least else [f"{count} instead of {least}"], str(count))
    splits = Counter(line["split"] for line in lines)
    floors = {"held_out_phrasings": 60, "held_out_facts": 60, "unanswerable": 40}
    checks.report(
        "splits",
        [f"{name}: {splits[name]} instead of {n}" for name, n in floors.items() if splits[name] < n],
        str(dict(splits)),
    )
    by_split = {name: [line for line in lines if line["split"] == name] for name in splits}
    phrasings = Counter(line["fact"] for line in by_split["held_out_phrasings"])
    trained = {line["fact"] for line in by_split["train"]}
    checks.report("one held-out phrasing a trained fact", [fact for fact in sorted(trained) if phrasings[fact] != 1],
                  f"{sum(line['far'] for line in by_split['held_out_phrasings'])} of them far")  # fmt: skip
    for name in ("held_out_phrasings", "held_out_facts", "unanswerable"):
        pairs = [(overlap(x["question"], y["question"]), x, y) for x in by_split[name] for y in by_split["train"]]
        checks.report(
            f"{name}: no near copy of a training question",
            [
                f"{x['id']} {x['question']!r} / {y['id']} {y['question']!r}"
                for score, x, y in pairs
                if score >= NEAR_COPY
            ],
            f"closest {max(score for score, _, _ in pairs):.2f}",
        )
    held = {line["fact"] for line in by_split["held_out_facts"]}
    checks.report(
        "twins on the same side",
        [str([f.id for f in g]) for g in same_side(facts) if 0 < len({f.id for f in g} & held) < len(g)],
    )
    kinds, names = (
        dict(Counter(getattr(fact, name) for fact in facts if fact.id in held)) for name in ("kind", "part")
    )
    print(f"      held-out facts: {len(held)}, {kinds}, {names}")


def write(files: dict[Path, bytes]) -> None:
    """Write an example's files, and take away documents that are no longer among them."""
    (folder,) = {path.parent for path in files if path.parent.name == "documents"}
    folder.mkdir(parents=True, exist_ok=True)
    for stale in set(folder.iterdir()) - files.keys():
        stale.unlink()
    for path, content in files.items():
        path.write_bytes(content)
    print(f"wrote {len(files)} files to {folder.parent}")


def main() -> int:
    """Check, and write where everything is in order."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "--check", type=Path, metavar="PART", help="check one part (source/part_a) and write nothing"
    )
    only: Path | None = arguments.parse_args().check
    if only is not None and not only.is_dir():
        only = HERE / only
    checks = Checks()
    parts = [read_part(folder) for folder in ([only.resolve()] if only else sorted((HERE / "source").glob("part_*")))]
    rendered = {shipped_name(path): render(path) for part in parts for path in part.documents}
    names = Counter(shipped_name(path) for part in parts for path in part.documents)
    checks.report("file names are unique", [name for name, n in names.items() if n > 1])
    check_facts(checks, [fact for part in parts for fact in part.facts])
    check_passages(checks, parts, rendered)
    check_questions(checks, parts)
    lines: list[dict[str, Any]] = []
    german: dict[Path, bytes] = {}
    stated: list[dict[str, Any]] = []
    if not only:
        lines = list(rows(parts, held_out_facts([fact for part in parts for fact in part.facts])))
        check_whole(checks, parts, rendered, lines)
        claims = read_claims(HERE / "source" / "claims.yaml")
        for name, failures, note in check_claims(claims, [fact for part in parts for fact in part.facts]):
            checks.report(name, failures, note)
        stated = [] if checks.failures else list(claim_rows(claims, [fact for part in parts for fact in part.facts]))
        checks.report(
            "rendered twice, the same bytes",
            [p.name for part in parts for p in part.documents if render(p) != rendered[shipped_name(p)]],
        )
        from german import build as build_german  # which needs what is above

        german = build_german(checks)
    if checks.failures:
        print(f"\n{len(checks.failures)} failures:", *checks.failures, sep="\n  ", file=sys.stderr)
        return 1
    if not only:
        texts = {
            TARGET / name: "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in written).encode()
            for name, written in (("questions.jsonl", lines), ("claims.jsonl", stated))
        }
        write(texts | {TARGET / "documents" / name: content for name, content in rendered.items()})
        write(german)
    return 0


if __name__ == "__main__":
    sys.exit(main())
