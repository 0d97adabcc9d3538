"""Answers with sources: the weights of the support score, and how often a wrong passage is cited.

python tools/sources_results.py calibrate PROJECT
    prints WEIGHTS, WEIGHTS_WORDS and THRESHOLD of groundtune.retrieval.support, fitted on the questions of the split
    train, and how well the score tells right from wrong passages, in folds over facts
python tools/sources_results.py measure PROJECT [--split train]
    a wrong passage for every question, found as if it were the best hit: the answering sentence with another number or
    name, in a document of its own ("value") or in an older year's ("year"). Prints how often it is cited and the answer
    rests on it, citation precision and recall, before (every passage of the prompt was cited) and now, with pebble and
    with a scripted model that gives the right answer, which judges the citing alone
python tools/sources_results.py unsupported PROJECT [--split train]
    prints what keeping and dropping unsupported sentences does to answers, and how many sentences of scripted long
    answers, true, false and off the subject, are marked
PROJECT is the example, ingested and indexed:
    cp -r src/groundtune/example work/example && groundtune ingest --project work/example && groundtune index --project work/example
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from groundtune import registry
from groundtune.config import load_config
from groundtune.dataset.reading import sentences
from groundtune.ingest.ingest import read_result
from groundtune.methods import rag
from groundtune.methods._context import context_of
from groundtune.methods._search import search
from groundtune.methods._setup import Setup
from groundtune.metrics._text import normalise
from groundtune.records import Chunk, Completion, Example, Generation, Source
from groundtune.retrieval.claim_words import NEGATIONS, words_of
from groundtune.retrieval.index import chunk_sentences, document_chunks, heading_line
from groundtune.retrieval.retriever import Hit, Sentence, to_source
from groundtune.retrieval.support import THRESHOLD, WEIGHTS, WEIGHTS_WORDS, Claim, features, with_likeness
from groundtune.system import as_messages
from groundtune.workspace import Workspace

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_AUXILIARY = re.compile(r"\b(is|are|was|were|may|must|can|will|has|have|should)\b")
_WORDS = "two three four five six seven eight nine ten eleven twelve fifteen twenty thirty".split()


def open_setup(project: Path) -> Setup:
    """The project, ingested and indexed."""
    return Setup(Workspace(project), load_config(project))


def project_sentences(setup: Setup) -> list[tuple[str, Chunk]]:
    """Every sentence of the index with its chunk."""
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
        answer = altered_value(reference, others, rng)
        if answer and not _holds(passage, answer):
            yield pair(("short", answer, question), passage, place, False, "altered statement")
            yield pair(("restated", f"{question.rstrip(' ?')}: {answer}.", question), passage, place, False, "altered statement")  # fmt: skip
    for text, _ in rng.sample(corpus, 4):
        if not _alike(text, passage):
            yield pair(("retold", text, question), passage, place, False, "another sentence said")
    denied = negated(passage)
    if denied:
        for form in forms[1:3]:
            yield pair(form, denied, place, False, "negated")
    all_gold = {p.text for p in example.passages}
    hits = setup.retriever.retrieve(question)
    near = [(t, h.chunk) for h in hits for t, _ in h.sentences if t not in all_gold and not _holds(t, reference)]
    same = [(t, c) for t, c in corpus if t not in all_gold and not _alike(t, passage) and _holds(t, reference)]
    for text, _ in rng.sample(near, min(3, len(near))):
        if not _alike(text, passage):
            yield pair(("retold", text, question), passage, place, False, "another sentence said")
            yield pair(("retold alone", text, ""), passage, place, False, "another sentence said")
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


def asked_questions(setup: Setup, split: str) -> list[Example]:
    """The answerable questions of a split; ``held_out``: of every split but train."""
    return [e for e in setup.examples if e.references and ((e.split != "train") if split == "held_out" else e.split == split)]  # fmt: skip


class Kept:
    """A retriever that looks a question up once."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._found = inner, dict[str, list[Hit]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def retrieve(self, question: str, **more: Any) -> list[Hit]:
        """What the retriever finds."""
        if question not in self._found:
            self._found[question] = self._inner.retrieve(question, **more)
        return self._found[question]


