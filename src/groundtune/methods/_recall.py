"""How well a sentence encoder finds the passages of questions among all chunks: recall at 1 and 5, and MRR.

By the cosine of question and chunk alone, as any vector store ranks; the retriever of ``rag`` looks at sentences and
words as well. A chunk holds a passage, recall and MRR are what the metrics of those names say (``metrics``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from groundtune.methods._gain import Gain, gain
from groundtune.methods._passages import Corpus
from groundtune.nn.encoders import Encoder, Vectors, encode, encode_rows
from groundtune.records import Example
from groundtune.retrieval.bm25 import Bm25

ALL = "all"
#: chunks that a sample ranks: those that hold the passages, then the nearest by BM25
SAMPLE = 256
MEASURES = ("recall_at_1", "recall_at_5", "mrr")
#: the measures of each question
Scores = list[tuple[float, ...]]


class Judge:
    """Questions and the chunks that answer them.

    Args:
        corpus: what is searched.
        examples: questions with passages.
    """

    def __init__(self, corpus: Corpus, examples: Sequence[Example]) -> None:
        self.corpus, self.examples = corpus, list(examples)
        self.held = [[corpus.holding(p) for p in e.passages] for e in self.examples]

    @property
    def missing(self) -> int:
        """Passages that no chunk holds: they count as not found."""
        return sum(not found for held in self.held for found in held)

    def scores(self, encoder: Encoder, vectors: Vectors) -> Scores:
        """Recall at 1 and at 5 and the reciprocal rank of each question; ``vectors`` are those of the chunks, (chunks, D)."""
        return self._scores(encode(encoder, [e.question for e in self.examples]), vectors, self.held)

    def compared(self, before: Scores, after: Scores) -> dict[str, Any]:
        """Means of each split and of all questions before and after, and the gain of all with its standard error."""
        splits = sorted({e.split for e in self.examples})
        rows = {ALL: list(range(len(self.examples)))} if len(splits) > 1 else {}
        rows |= {split: [n for n, e in enumerate(self.examples) if e.split == split] for split in splits}
        facts = [e.fact for e in self.examples]
        gains = {
            name: gain([s[at] for s in before], [s[at] for s in after], facts) if facts else None
            for at, name in enumerate(MEASURES)
        }
        return {
            "recall": {
                name: {"before": _means([before[n] for n in at]), "after": _means([after[n] for n in at])}
                for name, at in rows.items()
            },
            "gain": {name: found.to_json() for name, found in gains.items() if found},
            "better": better(gains["recall_at_5"], gains["mrr"]),
        }

    def sample(self, encoder: Encoder) -> Callable[[Any], dict[str, float]]:
        """A function (model) -> figures among a sample of the chunks, as the trainer validates with it."""
        chosen = dict.fromkeys(n for held in self.held for found in held for n in found)
        near = list(Bm25(self.corpus.texts).best([e.question for e in self.examples], SAMPLE))
        for rank in range(SAMPLE):
            chosen.update(dict.fromkeys(found[rank] for found in near if rank < len(found)))
            if len(chosen) >= SAMPLE:
                break
        numbers = list(chosen)[: max(SAMPLE, sum(len(f) for held in self.held for f in held))]
        at = {n: row for row, n in enumerate(numbers)}
        held = [[[at[n] for n in found] for found in held] for held in self.held]
        texts = self.corpus.texts
        rows = encoder.ids([texts[n] for n in numbers])
        asked = encoder.ids([e.question for e in self.examples])

        def validate(model: Any) -> dict[str, float]:
            vectors = encode_rows(encoder, [*asked, *rows])
            figures = _means(self._scores(vectors[: len(asked)], vectors[len(asked) :], held))
            return {name: value for name, value in figures.items() if name != "questions"}

        return validate

    @staticmethod
    def _scores(asked: Vectors, vectors: Vectors, held: Sequence[Sequence[Sequence[int]]]) -> Scores:
        out = []
        for question, passages in zip(asked, held, strict=True):
            similar = vectors @ question
            ranks = [1 + int((similar > similar[list(found)].max()).sum()) for found in passages if found]
            recalls = (sum(rank <= k for rank in ranks) / len(passages) for k in (1, 5))
            out.append((*recalls, 1 / min(ranks) if ranks else 0.0))
        return out


def _means(scores: Scores) -> dict[str, float]:
    means = np.mean(scores, axis=0).round(4).tolist()
    return {"questions": len(scores), **dict(zip(MEASURES, means, strict=True))}


def better(recall_at_5: Gain | None, mrr: Gain | None) -> bool | None:
    """Whether clearly more of the held-out passages are among the first five, or as many and clearly nearer to the top.

    None where nothing is held out.
    """
    if recall_at_5 is None or mrr is None:
        return None
    return recall_at_5.clear or (recall_at_5.mean >= 0 and mrr.clear)


def said(figures: Mapping[str, Any]) -> list[str]:
    """What the figures say, in sentences."""
    lines = []
    for split, found in figures["recall"].items():
        before, after = found["before"], found["after"]
        words = ", ".join(
            f"{name} {before[key]:.3f} to {after[key]:.3f}"
            for name, key in zip(("recall@1", "recall@5", "MRR"), MEASURES, strict=True)
        )
        lines.append(f"{split}: {before['questions']} held-out questions over {figures['chunks']} chunks: {words}")
    if figures["best_step"] == 0:
        lines.append(
            f"No step ranked better than the untuned model for the {figures['validation_questions']} validation questions: the weights are the untuned ones."
        )
    if figures["better"] is None:
        return [*lines, "No question with a passage is held out: whether it is better than untuned is not known."]
    five = figures["gain"]["recall_at_5"]
    chance = "of one fact" if five["error"] is None else f"standard error {five['error']:.3f}"
    size = f"recall@5 {five['mean']:+.3f}, {chance}"
    return [
        *lines,
        f"It finds more held-out passages than untuned ({size})."
        if figures["better"]
        else f"It is no better than untuned, or not clearly ({size}).",
    ]
