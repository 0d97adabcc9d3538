"""Any language model as a reranker: it is asked for the order of the passages, the best first.

Sun et al., "Is ChatGPT Good at Search?" (RankGPT, EMNLP 2023), in its list-wise form: one prompt holds ten numbered
passages, and a window of ten slides from the end of the candidates to their head by five, so that a good passage climbs.
What the model leaves out keeps its order behind what it names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from groundtune.errors import ConfigError
from groundtune.retrieval.reranking import Generate

WINDOW, STEP = 10, 5
#: characters of a passage in the prompt
LONGEST = 1200
PROMPT = (
    "Rank the {count} passages below by how well they answer the question, best first.\n\n{passages}\n\n"
    "Question: {question}\n\nAnswer with the numbers only, as in [2] > [1] > [3]."
)


class LanguageModel:
    """A language model that orders passages.

    Args:
        generate: prompts -> texts.
    """

    NAME = "language_model"

    def __init__(self, generate: Generate) -> None:
        self._generate = generate

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """Minus the place that each text ends up at, from 0."""
        order = list(range(len(texts)))
        start = max(0, len(order) - WINDOW)
        while True:
            part = order[start : start + WINDOW]
            if len(part) > 1:
                order[start : start + WINDOW] = [part[n] for n in self._ranked(question, [texts[n] for n in part])]
            if start == 0:
                break
            start = max(0, start - STEP)
        places = {n: place for place, n in enumerate(order)}
        return [-float(places[n]) for n in range(len(texts))]

    def _ranked(self, question: str, texts: Sequence[str]) -> list[int]:
        passages = "\n\n".join(f"[{n}] {t[:LONGEST]}" for n, t in enumerate(texts, 1))
        prompt = PROMPT.format(count=len(texts), passages=passages, question=question)
        return order_in(self._generate([prompt])[0], len(texts))


def order_in(answer: str, count: int) -> list[int]:
    """Positions 0 to count - 1 in the order in which an answer names the numbers 1 to count; those it leaves out last."""
    named = [int(n) - 1 for n in re.findall(r"\d+", answer)]
    return list(dict.fromkeys([*(n for n in named if 0 <= n < count), *range(count)]))


def open_reranker(generate: Generate | None = None) -> LanguageModel:
    """The reranker.

    Raises:
        ConfigError: nothing to ask.
    """
    if generate is None:
        raise ConfigError(
            "retrieval.reranker: language_model asks a language model, and none was given",
            expected="a System with a model",
            next_step="set `model:` in groundtune.yaml",
        )
    return LanguageModel(generate)