class Planting:
    """A retriever that finds a wrong passage for each question, as good as the best right one.

    Attributes:
        values: question -> the wrong passage's document and the value it gives.
    """

    def __init__(self, setup: Setup, asked: Sequence[Example], form: str, seed: int) -> None:
        self._inner = setup.retriever
        rng = random.Random(seed)
        others = sorted({e.references[0] for e in setup.examples if e.references})
        self.values: dict[str, dict[str, str]] = {}
        self._hits: dict[str, Hit] = {}
        document = "notes.txt" if form == "value" else "rules-2019.txt"
        for example in asked:
            changed = next((c for p in example.passages if (c := altered_passage(p.text, example.references, others, rng))), None)  # fmt: skip
            if changed:
                id_ = f"planted-{len(self._hits)}"
                chunk = Chunk(id_, id_, document, changed[0], heading="Notes" if form == "value" else "Rules of 2019")
                self.values[example.question] = {"document": document, "value": changed[1]}
                self._hits[example.question] = Hit(chunk, 0.0, ((changed[0], 0.0),))
        embed = self._inner.embedder.embed
        for question, hit in self._hits.items():
            text = hit.chunk.text
            vectors = embed([question, text, f"{heading_line(hit.chunk)}: {text}"])
            like = float((vectors[1:] @ vectors[0]).mean())
            self._hits[question] = replace(hit, sentences=((text, like),))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def retrieve(self, question: str, **more: Any) -> list[Hit]:
        """The wrong passage, then what the retriever finds."""
        hits = self._inner.retrieve(question, **more)
        if question not in self._hits:
            return hits
        first = replace(self._hits[question], score=hits[0].score if hits else 1.0)
        return [first, *hits][: max(2, len(hits))]


class Scripted:
    """A backend that says what it is told to, question by question."""

    name, context_tokens = "scripted", 100_000

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)

    def generate(self, messages: Any, *, max_tokens: int = 32) -> Generation:
        return Generation(self.texts[0])

    def generate_batch(self, conversations: Any, *, max_tokens: int = 32, batch_size: int = 16) -> list[Generation]:
        return [Generation(text) for text in self.texts[: len(conversations)]]

    def count_tokens(self, text: str) -> int:
        return len(text.split())


def with_settings(setup: Setup, sentences: int | None = None, unsupported: str = "mark") -> Setup:
    """The project with other settings, its retriever and models kept."""
    retrieval = setup.config.retrieval.model_copy(update={"context_sentences": sentences})
    answer = setup.config.answer.model_copy(update={"unsupported": unsupported})
    changed = Setup(setup.workspace, setup.config.model_copy(update={"retrieval": retrieval, "answer": answer}))
    changed.__dict__["retriever"], changed._backends = setup.retriever, setup._backends
    return changed


def answers_of(setup: Setup, asked: Sequence[Example], texts: Sequence[str] | None) -> list[Completion]:
    """What ``rag`` says: pebble, or a model that says these texts."""
    out: list[Completion] = []
    for start in range(0, len(asked), 64):
        backend: Any = Scripted(texts[start : start + 64]) if texts is not None else setup.backend()
        system = rag.build(setup, backend=backend)
        out += system.answer_batch([as_messages(e.question) for e in asked[start : start + 64]])
    return out


def cited_before(setup: Setup, asked: Sequence[Example], completions: Sequence[Completion]) -> list[Completion]:
    """The same answers as they were cited until now: every chunk of the prompt, the one with most of its words first."""
    found = search(setup, setup.backend(), [e.question for e in asked])
    out = []
    for example, completion, hits in zip(asked, completions, found, strict=True):
        context = context_of(setup, setup.backend(), example.question, hits).sentences
        by_id = {h.chunk.id: h for h in hits}
        words = set(completion.text.lower().split())

        def rank(s: Sentence, text: str = completion.text, words: set[str] = words) -> tuple[bool, float]:
            held = text.lower().strip(" .") in s.text.lower()
            return held, len(words & set(s.text.lower().split())) / max(1, len(words)) + 0.01 * s.relevance

        sources: dict[str, Source] = {}
        for s in sorted(context, key=rank, reverse=True):
            sources.setdefault(s.chunk.id, to_source(by_id[s.chunk.id], s.text))
        out.append(replace(completion, sources=() if completion.abstained else tuple(sources.values())))
    return out


def figures(asked: Sequence[Example], completions: Sequence[Completion], planted: dict[str, dict[str, str]]) -> list[str]:  # fmt: skip
    """One row: planted passage cited, cited first, its value answered; exact match; citation precision, recall; sources."""
    mean = lambda values: f"{np.mean(known):.3f}" if (known := [v for v in values if v is not None]) else ""  # noqa: E731
    pairs = [(c, e, planted[e.question]) for c, e in zip(completions, asked, strict=True) if e.question in planted]
    row = [str(len(pairs))]
    row += [mean([float(any(s.document == p["document"] for s in c.sources)) for c, _, p in pairs])]
    row += [mean([float(bool(c.sources) and c.sources[0].document == p["document"]) for c, _, p in pairs])]
    row += [mean([float(normalise(p["value"]) == normalise(c.text)) for c, _, p in pairs])]
    for metric in ("exact_match", "citation_precision", "citation_recall"):
        row.append(mean([registry.get("metrics", metric).score(c, e) for c, e in zip(completions, asked, strict=True)]))
    return [*row, f"{np.mean([len(c.sources) for c in completions]):.2f}"]


