"""Cross-entropy, perplexity and bits per byte from the log-probabilities of a text's tokens.

P(X) = prod p(x_i | x_<i); cross-entropy = -(1/t) log P(X); perplexity = e^cross-entropy. Bits per byte divides by the
text's UTF-8 bytes instead of its tokens, so that models with different tokenizers compare. A model over a whole text is
measured by :mod:`groundtune.nn.perplexity`, which ends in the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def cross_entropy(logprobs: Sequence[float]) -> float:
    """Mean negative log-probability of a token, in nats.

    Args:
        logprobs: natural-log probability of each token given those before it.

    Raises:
        ValueError: no token.
    """
    if not logprobs:
        raise ValueError("cross-entropy of no token")
    return -math.fsum(logprobs) / len(logprobs)


def perplexity(logprobs: Sequence[float]) -> float:
    """e^cross-entropy: among how many equally likely tokens the model was choosing; infinite where that overflows."""
    try:
        return math.exp(cross_entropy(logprobs))
    except OverflowError:
        return math.inf


def bits_per_byte(logprobs: Sequence[float], text: str) -> float:
    """-log2 P(X) over the UTF-8 bytes of the text that the tokens spell.

    Raises:
        ValueError: an empty text.
    """
    size = len(text.encode("utf-8"))
    if not size:
        raise ValueError("bits per byte of an empty text")
    return -math.fsum(logprobs) / math.log(2) / size
