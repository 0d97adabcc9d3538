"""Train the small classifiers of ``groundtune.guardrails`` and write weights and card.

    python tools/train_guards.py ../shared/corpus [--vectors CACHE.npz]

Text: the grammar of ``guard_data.py``, and sentences of the corpus as what is no order: a sample, and those that a look at the words alone
finds most like orders (hard negatives). Families of the corpus named in HELD are never trained on: thresholds are read off them. About
20 minutes on one core, nearly all of it MiniLM; ``--vectors`` keeps what was embedded.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression

import guard_data as data
from groundtune.dataset.reading import sentences
from groundtune.guardrails.classifier import WEIGHTS
from groundtune.guardrails.features import lexical
from groundtune.guardrails.readings import canonical
from groundtune.retrieval.embedders import minilm

#: family -> (one document in so many, sentences)
TRAIN = {"government": (3, 2500), "techdocs_microsoft": (9, 2500), "techdocs_open": (3, 1500), "openstax": (12, 1500), "medquad": (30, 800), "gutenberg_nonfiction": (30, 500), "onestop": (3, 300)}  # fmt: skip
#: family -> (one document in so many, sentences, first document)
MINED = {"gutenberg_fiction": (40, 9000, 1), "government": (3, 8000, 0), "techdocs_microsoft": (9, 9000, 0), "techdocs_open": (3, 6000, 0), "openstax": (12, 6000, 0), "onestop": (3, 2000, 0), "gutenberg_nonfiction": (30, 4000, 0), "factbook": (2, 1500, 1), "medquad": (30, 3000, 0)}  # fmt: skip
HELD = {"techdocs_aws": (7, 1000, 1), "plos": (1, 400, 0), "government": (3, 1000, 1), "techdocs_open": (3, 800, 1)}  # fmt: skip
#: what the vectors are multiplied with beside words that are 0 or 1; strength of the penalty
SCALE, C = 4.0, 0.3
Row = tuple[int, str, str]


class Vectors:
    """MiniLM vectors of texts, kept in a file."""

    def __init__(self, file: Path | None) -> None:
        self.file, self.known = file, dict[str, Any]()
        if file and file.exists():
            stored = np.load(file)
            self.known = dict(zip(json.loads(str(stored["texts"])), stored["vectors"], strict=True))

    def __call__(self, texts: Sequence[str]) -> Any:
        missing = [t for t in dict.fromkeys(texts) if t not in self.known]
        if missing:
            self.known.update(zip(missing, minilm.embed(missing), strict=True))
            if self.file:
                np.savez(self.file, texts=json.dumps(list(self.known)), vectors=np.stack(list(self.known.values())))
        return np.stack([self.known[t] for t in texts])


def read_corpus(
    folder: Path, name: str, every: int, count: int, *, first: int = 0, each: int = 4, seed: int = 0
) -> list[str]:
    """Sentences of a family of the corpus, a few of each document that is read."""
    rng, out = random.Random(f"{name}{seed}"), list[str]()
    with lzma.open(folder / f"{name}-00.jsonl.xz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number % every == first:
                found = [s for s in sentences(json.loads(line)["text"]) if 12 < len(s) < 400]
                rng.shuffle(found)
                out += found[:each]
            if len(out) >= count:
                break
    return out[:count]


def headings(folder: Path, name: str, count: int) -> list[str]:
    """Short lines of a family."""
    out: set[str] = set()
    with lzma.open(folder / f"{name}-00.jsonl.xz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number % 5 == 2:
                out |= {s for s in sentences(json.loads(line)["text"]) if 3 < len(s) < 40}
            if len(out) > count:
                break
    return sorted(out)[:count]


def instruction_rows(folder: Path) -> list[Row]:
    """(order or not, kind, text): what the classifier ``instruction`` learns from."""
    plain = [(name, s) for name, (every, count) in TRAIN.items() for s in read_corpus(folder, name, every, count)]
    rows: list[Row] = [(0, f"corpus:{name}", s) for name, s in plain]
    rows += [(0, "ordinary", s) for s in sorted(set(data.ordinary(5000, 1)))]
    rows += [(1, kind, s) for kind, s in dict.fromkeys(data.orders(9000, 2))]
    texts, ordinary, rng = [s for _, s in plain], data.ordinary(1600, 3), random.Random(5)
    pairs = zip([*texts[:4000:2], *ordinary[::2]], [*texts[1:4000:2], *ordinary[1::2]], strict=True)
    rows += [(0, "pair", f"{a} {b}") for a, b in pairs if len(a) + len(b) < 350]
    for kind, order in data.orders(1500, 4):
        other = rng.choice(ordinary)
        rows.append((1, kind, f"{other} {order}" if rng.random() < 0.5 else f"{order} {other}"))
    seen = {text for *_, text in rows}
    pool = [
        (name, s)
        for name, (every, count, first) in MINED.items()
        for s in read_corpus(folder, name, every, count, first=first, each=14, seed=7)
        if s not in seen
    ]
    look = LogisticRegression(C=C, max_iter=300)
    look.fit(lexical([canonical(text) for *_, text in rows]), [label for label, *_ in rows])
    likeness = look.predict_proba(lexical([canonical(s) for _, s in pool]))[:, 1]
    rows += [(0, f"mined:{pool[n][0]}", pool[n][1]) for n in np.argsort(-likeness)[:3600]]
    for name in ("government", "techdocs_microsoft", "openstax", "techdocs_open"):
        rows += [(0, "short", s) for s in headings(folder, name, 350)]
    rows += [(0, "ordinary", s) for s in dict.fromkeys(data.ordinary(2500, 21, further=True)) if s not in seen]
    for name in ("openstax_biology_1e", "gutenberg_nonfiction", "medquad", "onestop"):
        rows += [(0, "short", s) for s in headings(folder, name, 250)]
    rows += [(0, "handbook", s) for s in dict.fromkeys(data.handbook(3600, 51))]
    rows += [(1, "cells", s) for s in dict.fromkeys(data.cells(500, 52))]
    return rows + [
        (1, kind, s)
        for kind, s in dict.fromkeys(data.orders(11000, 22, {**data.ORDERS, **data.FURTHER}))
        if kind in data.FURTHER
    ]


def injection_rows(folder: Path) -> list[Row]:
    """(attempt or not, kind, text): what the classifier ``injection`` learns from; ordinary requests are none."""
    kinds = ("override", "persona", "leak", "fake")
    rows: list[Row] = [(1, k, s) for k, s in dict.fromkeys(data.orders(9000, 2)) if k in kinds]
    asked = data.requests(900, 31)
    rows += [(0, "request", s) for s in dict.fromkeys(asked)] + [(0, "ordinary", s) for s in data.ordinary(700, 1)]
    with lzma.open(folder / "openstax_qa-00.jsonl.xz", "rt", encoding="utf-8") as lines:
        questions = [json.loads(line) for n, line in enumerate(lines) if n % 12 == 0]
    return rows + [(0, "question", str(q.get("question") or q.get("text", ""))[:300]) for q in questions[:500]]


def toxic_rows() -> list[Row]:
    """(toxic or not, kind, text): what the classifier ``toxic`` learns from."""
    rows: list[Row] = [(1, "toxic", s) for s in dict.fromkeys(data.toxic(500, 41))]
    rows += [(0, "sharp", s) for s in dict.fromkeys(data.sharp(500, 42))]
    rows += [(0, "ordinary", s) for s in data.ordinary(900, 1)] + [(0, "request", s) for s in data.requests(400, 31)]
    return rows


def train(name: str, rows: Sequence[Row], vectors: Vectors, *, most_lost: float = 0.003) -> dict[str, Any]:
    """Fit a classifier and its gate, and write them.

    Args:
        most_lost: share of the orders that the gate may miss.
    """
    texts, labels = [canonical(text) for *_, text in rows], np.array([label for label, *_ in rows])
    kinds, both = lexical(texts), vectors(texts)
    gate = LogisticRegression(C=C, max_iter=400).fit(kinds, labels)
    level = float(np.quantile(gate.decision_function(kinds[labels == 1]), most_lost))
    model = LogisticRegression(C=C, max_iter=600).fit(np.concatenate([kinds, both * SCALE], axis=1), labels)
    WEIGHTS.mkdir(exist_ok=True)
    parts = {
        "gate.weight": gate.coef_[0], "gate.bias": gate.intercept_, "gate.threshold": np.array([level]),
        "vector.scale": np.array([SCALE]), "out.weight": model.coef_[0], "out.bias": model.intercept_,
    }  # fmt: skip
    save_file({k: np.ascontiguousarray(v, dtype=np.float32) for k, v in parts.items()}, WEIGHTS / f"{name}.safetensors")
    looked = float((gate.decision_function(kinds[labels == 0]) >= level).mean())
    return {"rows": len(rows), "orders": int(labels.sum()), "negatives looked at with MiniLM": round(looked, 3)}


def held_scores(folder: Path, vectors: Vectors) -> dict[str, Any]:
    """Scores of sentences of families that were not trained on, for the card."""
    from groundtune.guardrails.classifier import Classifier, probability

    model, out = Classifier("instruction"), {}
    for name, (every, count, first) in HELD.items():
        texts = [canonical(s) for s in read_corpus(folder, name, every, count, first=first, seed=1)]
        scores = probability(model._w, lexical(texts), vectors(texts))
        out[name] = {f"over {t}": round(float((scores >= t).mean()), 4) for t in (0.3, 0.5, 0.6, 0.7, 0.8)}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--vectors", type=Path)
    given = parser.parse_args()
    vectors = Vectors(given.vectors)
    figures = {
        "instruction": train("instruction", instruction_rows(given.corpus), vectors),
        "injection": train("injection", injection_rows(given.corpus), vectors),
        "toxic": train("toxic", toxic_rows(), vectors, most_lost=0.0),
        "held sentences of ordinary text": held_scores(given.corpus, vectors),
    }
    (WEIGHTS / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
