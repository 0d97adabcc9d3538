"""How well a sentence encoder finds the passages of questions among all chunks: recall at 1 and 5, and MRR.

By the cosine of question and chunk alone, as any vector store ranks; the retriever of ``rag`` looks at sentences and
words as well. A chunk holds a passage, recall and MRR are what the metrics of those names say (``metrics``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from groundtune.methods._passages import Corpus
from groundtune.nn.encoders import Encoder, Vectors, encode, encode_rows
from groundtune.records import Example
from groundtune.retrieval.bm25 import Bm25

ALL = "all"
#: chunks that a sample ranks: those that hold the passages, then the nearest by BM25
SAMPLE = 256


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

    def figures(self, encoder: Encoder, vectors: Vectors) -> dict[str, dict[str, float]]:
        """Figures of each split and of all; ``vectors`` are those of the chunks, (chunks, D)."""
        scores = self._scores(encode(encoder, [e.question for e in self.examples]), vectors, self.held)
        by_split: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        for example, score in zip(self.examples, scores, strict=True):
            by_split[example.split].append(score)
            by_split[ALL].append(score)
        return {split: _means(found) for split, found in sorted(by_split.items())}

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
    def _scores(asked: Vectors, vectors: Vectors, held: Sequence[Sequence[Sequence[int]]]) -> list[tuple[float, ...]]:
        """Recall at 1 and at 5 and the reciprocal rank of each question."""
        out = []
        for question, passages in zip(asked, held, strict=True):
            similar = vectors @ question
            ranks = [1 + int((similar > similar[list(found)].max()).sum()) for found in passages if found]
            recalls = (sum(rank <= k for rank in ranks) / len(passages) for k in (1, 5))
            out.append((*recalls, 1 / min(ranks) if ranks else 0.0))
        return out


def _means(scores: Sequence[tuple[float, ...]]) -> dict[str, float]:
    means = np.mean(scores, axis=0).round(4).tolist()
    return {"questions": len(scores), **dict(zip(("recall_at_1", "recall_at_5", "mrr"), means, strict=True))}


def better(recall: Mapping[str, Mapping[str, Mapping[str, float]]]) -> bool | None:
    """Whether more of the held-out passages are among the first five, or as many and nearer to the top; None: none are."""
    if ALL not in recall:
        return None
    before, after = ([recall[ALL][when][m] for m in ("recall_at_5", "mrr")] for when in ("before", "after"))
    return after > before


def said(figures: Mapping[str, Any]) -> list[str]:
    """What the figures say, in sentences."""
    lines = []
    recall = {split: found for split, found in figures["recall"].items() if split != ALL or len(figures["recall"]) > 2}
    for split, found in recall.items():
        before, after = found["before"], found["after"]
        words = ", ".join(
            f"{name} {before[key]:.3f} to {after[key]:.3f}"
            for name, key in (("recall@1", "recall_at_1"), ("recall@5", "recall_at_5"), ("MRR", "mrr"))
        )
        lines.append(f"{split}, {before['questions']} held-out questions over {figures['chunks']} chunks: {words}")
    if figures["best_step"] == 0:
        lines.append(
            f"No step ranked better than the untuned model for the {figures['validation_questions']} validation questions: the weights are the untuned ones."
        )
    lines.append(
        {
            True: "It finds more held-out passages than untuned.",
            False: "It is no better than untuned.",
            None: "No question with a passage is held out: whether it is better than untuned is not known.",
        }[figures["better"]]
    )
    return lines
