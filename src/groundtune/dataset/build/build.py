"""Documents to examples without a model: extractive questions, each with the passage that answers it.

Facts come from the templates; here they are chosen, freed of duplicates and of questions with two answers, numbered to
their source, and split. The split is by document and by fact: whole documents are held out (``held_out_facts``), and of
the facts trained on, the last phrasing of every second one (``held_out_phrasings``). All choices follow from hashes of
names, so that the same documents make the same file. Leaves out reading files and writing by a teacher model.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from groundtune.dataset.build.lines import line_facts
from groundtune.dataset.build.sentences import sentence_facts
from groundtune.dataset.build.tables import pipe_rows, table_facts, written_rows
from groundtune.dataset.build.templates import Fact, Place, Vocabulary, normalised, sound, vocabulary, whole_sentences
from groundtune.errors import InputError
from groundtune.records import Document, Example, Passage, Section, example_to_json

#: sections that are rows and are looked at to find questions; all rows are looked at to see that a name is the only one
MAX_ROWS = 10_000
_GERMAN = re.compile(r"\b(?:und|der|die|das|nicht|mit|für|von|ist|sind|wird|werden|auf|eine?r?|bei|zum|zur)\b", re.I)
_ENGLISH = re.compile(r"\b(?:and|the|not|with|for|of|is|are|will|on|an?|at|by|to|in)\b", re.I)
_LINE_MARK = re.compile(r"^(?:[-*•]|\(?\d{1,3}[.)])\s+")

#: a document with a way to read its sections again
Source = tuple[Document, Callable[[], Iterable[Section]]]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Built:
    """Examples with where each came from, and what was left out.

    Attributes:
        examples: in the order of documents and of places within them.
        places: the place of each example, in the same order.
        duplicates: facts that another document, or another place, states in the same words.
        ambiguous: questions left out because the documents answer them in two ways.
        over_limit: facts left out because their document had more than the limit.
        documents: documents that facts came from.
    """

    examples: tuple[Example, ...]
    places: tuple[Place, ...]
    duplicates: int = 0
    ambiguous: int = 0
    over_limit: int = 0
    documents: int = 0


@dataclass(frozen=True, slots=True)
class Extracted:
    """Facts that the templates found.

    Attributes:
        facts: the chosen ones, in the order of documents and of places within them.
        over_limit: how many were left because their document had more than the limit.
        every: yields all facts anew, chosen or not: a question must not have another answer in one of these.
    """

    facts: tuple[Fact, ...]
    over_limit: int
    every: Callable[[], Iterator[Fact]]


def extract(sources: Sequence[Source], *, per_document: int = 60, progress: Progress | None = None) -> Extracted:
    """Facts of documents that need no model.

    Args:
        sources: documents, each with a function that yields its sections anew.
        per_document: most facts of one document, so that a long table does not drown the rest.
        progress: called with documents done, documents in all, and a name.
    """
    known = vocabulary(s.text for _, read in sources for s in islice(read(), 200))
    facts: list[Fact] = []
    over = 0
    for done, (document, read) in enumerate(sources):
        if progress:
            progress(done, len(sources), document.path)
        found, left = _chosen(document_facts(document, read, known), per_document)
        facts += _unique_rows(found, read)
        over += left
    if progress:
        progress(len(sources), len(sources), "")
    return Extracted(
        tuple(facts), over, lambda: (f for document, read in sources for f in document_facts(document, read, known))
    )


def assemble(facts: Sequence[Fact], *, others: Iterable[Fact] = (), over_limit: int = 0) -> Built:
    """Examples of facts: without duplicates and clashes, numbered and split.

    Args:
        facts: in the order of documents; of two that say the same the first is kept.
        others: see :func:`without_clashes`.
        over_limit: passed on.
    """
    kept, duplicates, ambiguous = without_clashes(facts, others)
    examples, places = as_examples(kept)
    return Built(examples, places, duplicates, ambiguous, over_limit, len({p.document for p in places}))


def build_examples(sources: Sequence[Source], *, per_document: int = 60, progress: Progress | None = None) -> Built:
    """Questions with answers from documents, without a model; see :func:`extract`.

    Raises:
        InputError: not one fact was found.
    """
    found = extract(sources, per_document=per_document, progress=progress)
    built = assemble(found.facts, others=found.every() if found.over_limit else (), over_limit=found.over_limit)
    if not built.examples:
        raise InputError(
            f"no question could be made of {len(sources)} documents without a model",
            expected="definitions, tables with a header, key: value lines, or sentences with amounts, dates and names",
            next_step="name a teacher: groundtune dataset build --teacher MODEL",
        )
    return built


def document_facts(document: Document, read: Callable[[], Iterable[Section]], known: Vocabulary) -> Iterator[Fact]:
    """Every fact of one document, in the order of places; tables that span rows come last."""
    rows: list[tuple[int, Section]] = []
    for number, section in enumerate(read(), 1):
        if section.row is not None:
            if len(rows) < MAX_ROWS:
                rows.append((number, section))
            continue
        yield from _section_facts(document, number, section, known)
    if rows:
        german = _is_german(s.text for _, s in rows[:200])
        for table in written_rows(rows, document.path):
            yield from filter(None, map(sound, table_facts(table, german=german)))


def _section_facts(document: Document, number: int, section: Section, known: Vocabulary) -> Iterator[Fact]:
    place = Place(document.path, number, 1, section.page)
    for table in pipe_rows(section.text, place):
        german = _is_german([section.text])
        yield from filter(None, map(sound, table_facts(table, german=german)))
    for count, sentence in enumerate(whole_sentences(section.text), 1):
        if sentence.startswith("|"):
            continue
        here = replace(place, sentence=count)
        plain = _LINE_MARK.sub("", sentence)
        found = list(
            filter(
                None,
                map(sound, line_facts(sentence, here, title=document.title, heading=section.heading.split(" > ")[-1])),
            )
        )
        if not found and plain[-1:] in ".!":
            found = list(filter(None, map(sound, sentence_facts(plain, here, known))))
        yield from found


def _is_german(texts: Iterable[str]) -> bool:
    sample = " ".join(texts)[:20_000]
    return len(_GERMAN.findall(sample)) > len(_ENGLISH.findall(sample)) or bool(
        re.search(r"[äöüß]", sample) and not _ENGLISH.search(sample)
    )


def _chosen(facts: Iterator[Fact], most: int) -> tuple[list[Fact], int]:
    """At most so many facts, text before tables and then by hash, in the order of places; how many were left."""
    count = 0
    heap: list[tuple[int, int, Fact]] = []
    for count, fact in enumerate(facts, 1):
        item = (-zlib.crc32(fact_id(fact).encode()) - (fact.kind == "table") * 2**32, -count, fact)
        if len(heap) < most:
            heapq.heappush(heap, item)
        else:
            heapq.heappushpop(heap, item)
    return [f for _, _, f in sorted(heap, key=lambda item: -item[1])], count - len(heap)


def _unique_rows(facts: Sequence[Fact], read: Callable[[], Iterable[Section]]) -> list[Fact]:
    """Facts without those of rows whose name another row has too, beyond the rows that were looked at."""
    by_piece: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.named_by:
            by_piece[fact.named_by[0]].append(fact)
    if not by_piece:
        return list(facts)
    rows: Counter[tuple[str, ...]] = Counter()
    for section in read():
        if section.row is not None:
            pieces = set(section.text.split("; "))
            named = {f.named_by for piece in pieces if piece in by_piece for f in by_piece[piece]}
            rows.update(n for n in named if pieces.issuperset("; ".join(n).split("; ")))
    return [f for f in facts if not f.named_by or rows[f.named_by] == 1]


def fact_id(fact: Fact) -> str:
    """16 hex digits of the document's path, the passage and what is asked of it: the same on every run."""
    text = "\0".join((fact.place.document, fact.passage, fact.aspect, fact.answer))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def without_clashes(facts: Sequence[Fact], others: Iterable[Fact] = ()) -> tuple[list[Fact], int, int]:
    """Facts that no other says again, without questions that have two answers; how many of each were left out.

    A fact that shares a question and its answer with an earlier one is the same fact told twice, and goes as a whole:
    its other phrasings would be tested in one split and trained in another.

    Args:
        facts: those to keep.
        others: facts that are not to be kept but may answer the same questions in another way.
    """
    answers: dict[str, set[str]] = {_asked(q): set() for f in facts for q in f.questions}
    for fact in chain(facts, others):
        for question in map(_asked, fact.questions):
            if question in answers:
                answers[question].add(normalised(fact.answer))
    told: set[str] = set()
    kept: list[Fact] = []
    duplicates = ambiguous = 0
    for fact in facts:
        clear = tuple(q for q in fact.questions if len(answers[_asked(q)]) == 1)
        ambiguous += len(fact.questions) - len(clear)
        if any(_asked(q) in told for q in clear):
            duplicates += 1
        elif clear:
            told.update(map(_asked, clear))
            kept.append(replace(fact, questions=clear))
    return kept, duplicates, ambiguous