def measure(project: Path, split: str, seed: int) -> None:
    """The table of the module's head."""
    setup = open_setup(project)
    asked = asked_questions(setup, split)
    setup.__dict__["retriever"] = Kept(setup.retriever)
    setup.retriever.embed_all([e.question for e in asked])
    print("| planted | model, sentences read | citing | questions with it | planted cited | cited first | its value answered | exact match | citation precision | citation recall | sources |")  # fmt: skip
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for form in ("none", "value", "year"):
        planting = Planting(setup, asked, form, seed) if form != "none" else None
        for model, count in (("right answers", 12), ("pebble", 1)):
            own = with_settings(setup, count)
            if planting:
                own.__dict__["retriever"] = planting
            now = answers_of(own, asked, None if model == "pebble" else [e.references[0] for e in asked])
            for citing, made in (("before", cited_before(own, asked, now)), ("now", now)):
                row = figures(asked, made, planting.values if planting else {})
                print(f"| {form} | {model}, {count} | {citing} | " + " | ".join(row) + " |", flush=True)


def unsupported(project: Path, split: str, seed: int) -> None:
    setup, rng = open_setup(project), random.Random(seed)
    asked = asked_questions(setup, split)
    asked += [e for e in setup.examples if not e.references and e not in asked]
    setup.__dict__["retriever"] = Kept(setup.retriever)
    names = ("token_f1", "exact_match", "supported", "abstention_accuracy", "citation_precision", "citation_recall")
    print("| pebble | answered | " + " | ".join(names) + " |")
    print("| --- " * (len(names) + 2) + "|")
    for setting in ("keep", "drop"):
        made = answers_of(with_settings(setup, None, setting), asked, None)
        row = [f"{np.mean([not c.abstained for c in made]):.3f}"]
        for name in names:
            values = [registry.get("metrics", name).score(c, e) for c, e in zip(made, asked, strict=True)]
            row.append(f"{np.mean([v for v in values if v is not None]):.3f}")
        print(f"| {setting} | " + " | ".join(row) + " |", flush=True)
    _long_answers(with_settings(setup, 12), [e for e in asked if e.references], rng)


def _long_answers(setup: Setup, asked: Sequence[Example], rng: random.Random) -> None:
    """Answers of three sentences: the right one retold, one with another value, one about something else."""
    others = sorted({e.references[0] for e in asked})
    corpus = [t for t, _ in project_sentences(setup) if 6 < len(t.split()) < 30 and t[-1] == "."]
    texts, kinds = [], []
    for example in asked:
        passage = next((p.text for p in example.passages if any(_holds(p.text, r) for r in example.references)), None)
        reference = next((r for r in example.references if passage and _holds(passage, r)), "")
        retold = shortened(passage, reference, rng) if passage else ""
        wrong = altered_passage(shortened(passage, reference, rng), [reference], others, rng) if passage else None
        if not wrong or len(sentences(retold)) != 1 or len(sentences(wrong[0])) != 1:
            texts.append("")
            kinds.append(())
            continue
        parts = [("right", retold), ("another value", wrong[0]), ("another subject", rng.choice(corpus))]
        rng.shuffle(parts)
        texts.append(" ".join(t for _, t in parts))
        kinds.append(tuple(k for k, _ in parts))
    made = answers_of(setup, asked, texts)
    counts: dict[str, list[float]] = {}
    for completion, order in zip(made, kinds, strict=True):
        if len(completion.statements) == len(order):
            for kind, statement in zip(order, completion.statements, strict=True):
                counts.setdefault(kind, []).append(float(not statement.supported))
    print("\n| sentences of long answers | n | marked as unsupported |\n| --- | ---: | ---: |")
    for kind, marked in counts.items():
        print(f"| {kind} | {len(marked)} | {np.mean(marked):.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    made = {name: commands.add_parser(name) for name in ("calibrate", "measure", "unsupported")}
    for command in made.values():
        command.add_argument("project", type=Path)
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--split", default="held_out", help="train, held_out_facts ...; held_out: all but train")
    given = parser.parse_args()
    if given.command == "calibrate":
        calibrate(given.project, given.seed)
    elif given.command == "measure":
        measure(given.project, given.split, given.seed)
    else:
        unsupported(given.project, given.split, given.seed)


if __name__ == "__main__":
    main()
