"""Small classifiers over MiniLM vectors and the kinds of words in a sentence: logistic regression, weights as safetensors.

``tools/train_guards.py`` trains them and writes the card beside them (``weights/card.md``: data, figures). Looking at every
sentence with MiniLM costs milliseconds each, so a linear look at the words alone goes first (a cascade, as in Viola and Jones,
CVPR 2001): what it is sure about is no order is not looked at again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from groundtune.guardrails.features import lexical

WEIGHTS = Path(__file__).parent / "weights"
#: verdicts kept in memory
_KEPT = 50_000


class Classifier:
    """How likely a text is of a class, from 0 to 1.

    Args:
        name: of the file in ``weights``.
    """

    def __init__(self, name: str) -> None:
        from safetensors.numpy import load_file

        self.name = name
        self._w = load_file(WEIGHTS / f"{name}.safetensors")
        self._known: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def score(self, texts: Sequence[str]) -> list[float]:
        """The probability for each text."""
        with self._lock:
            found = {t: self._known[t] for t in texts if t in self._known}
        missing = [t for t in dict.fromkeys(texts) if t not in found]
        if missing:
            fresh = dict(zip(missing, self._fresh(missing), strict=True))
            found |= fresh
            with self._lock:
                self._known.update(fresh)
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return [found[t] for t in texts]

    def _fresh(self, texts: Sequence[str]) -> list[float]:
        import numpy as np

        kinds = lexical(texts)
        sure = kinds @ self._w["gate.weight"] + self._w["gate.bias"][0] < self._w["gate.threshold"][0]
        scores = np.zeros(len(texts))
        rows = np.flatnonzero(~sure)
        if len(rows):
            scores[rows] = self._looked_at(kinds[rows], [texts[int(n)] for n in rows])
        return [float(s) for s in scores]

    def _looked_at(self, kinds: Any, texts: Sequence[str]) -> Any:
        from groundtune.retrieval.embedders import minilm

        return probability(self._w, kinds, minilm.embed(texts))


def probability(weights: Any, kinds: Any, vectors: Any) -> Any:
    """Logistic regression over both: (texts, features) -> (texts,)."""
    import numpy as np

    x = np.concatenate([kinds, vectors * weights["vector.scale"][0]], axis=1)
    return 1 / (1 + np.exp(-(x @ weights["out.weight"] + weights["out.bias"][0])))


@cache
def open_classifier(name: str) -> Classifier:
    """The classifier of that name, read once."""
    return Classifier(name)
