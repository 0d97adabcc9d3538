"""Examples that stand in a dataset more than once: copies among all rows, near twins among the sampled ones.

Copies are found by an eight-byte digest of the normalized text, 24 bytes a row in all (two different texts of a million
share one with a probability under 1 in 30 million). Near twins are found by MinHash (``groundtune.dedup``). Leaves out taking
anything out.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from groundtune.dataset.stats.sample import HUGE_CHARACTERS, SampledRow, answered, asked, text_of, turns_of
from groundtune.dataset.stats.words import words_of

SHOWN = 12
TWIN_CHARACTERS = 900

#: least Jaccard similarity of the word shingles of near twins
NEAR = 0.8


def digest_of(text: str) -> int:
    """Eight bytes of a text's hash; case, spaces and punctuation do not count."""
    normal = (" ".join(words_of(text)) if len(text) <= HUGE_CHARACTERS else "") or text.strip()
    return int.from_bytes(hashlib.blake2b(normal.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _whole(row: SampledRow) -> str:
    return "\n".join(f"{m.role}: {text_of(m)}" for m in turns_of(row.item))


@dataclass(slots=True)
class ExactCopies:
    """Digests of every row's turns and of what it asks."""

    wholes: array[int] = field(default_factory=lambda: array("Q"))
    questions: array[int] = field(default_factory=lambda: array("Q"))

    def offer(self, row: SampledRow) -> None:
        """Take a row's digests in."""
        self.wholes.append(digest_of(_whole(row)))
        question = asked(row.item)
        self.questions.append(digest_of(question) if question.strip() else self.wholes[-1])

    def figures(self, rows: Sequence[SampledRow]) -> dict[str, Any]:
        """Copies among all rows, and texts of the most frequent ones where the sampled rows hold them.

        Returns:
            ``groups`` of equal rows, ``copies`` (rows beyond the first of each group), ``same_question`` (rows that ask
            what another row asks and are answered differently), ``shown`` ({rows, lines, asked, answered}).
        """
        import numpy as np

        wholes, counts = np.unique(np.array(self.wholes, dtype=np.uint64), return_counts=True)
        copied = {int(d): int(n) for d, n in zip(wholes[counts > 1], counts[counts > 1], strict=True)}
        pairs = np.unique(np.array([self.questions, self.wholes], dtype=np.uint64), axis=1)
        _, ways = np.unique(pairs[0], return_counts=True)
        shown: dict[int, list[SampledRow]] = {}
        if copied:
            for row in rows:
                if (found := digest_of(_whole(row))) in copied:
                    shown.setdefault(found, []).append(row)
        most = sorted(shown, key=lambda found: (-copied[found], shown[found][0].number))[:SHOWN]
        return {
            "groups": len(copied),
            "copies": sum(copied.values()) - len(copied),
            "same_question": int(ways[ways > 1].sum()),
            "shown": [
                {"rows": copied[d], "lines": [row.line for row in shown[d][:20]], **_texts(shown[d][0])} for d in most
            ],
        }


def near_twins(rows: Sequence[SampledRow], *, threshold: float = NEAR) -> dict[str, Any]:
    """Examples whose question and answer are almost an earlier one's; equal ones are left to :class:`ExactCopies`.

    Returns:
        ``threshold``, ``looked_at`` (rows), ``examples`` (rows that are like an earlier one), ``across_splits`` (those whose
        earlier twin has another split), ``other_numbers`` (those that differ in a number, such as two years' rules),
        ``shown`` ({similarity, same_numbers, a, b}; twins across splits first, then the nearest; no row twice).
    """
    from groundtune.dedup.near import NearDuplicates

    first: dict[int, SampledRow] = {}
    for row in rows:
        first.setdefault(digest_of(_whole(row)), row)
    distinct = list(first.values())
    index: NearDuplicates[int] = NearDuplicates(threshold)
    found = list(index.add_all((at, _said(row)) for at, row in enumerate(distinct)))
    across = {pair.key for pair in found if distinct[pair.key].item.split != distinct[pair.earlier].item.split}
    order = sorted(found, key=lambda pair: (pair.key not in across, -pair.similarity, pair.key))
    shown: list[dict[str, Any]] = []
    seen: set[int] = set()
    for pair in order:
        if len(shown) < SHOWN and not {pair.key, pair.earlier} & seen:
            twins = {"a": _texts(distinct[pair.earlier]), "b": _texts(distinct[pair.key])}
            shown.append({"similarity": pair.similarity, "same_numbers": pair.same_numbers, **twins})
            seen |= {pair.key, pair.earlier}
    return {
        "threshold": threshold,
        "looked_at": len(rows),
        "examples": len(found),
        "across_splits": len(across),
        "other_numbers": sum(not pair.same_numbers for pair in found),
        "shown": shown,
    }


def _said(row: SampledRow) -> str:
    return "\n".join(text_of(m) for m in turns_of(row.item) if m.role not in ("system", "developer"))


def _texts(row: SampledRow) -> dict[str, Any]:
    cut = {
        name: text if len(text) <= TWIN_CHARACTERS else text[: TWIN_CHARACTERS - 1] + "…"
        for name, text in (("asked", asked(row.item)), ("answered", answered(row.item)))
    }
    return {"line": row.line, "split": row.item.split, **cut}
