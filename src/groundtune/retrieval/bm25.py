"""BM25 in memory, over texts that need no store: mining passages that share a question's words and do not answer it.

Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), equation 3.15, with the idf that Lucene uses.
Searching the documents for a user's question is the store's work (``stores``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from groundtune.dataset.reading import STOP_WORDS

K1, B = 1.2, 0.75


class Bm25:
    """Texts, ready to be searched.

    Args:
        texts: what is found, by its position.
        terms: text -> its terms, as :mod:`.words` has them; default: its words as they are, without English stop words.
    """

    def __init__(self, texts: Sequence[str], terms: Callable[[str], list[str]] | None = None) -> None:
        from scipy.sparse import csr_matrix  # type: ignore[import-untyped,unused-ignore]
        from sklearn.feature_extraction.text import CountVectorizer  # type: ignore[import-untyped]

        plain: Any = {"stop_words": sorted(STOP_WORDS), "token_pattern": r"(?u)\b\w+\b"}
        self._words = CountVectorizer(**({"analyzer": terms} if terms else plain), dtype=np.float32)
        try:
            counts: Any = self._words.fit_transform(texts)
        except ValueError:  # nothing but stop words
            counts = csr_matrix((len(texts), 0), dtype=np.float32)
        lengths = np.asarray(counts.sum(1)).ravel()
        holding = np.asarray((counts > 0).sum(0)).ravel()
        idf = np.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        norm = K1 * (1 - B + B * lengths / max(float(lengths.mean()), 1e-9))
        weights = counts.tocoo()
        weights.data = idf[weights.col] * weights.data * (K1 + 1) / (weights.data + norm[weights.row])
        self._weights = weights.tocsr().T.tocsr()

    def scores(self, queries: Sequence[str]) -> np.ndarray[Any, Any]:
        """Score of every text for every query, shape (len(queries), texts)."""
        if not self._weights.shape[0]:
            return np.zeros((len(queries), self._weights.shape[1]), dtype=np.float32)
        asked: Any = (self._words.transform(queries) > 0).astype(np.float32)
        return np.asarray((asked @ self._weights).todense())

    def best(self, queries: Sequence[str], k: int) -> Iterator[list[int]]:
        """For each query the positions of its ``k`` best texts that share a word with it, best first."""
        for start in range(0, len(queries), 64):
            for row in self.scores(queries[start : start + 64]):
                order = np.argsort(-row, kind="stable")[:k]
                yield [int(n) for n in order if row[n] > 0]
