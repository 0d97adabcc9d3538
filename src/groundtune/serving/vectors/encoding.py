"""Texts to vectors for every part of the server: one slice at a time, of all who ask in turn.

They share a thread with whatever else computes (``nn.computing``), and whoever has many texts waits behind the others after
each slice: a question is answered while a book is being read in.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from groundtune.nn.computing import in_turn, submit
from groundtune.nn.encoders import Vectors
from groundtune.retrieval.embedding import Embedder

#: texts that one turn of the encoder takes
SLICE = 32
#: marks that an encoder puts around a text
_MARKS = 2
_WORD = re.compile(r"\s*\S+\s*")


def embed(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """Unit vectors, shape (len(texts), DIMENSIONS), of any thread but the event loop's."""
    parts = [in_turn(embedder.embed, part) for part in _slices(texts)]
    return _stacked(parts, embedder)


async def embed_soon(embedder: Embedder, texts: Sequence[str], gone: Callable[[], Awaitable[bool]]) -> Vectors | None:
    """As :func:`embed`, on the event loop; None where ``gone``, asked after each slice, says that nobody waits any longer."""
    parts: list[Vectors] = []
    for part in _slices(texts):
        if parts and await gone():
            return None
        parts.append(await asyncio.wrap_future(submit(embedder.embed, part)))
    return _stacked(parts, embedder)


def _slices(texts: Sequence[str]) -> list[list[str]]:
    return [list(texts[start : start + SLICE]) for start in range(0, len(texts), SLICE)]


def _stacked(parts: Sequence[Vectors], embedder: Embedder) -> Vectors:
    return np.concatenate(parts) if parts else np.zeros((0, embedder.DIMENSIONS), dtype=np.float32)


def windows(text: str, embedder: Embedder) -> list[tuple[str, int]]:
    """A text in parts that the encoder reads to their ends, cut between words, each with its tokens.

    A word that is longer than a part, as a line of Chinese may be, is cut between characters.
    """
    room, whole = embedder.MAX_TOKENS - _MARKS, embedder.count_tokens(text)
    if whole <= room:
        return [(text, whole)]
    found: list[tuple[str, int]] = []
    held, tokens = "", 0
    for word in _WORD.findall(text):
        size = embedder.count_tokens(word)
        pieces = [(word, size)]
        if size > room:  # a token is rarely shorter than a character
            cut = [word[start : start + room] for start in range(0, len(word), room)]
            pieces = [(piece, embedder.count_tokens(piece)) for piece in cut]
        for piece, size in pieces:
            if held and tokens + size > room:
                found.append((held, tokens))
                held, tokens = "", 0
            held, tokens = held + piece, tokens + size
    return [*found, (held, tokens)]


def joined(parts: Vectors, tokens: Sequence[int]) -> Vectors:
    """One unit vector of a text's windows: their mean, each by its length in tokens, as long as 1 again."""
    mean = np.average(parts, axis=0, weights=np.maximum(np.asarray(tokens, dtype=np.float32), 1))
    return unit(mean)


def unit(vector: Vectors) -> Vectors:
    """The same direction with length 1; a vector of zeros stays one."""
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length else vector, dtype=np.float32)
