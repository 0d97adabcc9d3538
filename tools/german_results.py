"""Retrieval for the shipped German example with the bundled parts, step by step; each choice made on its training questions.

``python tools/german_results.py [--json FILE] [--embedder NAME]``. Rows: vectors alone; BM25 over plain words, without
German stop words, stemmed, with compounds cut; the retriever as it is by default, with what
an English question would weigh, and with the weight of full text that the training questions choose. Figures
are recall@1, recall@5 and MRR over the answerable training questions and the held-out ones (wordings and facts).
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from groundtune.cli._common import ensure_documents, ensure_index
from groundtune.cli.demo import Example as Shipped
from groundtune.cli.demo import copy_example
from groundtune.config import load_config
from groundtune.methods._setup import Setup
from groundtune.metrics import mrr, recall_at_1, recall_at_5
from groundtune.records import Completion, Example, Source
from groundtune.retrieval.bm25 import Bm25
from groundtune.retrieval.retriever import Retriever, to_source
from groundtune.retrieval.words import Vocabulary, count_words, is_stop, terms
from groundtune.workspace import Workspace

METRICS = {"recall@1": recall_at_1, "recall@5": recall_at_5, "mrr": mrr}
HELD_OUT = ("held_out_phrasings", "held_out_facts")
#: weights of full text that are tried, relative to a similarity from -1 to 1
WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 4.0)
TOP = 5
Ranking = Sequence[Sequence[Source]]


def scores(examples: Sequence[Example], found: Ranking, splits: Sequence[str]) -> dict[str, float]:
    """The mean of each metric over the answerable questions of some splits; a question that nothing is found for has 0."""
    pairs = [(e, Completion("", retrieved=tuple(f))) for e, f in zip(examples, found, strict=True) if e.split in splits]
    return {name: round(float(np.mean([m.score(c, e) or 0.0 for e, c in pairs])), 4) for name, m in METRICS.items()}


def plain(text: str) -> list[str]:
    """Words as they are, in small letters."""
    return re.findall(r"[^\W_]+", text.lower())


def without_stop_words(text: str) -> list[str]:
    return [w for w in plain(text) if not is_stop(w, "de")]


def stemmed(text: str) -> list[str]:
    return terms(text, "de")


def cistem(text: str, vocabulary: Vocabulary | None = None) -> list[str]:
    """As :func:`terms`, by NLTK's CISTEM (Weissweiler and Fraser, GSCL 2017) instead of Snowball."""
    from nltk.stem.cistem import Cistem

    stem, out = Cistem().stem, []
    for word in without_stop_words(text):
        out += [stem(word), *(stem(part) for part in (vocabulary.parts(word) if vocabulary else ()))]
    return out


def bm25(setup: Setup, examples: Sequence[Example], analyzer: Callable[[str], list[str]]) -> Ranking:
    """BM25 in memory over what the index searches of its chunks."""
    held = setup.retriever.store.entries([c.id for c in setup.retriever.store.chunks()])
    entries = [held[id_] for id_ in sorted(held)]
    found = Bm25([e.search_text for e in entries], analyzer).best([e.question for e in examples], TOP)
    return [[_source(entries[n].chunk) for n in row] for row in found]


def nearest(setup: Setup, examples: Sequence[Example]) -> Ranking:
    """Whole chunks by the similarity of their vectors."""
    store = setup.retriever.store
    entries = store.entries([c.id for c in store.chunks()])
    out = []
    for vector in setup.retriever.embedder.embed([e.question for e in examples]):
        ids = store.near_chunks(vector, TOP)
        out.append([_source(entries[i].chunk) for i in ids])
    return out


def _source(chunk: Any) -> Source:
    return Source(chunk.document, chunk.id, 0.0, "", page=chunk.page, text=chunk.text)


def retrieved(setup: Setup, examples: Sequence[Example], **changed: Any) -> Ranking:
    """What the retriever finds with some settings changed."""
    config = setup.config.retrieval.model_copy(update={"top_k": TOP, **changed})
    retriever = Retriever(setup.workspace.path("index"), setup.config.index, config, setup.retriever.embedder)
    retriever.embed_all([e.question for e in examples])
    return [[to_source(h, "") for h in retriever.retrieve(e.question)] for e in examples]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", type=Path, help="write the figures here, too")
    arguments.add_argument("--embedder", default="minilm", help="as in index.embedder; default: the bundled one")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_example(Shipped.GERMAN, folder)
        config = load_config(folder)
        index = config.index.model_copy(update={"embedder": options.embedder})
        setup = Setup(Workspace(folder), config.model_copy(update={"index": index}))
        with setup.workspace.writing():
            ensure_documents(setup, quiet=True)
            ensure_index(setup, quiet=True)
        default = setup.config.retrieval
        examples = [e for e in setup.examples if e.passages]
        chunks = [c.text for c in setup.retriever.store.chunks()]
        counts = count_words(chunks)
        vocabulary, unaided = Vocabulary(counts), Vocabulary(counts, listed=False)
        weights = {w: retrieved(setup, examples, text_weight_foreign=w) for w in WEIGHTS}
        tried = {w: scores(examples, found, ["train"]) for w, found in weights.items()}
        # by recall@5, then by MRR; of equal weights the smaller
        chosen = max(WEIGHTS, key=lambda w: (tried[w]["recall@5"], tried[w]["mrr"], -w))
        rows = {
            f"vectors of {options.embedder}": nearest(setup, examples),
            "BM25, plain words": bm25(setup, examples, plain),
            "BM25, without stop words": bm25(setup, examples, without_stop_words),
            "BM25, stems": bm25(setup, examples, stemmed),
            "BM25, stems by CISTEM": bm25(setup, examples, cistem),
            "BM25, CISTEM, compounds cut": bm25(setup, examples, lambda text: cistem(text, vocabulary)),
            "BM25, compounds, no word list": bm25(setup, examples, lambda text: terms(text, "de", unaided)),
            "BM25, stems, compounds cut": bm25(setup, examples, lambda text: terms(text, "de", vocabulary)),
            "retriever, full text alone": retrieved(setup, examples, mode="text"),
            "retriever, vectors alone": retrieved(setup, examples, mode="vector"),
            "retriever, weighed as for English": retrieved(setup, examples, text_weight_foreign=default.text_weight),
            "retriever, default": retrieved(setup, examples),
            f"retriever, text_weight_foreign {chosen}": weights[chosen],
        }
    print(f"{len(chunks)} chunks; questions: " + ", ".join(f"{s} {sum(e.split == s for e in examples)}" for s in ("train", *HELD_OUT)))  # fmt: skip
    for weight, figures in tried.items():
        print(f"training questions, text_weight_foreign {weight:4}: {figures}")
    figures = {
        name: {"train": scores(examples, found, ["train"]), "held_out": scores(examples, found, HELD_OUT)}
        for name, found in rows.items()
    }
    for name, row in figures.items():
        print(f"{name:34} training {list(row['train'].values())}  held out {list(row['held_out'].values())}")
    if options.json:
        written = {"chosen_text_weight": chosen, "training": {str(w): t for w, t in tried.items()}, "rows": figures}
        options.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
