"""Confusion matrix of a classification, with accuracy, precision, recall and F1; the figures of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each right label was given each label.

    Attributes:
        labels: in the order of rows and columns.
        counts: rows are right labels, columns given ones.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def n(self) -> int:
        """Items in all."""
        return sum(map(sum, self.counts))

    @property
    def accuracy(self) -> float:
        """Share given their right label; 0 where there is none."""
        return sum(row[i] for i, row in enumerate(self.counts)) / self.n if self.n else 0.0

    def of_label(self, label: str) -> dict[str, float]:
        """Precision, recall and F1 of a label; 0 where a denominator is 0, as scikit-learn's ``zero_division=0``."""
        i = self.labels.index(label)
        hits, wanted, given = self.counts[i][i], sum(self.counts[i]), sum(row[i] for row in self.counts)
        return {
            "precision": hits / given if given else 0.0,
            "recall": hits / wanted if wanted else 0.0,
            "f1": 2 * hits / (wanted + given) if wanted + given else 0.0,
        }

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels, each counting the same."""
        return sum(self.of_label(label)["f1"] for label in self.labels) / len(self.labels)

    def to_json(self) -> dict[str, Any]:
        """Labels, counts, accuracy, macro F1, and each label's own figures."""
        return {
            "labels": list(self.labels),
            "matrix": [list(row) for row in self.counts],
            "n": self.n,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "by_label": {label: self.of_label(label) for label in self.labels},
        }


def confusion(right: Sequence[str], given: Sequence[str], labels: Sequence[str]) -> Confusion:
    """The confusion matrix.

    Raises:
        ValueError: a label that is none of ``labels``, or lists of different length.
    """
    place = {label: n for n, label in enumerate(labels)}
    counts = [[0] * len(labels) for _ in labels]
    for wanted, got in zip(right, given, strict=True):
        if wanted not in place or got not in place:
            raise ValueError(f"label {wanted if wanted not in place else got!r} is none of {', '.join(labels)}")
        counts[place[wanted]][place[got]] += 1
    return Confusion(tuple(labels), tuple(map(tuple, counts)))
