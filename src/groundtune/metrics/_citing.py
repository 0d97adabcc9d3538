"""Which sources of an answer are among the passages that answer its question: shared by citation precision and recall.

Citations are judged as in ALCE (Gao et al., "Enabling Large Language Models to Generate Text with Citations", EMNLP 2023),
but against the passages that the question's author named, in the place of a language model's opinion.
"""

from __future__ import annotations

from functools import lru_cache

from groundtune.metrics._ranking import holds
from groundtune.metrics._text import normalise
from groundtune.records import Passage, Source

#: share of the words that quote and passage must have in common, of the shorter of the two
_SHARED = 0.8


def cites(source: Source, passage: Passage) -> bool:
    """Whether a source is of the passage's document and page and its quote is the passage, or a part of it.

    A source without a quote stands for its whole chunk.
    """
    if not source.quote:
        return holds(source.document, source.page, source.text, passage)
    if source.document != passage.document or not (passage.page is None or source.page in (None, passage.page)):
        return False
    quoted, wanted = _words(source.quote), _words(passage.text)
    return bool(quoted) and len(quoted & wanted) >= _SHARED * min(len(quoted), len(wanted))


@lru_cache(maxsize=10_000)
def _words(text: str) -> frozenset[str]:
    return frozenset(normalise(text).split())
