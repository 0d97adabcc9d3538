"""At which rank a retrieved chunk holds the passage that answers, and trec_eval's figures of a ranked list.

Shared by the metrics of retrieval, and by whoever evaluates a collection of judged documents (``qrels``).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache

from groundtune.metrics._text import normalise
from groundtune.records import Completion, Example, Passage

#: share of the passage's words, in order of sentences, that a chunk must hold: chunks may cut a passage's edge
_HELD = 0.8


def ranks(completion: Completion, example: Example) -> list[int | None] | None:
    """For each needed passage, the rank from 1 of the first retrieved chunk that holds it; None where none does.

    Returns None for systems that retrieve nothing and for questions without a passage. A chunk holds a passage when it
    is of the same document (and page) and has at least 80 % of the passage's words.
    """
    if not completion.retrieved or not example.passages:
        return None
    found: list[int | None] = []
    for passage in example.passages:
        retrieved = enumerate(completion.retrieved, 1)
        found.append(next((rank for rank, s in retrieved if holds(s.document, s.page, s.text, passage)), None))
    return found


def holds(document: str, page: int | None, text: str, passage: Passage) -> bool:
    """Whether a text of a document's page holds a passage; see :func:`ranks`."""
    if document != passage.document or not (passage.page is None or page is None or page == passage.page):
        return False
    words = _words(passage.text)
    return len(words & _words(text)) >= _HELD * len(words)


@lru_cache(maxsize=10_000)
def _words(text: str) -> frozenset[str]:
    return frozenset(normalise(text).split())


def recall_at(k: int, completion: Completion, example: Example) -> float | None:
    """Share of the needed passages among the first ``k`` chunks; None where nothing is retrieved or to be found."""
    found = ranks(completion, example)
    return None if found is None else sum(r is not None and r <= k for r in found) / len(found)


def ranked(scores: Mapping[str, float]) -> list[str]:
    """Documents in trec_eval's order: highest score first, of equal ones the last name first; scores in float32."""
    return sorted(scores, key=lambda name: (_float32(scores[name]), name.encode()), reverse=True)


def _float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def ndcg(ranking: Sequence[str], judged: Mapping[str, int], k: int) -> float:
    """Normalised discounted cumulative gain of the first ``k``, 0 to 1: trec_eval's ``ndcg_cut``.

    Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (TOIS 2002), with trec_eval's choices:
    the gain is the judgement itself (not 2^judgement - 1), the discount log2(rank + 1); 0 where nothing is relevant.

    Args:
        judged: document -> how relevant, 0 or more; what is not judged is not relevant.
    """
    best = sorted((gain for gain in judged.values() if gain > 0), reverse=True)[:k]
    if not best:
        return 0.0
    return _dcg([judged.get(name, 0) for name in ranking[:k]]) / _dcg(best)


def _dcg(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def recall(ranking: Sequence[str], judged: Mapping[str, int], k: int) -> float:
    """Share of the relevant documents among the first ``k``: trec_eval's ``recall``; 0 where nothing is relevant."""
    relevant = {name for name, gain in judged.items() if gain > 0}
    return len(relevant & set(ranking[:k])) / len(relevant) if relevant else 0.0


def precision(ranking: Sequence[str], judged: Mapping[str, int], k: int) -> float:
    """Share of the first ``k`` that is relevant, of ``k`` even where fewer were found: trec_eval's ``P``."""
    return sum(judged.get(name, 0) > 0 for name in ranking[:k]) / k


def reciprocal_rank(ranking: Sequence[str], judged: Mapping[str, int]) -> float:
    """1 / rank of the first relevant document, 0 without one: trec_eval's ``recip_rank``."""
    return next((1.0 / rank for rank, name in enumerate(ranking, 1) if judged.get(name, 0) > 0), 0.0)


def average_precision(ranking: Sequence[str], judged: Mapping[str, int]) -> float:
    """Mean over all relevant documents of the precision at their ranks, 0 for those not found: trec_eval's ``map``."""
    hits, total = 0, 0.0
    for rank, name in enumerate(ranking, 1):
        if judged.get(name, 0) > 0:
            hits += 1
            total += hits / rank
    relevant = sum(gain > 0 for gain in judged.values())
    return total / relevant if relevant else 0.0
