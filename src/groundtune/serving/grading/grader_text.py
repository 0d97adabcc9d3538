"""Text similarities of graders, each 0 to 1, by the names of OpenAI's ``text_similarity``.

bleu is sacrebleu's sentence score and rouge_N rouge-score's F1 with stemming, as in the project's metrics; gleu is Wu et al. 2016
("Google's Neural Machine Translation System", section 5) over white-space tokens, as NLTK has it; fuzzy_match is the share of characters
in the longest common subsequence (RapidFuzz' ``fuzz.ratio``); cosine is of the project's embedder. Leaves out meteor: it needs
WordNet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from groundtune.metrics import _sacrebleu
from groundtune.serving.errors import bad_request

#: texts -> unit vectors
Embed = Callable[[Sequence[str]], Any]
#: longest n-grams of gleu
_ORDERS = 4
#: pairs of characters that are compared at most: two texts of 20,000
_MOST_PAIRS = 4 * 10**8


def similarity(metric: str, text: str, reference: str, embed: Embed) -> float:
    """How alike a text and its reference are, 0 to 1.

    Raises:
        ApiError: texts whose comparison would take minutes.
    """
    if len(text) * len(reference) > _MOST_PAIRS:
        message = f"The texts are too long to be compared: {len(text)} and {len(reference)} characters."
        raise bad_request(message, code="text_too_long")
    if metric == "bleu":
        return _sacrebleu.sentence("bleu", text, [reference])
    if metric == "gleu":
        return gleu(text, reference)
    if metric == "fuzzy_match":
        return fuzzy_match(text, reference)
    if metric == "cosine":
        one, other = embed([text, reference])
        return max(0.0, min(1.0, float((one * other).sum())))
    name = "rougeL" if metric == "rouge_l" else f"rouge{metric.removeprefix('rouge_')}"
    return float(_rouge(name).score(reference, text)[name].fmeasure)


@cache
def _rouge(name: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([name], use_stemmer=True)


def gleu(text: str, reference: str) -> float:
    """The smaller of precision and recall of all 1- to 4-grams."""
    own, wanted = _grams(text.split()), _grams(reference.split())
    most = max(own.total(), wanted.total())
    return (own & wanted).total() / most if most else 0.0


def _grams(words: list[str]) -> Counter[tuple[str, ...]]:
    return Counter(
        tuple(words[at : at + order]) for order in range(1, _ORDERS + 1) for at in range(len(words) - order + 1)
    )


def fuzzy_match(text: str, reference: str) -> float:
    """2 x longest common subsequence / characters of both.

    The subsequence by bits of one long number (Hyyrö, "Bit-Parallel LCS-length Computation Revisited", 2004).
    """
    if not text and not reference:
        return 1.0
    places: dict[str, int] = {}
    for at, letter in enumerate(text):
        places[letter] = places.get(letter, 0) | 1 << at
    whole = (1 << len(text)) - 1
    row = whole
    for letter in reference:
        matches = row & places.get(letter, 0)
        row = ((row + matches) | (row - matches)) & whole
    common = len(text) - row.bit_count()
    return 2 * common / (len(text) + len(reference))
