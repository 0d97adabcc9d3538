"""What a dataset is about: clusters of embeddings, each with its nearest examples and characteristic words.

K-means on unit vectors (spherical to within the mean's length; Dhillon and Modha 2001), the number of clusters chosen
by the silhouette (Rousseeuw 1987). The characteristic words of a cluster are those whose share of its examples stands
out against their share of all: p log(p / q), a word's part of the Kullback-Leibler divergence. Leaves out how texts
become vectors: the embedder is passed in.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from groundtune.dataset.stats.words import function_words, is_content, words_of

if TYPE_CHECKING:
    import numpy as np

    Vectors = np.ndarray[Any, np.dtype[np.float32]]

#: texts to unit vectors, shape (len(texts), dimensions)
Embedder = Callable[[Sequence[str]], Any]
#: most texts that are embedded
MOST_TEXTS = 2_000
#: fewer texts than this have no topics
FEWEST_TEXTS = 30
#: clusters that are tried; no cluster count is tried that leaves under eight texts for each on average
MOST_CLUSTERS = 16
FEWEST_EACH = 8
WORDS = 8
NEAREST = 3
RULE = (
    "K-means for each number of clusters from 3 to {most}; kept: the one whose texts lie best in their own cluster against "
    "the nearest other one (largest mean silhouette)"
)


def find_topics(texts: Sequence[str], vectors: Vectors, *, seed: int = 0) -> dict[str, Any]:
    """Clusters of texts by their vectors.

    Args:
        texts: what is shown, and where the words come from.
        vectors: shape (len(texts), dimensions), unit length.
        seed: of the clusters' beginnings.

    Returns:
        ``texts``, ``rule``, ``silhouette`` and ``topics``, largest first: each with ``size``, ``words`` and ``nearest``
        (indices into ``texts``, the closest to the cluster's centre first, no text twice). No topics for fewer than 30
        texts, or where the vectors do not differ.
    """
    import numpy as np

    most = min(MOST_CLUSTERS, len(texts) // FEWEST_EACH)
    found: dict[str, Any] = {"texts": len(texts), "rule": RULE.format(most=most), "silhouette": None, "topics": []}
    distinct = len(np.unique(np.round(vectors, 4), axis=0)) if len(vectors) else 0
    if len(texts) < FEWEST_TEXTS or distinct < FEWEST_EACH:
        return found
    labels, centres, found["silhouette"] = _clusters(vectors, min(most, distinct - 1), seed)
    words = characteristic_words(texts, labels.tolist(), len(centres))
    topics = []
    for number, centre in enumerate(centres):
        own = np.flatnonzero(labels == number)
        order = own[np.argsort(-(vectors[own] @ centre), kind="stable")]
        nearest: dict[str, int] = {}
        for at in order.tolist():
            nearest.setdefault(" ".join(words_of(texts[at])), at)
            if len(nearest) == NEAREST:
                break
        topics.append({"size": len(own), "words": words[number], "nearest": list(nearest.values())})
    found["topics"] = sorted(topics, key=lambda topic: -topic["size"])
    return found


def _clusters(vectors: Vectors, most: int, seed: int) -> tuple[Any, Any, float]:
    """Labels, centres and mean silhouette of the best number of clusters."""
    from sklearn.cluster import KMeans  # type: ignore[import-untyped]
    from sklearn.metrics import silhouette_score  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    best: tuple[float, Any, Any] | None = None
    with threadpool_limits(1):  # so few vectors are clustered fastest by one thread, above all on a busy machine
        for number in range(3, max(most, 3) + 1):
            fitted = KMeans(number, n_init=3, random_state=seed).fit(vectors)
            if len(set(fitted.labels_.tolist())) < 2:
                continue
            score = float(silhouette_score(vectors, fitted.labels_, metric="cosine"))
            if best is None or score > best[0]:
                best = (score, fitted.labels_, fitted.cluster_centers_)
    assert best is not None  # the vectors differ
    return best[1], best[2], best[0]


def characteristic_words(texts: Sequence[str], labels: Sequence[int], clusters: int) -> list[list[str]]:
    """The words that set each cluster apart, best first; only words of several of its texts."""
    everywhere: Counter[str] = Counter()
    own: list[Counter[str]] = [Counter() for _ in range(clusters)]
    sizes: Counter[int] = Counter(labels)
    for text, label in zip(texts, labels, strict=True):
        words = set(words_of(text))
        everywhere.update(words)
        own[label].update(words)
    function = function_words(everywhere)
    out = []
    for label, counts in enumerate(own):
        fewest = max(2, math.ceil(sizes[label] / 50))
        scores = {}
        for word, n in counts.items():
            p, q = n / sizes[label], everywhere[word] / len(texts)
            if n >= fewest and p > q and is_content(word, function):
                scores[word] = p * math.log(p / q)
        out.append([w for w, _ in sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:WORDS]])
    return out


def isolation(vectors: Vectors, *, neighbours: int = 5) -> list[float]:
    """Each vector's mean cosine distance to its five nearest others: 0 among copies, towards 1 for what is like nothing."""
    import numpy as np

    if len(vectors) < 2:
        return [0.0] * len(vectors)
    near = min(neighbours, len(vectors) - 1)
    out: list[float] = []
    for start in range(0, len(vectors), 512):
        likeness = vectors[start : start + 512] @ vectors.T
        likeness[np.arange(len(likeness)), np.arange(start, start + len(likeness))] = -np.inf
        best = np.partition(likeness, -near, axis=1)[:, -near:]
        out.extend((1 - best.mean(axis=1)).tolist())
    return out
