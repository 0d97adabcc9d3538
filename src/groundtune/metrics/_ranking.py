"""At which rank a retrieved chunk holds the passage that answers: shared by recall and mean reciprocal rank."""

from __future__ import annotations

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
