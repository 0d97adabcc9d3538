"""From tokens to text that may be shown: whole characters only, and nothing of what may turn out to be a stop text."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

#: a token's bytes with its log-probability
Alternative = tuple[bytes, float]


@dataclass(frozen=True, slots=True)
class Token:
    """A written token.

    Attributes:
        id: in the model's vocabulary.
        bytes: what it adds to the text.
        logprob: natural-log probability under the model.
        alternatives: (bytes, log-probability) of the likeliest tokens, best first.
    """

    id: int
    bytes: bytes
    logprob: float
    alternatives: tuple[Alternative, ...] = ()


class Writer:
    """Text of one sequence as it grows.

    Args:
        stops: texts that end it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._tokens: list[tuple[Token, int]] = []  # with the end of each in self._text

    def add(self, token: Token) -> tuple[str, list[Token], bool]:
        """Take a token; the text and the tokens that may be shown now, and whether a stop text ended it."""
        self._text += self._decoder.decode(token.bytes)
        whole = not self._decoder.getstate()[0]
        self._tokens.append((token, len(self._text) if whole else len(self._text) + 1))
        found = min((at for stop in self._stops if (at := self._text.find(stop)) >= 0), default=-1)
        if found >= 0:
            text, tokens = self._take(found)
            return text, tokens, True
        return *self._take(len(self._text) - self._held()), False

    def end(self) -> tuple[str, list[Token]]:
        """What was held back."""
        self._text += self._decoder.decode(b"", True)
        tokens = [token for token, _ in self._tokens]
        text, self._text, self._tokens = self._text, "", []
        return text, tokens

    def _held(self) -> int:
        """Length of the longest end of the text that a stop text begins with."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for length in range(min(longest, len(self._text)), 0, -1):
            if any(stop.startswith(self._text[-length:]) for stop in self._stops):
                return length
        return 0

    def _take(self, length: int) -> tuple[str, list[Token]]:
        text, self._text = self._text[:length], self._text[length:]
        tokens = [token for token, end in self._tokens if end <= length]
        self._tokens = [(token, end - length) for token, end in self._tokens if end > length]
        return text, tokens