def _asked(question: str) -> str:
    """What a question asks for, whatever its tense: "was" and "is" tell no two answers apart."""
    return re.sub(r"\b(?:was|were|are)\b", "is", normalised(question))


def as_examples(facts: Sequence[Fact]) -> tuple[tuple[Example, ...], tuple[Place, ...]]:
    """Facts as examples with their split: one a phrasing, ids ``<fact>-<n>``."""
    held = held_out({f.place.document for f in facts}, {fact_id(f): f.place.document for f in facts})
    examples, places = [], []
    for fact in facts:
        name = fact_id(fact)
        for n, question in enumerate(fact.questions, 1):
            last_of_several = n == len(fact.questions) > 1
            split = "held_out_facts" if name in held else "train"
            if split == "train" and last_of_several and zlib.crc32(name.encode()) % 2 == 0:
                split = "held_out_phrasings"
            passage = Passage(fact.place.document, fact.passage, fact.place.page)
            kind = "table" if fact.kind == "table" else "plain"
            examples.append(Example(f"{name}-{n}", name, split, question, (fact.answer,), (passage,), kind))
            places.append(fact.place)
    return tuple(examples), tuple(places)


def held_out(documents: set[str], facts: dict[str, str]) -> set[str]:
    """The facts to hold out: those of a fifth of the documents, by the hash of the name; at least one document.

    With a single document a fifth of its facts are held out instead.

    Args:
        documents: paths.
        facts: fact id -> path of its document.
    """
    if len(documents) < 2:
        ordered = sorted(facts, key=lambda f: zlib.crc32(f.encode()))
        return set(ordered[: round(len(ordered) / 5)])
    names = sorted(documents, key=lambda d: zlib.crc32(d.encode()))
    chosen = set(names[: max(1, round(len(names) / 5))])
    return {fact for fact, document in facts.items() if document in chosen}


def built_rows(built: Built) -> Iterator[dict[str, Any]]:
    """Lines of a questions file: each example with ``place``, its numbered source, which readers may ignore."""
    for example, place in zip(built.examples, built.places, strict=True):
        yield {**example_to_json(example), "place": asdict(place)}


def write_built(path: Path, rows: Iterable[dict[str, Any]], *, force: bool = False) -> int:
    """Write a JSONL questions file whole or not at all; returns the number of rows.

    Raises:
        InputError: there is such a file already and ``force`` is not set, or the folder cannot be written to.
    """
    if path.exists() and not force:
        raise InputError(
            f"{path} is there already", expected="a new file", next_step="name another with --out, or add --force"
        )
    half = path.with_name(path.name + ".part")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with half.open("w", encoding="utf-8", newline="\n") as out:
            for row in rows:
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
        half.replace(path)
    except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}", expected="a path of a file") from None
    return count
