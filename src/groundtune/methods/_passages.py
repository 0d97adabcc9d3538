"""What an embedder is tuned on and judged by: the project's chunks, pairs of a question and a chunk, hard negatives.

Pairs come from questions with a known passage, and from the documents alone: questions that ``dataset build`` makes by
its templates, headings with what stands under them, and a sentence with the chunk it was taken out of (the inverse cloze
task of Lee, Chang and Toutanova, ACL 2019, which leaves the sentence in once in ten). Held-out questions are never in a
pair, nor is a made question about a passage that answers one. Leaves out tokens and vectors.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from groundtune.config import IndexConfig
from groundtune.dataset.build.build import extract
from groundtune.dataset.build.templates import normalised
from groundtune.ingest.ingest import read_result, read_sections
from groundtune.metrics._ranking import holds
from groundtune.records import Chunk, Example, Passage
from groundtune.retrieval.bm25 import Bm25
from groundtune.retrieval.index import chunk_sentences, document_chunks, heading_line, search_text
from groundtune.workspace import Workspace

#: how a chunk is worded in a pair: as the index has it, without headings, or one sentence of it behind its headings
Form = Literal["chunk", "body", "sentence"]
Kind = Literal["question", "template", "title", "cloze"]
#: a hard negative is one of so many of the nearest chunks that do not answer
NEAREST = 5
#: share of inverse cloze pairs whose chunk keeps the sentence
KEPT = 0.1


@dataclass(frozen=True, slots=True)
class Pair:
    """A question, or what stands for one, and the passage that is to be found for it.

    Attributes:
        anchor, passage: the two texts.
        group: the passage's chunk, by its position in the corpus.
        answers: every chunk that answers.
        kind: what it was made from.
        form: how chunks are worded in it.
        fact: what it asks for; validation is by fact.
        negative, negative_group: a chunk that is near and does not answer.
    """

    anchor: str
    passage: str
    group: int
    answers: tuple[int, ...]
    kind: Kind
    form: Form
    fact: str = ""
    negative: str = ""
    negative_group: int = -1


class Corpus:
    """The chunks that are searched.

    Args:
        chunks: in order.
    """

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.chunks = list(chunks)
        self._by_document: dict[str, list[int]] = defaultdict(list)
        for n, chunk in enumerate(self.chunks):
            self._by_document[chunk.document].append(n)

    @property
    def texts(self) -> list[str]:
        """What is embedded of each chunk."""
        return [search_text(c).strip() for c in self.chunks]

    def holding(self, passage: Passage) -> list[int]:
        """Positions of the chunks that hold a passage, as recall counts it; the one that holds most of it first."""
        words = set(normalised(passage.text).split())

        def share(n: int) -> tuple[bool, int]:
            text = self.chunks[n].text
            return passage.text in text, len(words & set(normalised(text).split()))

        found = [n for n in self._by_document[passage.document] if self._holds(n, passage)]
        return sorted(found, key=share, reverse=True)

    def _holds(self, n: int, passage: Passage) -> bool:
        chunk = self.chunks[n]
        return holds(chunk.document, chunk.page, chunk.text, passage)

    def placed(self, examples: Sequence[Example]) -> list[Example]:
        """Examples whose passages name no document, with the one that holds them; passages of none are added as chunks."""
        homeless = [p.text for e in examples for p in e.passages if not p.document]
        bm25 = Bm25(self.texts) if self.chunks and homeless else None
        near = dict(zip(homeless, bm25.best(homeless, 10) if bm25 else ([] for _ in homeless), strict=True))
        found: dict[str, Passage] = {}
        for text in near:
            at = (Passage(self.chunks[n].document, text, self.chunks[n].page) for n in near[text])
            fitting = next((p for p, n in zip(at, near[text], strict=True) if self._holds(n, p)), None)
            if fitting is None:
                name = f"data-{len(self.chunks)}"
                self._by_document[name].append(len(self.chunks))
                self.chunks.append(Chunk(name, name, name, text))  # id and document alike: of no document
                fitting = Passage(name, text)
            found[text] = fitting
        return [replace(e, passages=tuple(p if p.document else found[p.text] for p in e.passages)) for e in examples]


def project_chunks(workspace: Workspace, config: IndexConfig, count: Callable[[str], int]) -> list[Chunk]:
    """The chunks of the ingested documents, as the index cuts them; none where nothing is ingested."""
    if workspace.manifest("documents") is None:
        return []
    return list(document_chunks(workspace, read_result(workspace).documents, config, count))


def question_pairs(corpus: Corpus, examples: Iterable[Example], forms: Sequence[Form]) -> Iterator[Pair]:
    """A pair a form for each passage of each question; passages that no chunk holds are left out."""
    for example in examples:
        held = [corpus.holding(p) for p in example.passages]
        answers = tuple(sorted({n for found in held for n in found}))
        for passage, found in zip(example.passages, held, strict=True):
            for form in forms if found else ():
                chunk = corpus.chunks[found[0]]
                behind = f"{heading_line(chunk)}: {passage.text}" if heading_line(chunk) else passage.text
                text = behind if form == "sentence" else worded(chunk, form, "")
                yield Pair(example.question, text, found[0], answers, "question", form, example.fact)


def worded(chunk: Chunk, form: Form, wanted: str) -> str:
    """A chunk in a form; of its sentences the one that shares most words with ``wanted``."""
    if form == "body":
        return chunk.text
    if form == "chunk":
        return search_text(chunk).strip()
    words = set(normalised(wanted).split())
    best = max(chunk_sentences(chunk), key=lambda s: len(words & set(normalised(s).split())))
    return f"{heading_line(chunk)}: {best}" if heading_line(chunk) else best


def unlabelled_pairs(
    workspace: Workspace, corpus: Corpus, kinds: Sequence[Kind], *, most: int, held_out: Sequence[Example], seed: int
) -> list[Pair]:
    """Pairs from the documents alone, ``most`` at most, of each kind the same number where there are so many.

    Args:
        kinds: of ``template``, ``title``, ``cloze``.
        held_out: questions that judge the result: nothing is asked of their passages.
    """
    rng = random.Random(seed)
    made = {
        kind: list(
            _template_pairs(workspace, corpus, held_out)
            if kind == "template"
            else _title_pairs(corpus)
            if kind == "title"
            else _cloze_pairs(corpus, rng)
        )
        for kind in dict.fromkeys(kinds)
    }
    out: list[Pair] = []
    for left, kind in zip(range(len(made), 0, -1), sorted(made, key=lambda k: len(made[k])), strict=True):
        share = min(len(made[kind]), (most - len(out)) // left)
        out += rng.sample(made[kind], share)
    return out


def _template_pairs(workspace: Workspace, corpus: Corpus, held_out: Sequence[Example]) -> Iterator[Pair]:
    if workspace.manifest("documents") is None:
        return
    folder = workspace.path("documents")
    sources = [
        (document, lambda document=document: read_sections(folder, document))
        for document in read_result(workspace).documents
    ]
    asked = {normalised(e.question) for e in held_out}
    spared: dict[str, list[Passage]] = defaultdict(list)
    for example in held_out:
        for passage in example.passages:
            spared[passage.document].append(passage)
    for fact in extract(sources).facts:
        here = Passage(fact.place.document, fact.passage, fact.place.page)
        if any(_same(here, passage) for passage in spared[here.document]):
            continue
        answers = corpus.holding(here)
        question = next((q for q in fact.questions if normalised(q) not in asked), None)
        if answers and question:
            text = worded(corpus.chunks[answers[0]], "chunk", "")
            yield Pair(question, text, answers[0], tuple(answers), "template", "chunk")


def _same(a: Passage, b: Passage) -> bool:
    """Whether one passage holds the other."""
    return holds(a.document, a.page, a.text, b) or holds(b.document, b.page, b.text, a)


def _title_pairs(corpus: Corpus) -> Iterator[Pair]:
    under: dict[tuple[str, str], list[int]] = defaultdict(list)
    for n, chunk in enumerate(corpus.chunks):
        if chunk.heading and chunk.row is None:
            under[chunk.document, chunk.heading].append(n)
    for numbers in under.values():
        first = corpus.chunks[numbers[0]]
        yield Pair(heading_line(first), first.text, numbers[0], tuple(numbers), "title", "body")


def _cloze_pairs(corpus: Corpus, rng: random.Random) -> Iterator[Pair]:
    for n, chunk in enumerate(corpus.chunks):
        sentences = chunk_sentences(chunk)
        if len(sentences) < 3:
            continue
        taken = rng.randrange(len(sentences))
        rest = sentences if rng.random() < KEPT else [s for i, s in enumerate(sentences) if i != taken]
        passage = f"{heading_line(chunk)}\n{' '.join(rest)}".strip()
        yield Pair(sentences[taken], passage, n, (n,), "cloze", "chunk")


def with_negatives(corpus: Corpus, pairs: Sequence[Pair], ranked: Iterable[Sequence[int]], *, seed: int) -> list[Pair]:
    """Pairs with a hard negative each: one of the nearest chunks that hold no answer; without where there is none.

    Args:
        ranked: for each pair, chunks from near to far.
    """
    rng = random.Random(seed)
    out = []
    for pair, near in zip(pairs, ranked, strict=True):
        wrong = [n for n in near if n not in pair.answers and corpus.chunks[n].text != corpus.chunks[pair.group].text]
        if not wrong:
            out.append(pair)
            continue
        chosen = rng.choice(wrong[:NEAREST])
        text = worded(corpus.chunks[chosen], pair.form, pair.anchor)
        out.append(replace(pair, negative=text, negative_group=chosen))
    return out


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write pairs as JSONL, whole or not at all: to look at, and for a killed run to go on with the same ones."""
    half = path.with_name(path.name + ".part")
    half.write_text("".join(json.dumps(asdict(p), ensure_ascii=False) + "\n" for p in pairs), encoding="utf-8")
    half.replace(path)


def read_pairs(path: Path) -> list[Pair]:
    """What :func:`write_pairs` wrote."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Pair(**{**row, "answers": tuple(row["answers"])}) for row in rows]
