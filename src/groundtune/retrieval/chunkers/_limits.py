"""What every chunker is given: how long a chunk may be, and how texts are counted and embedded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

#: number of tokens of a text
Count = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings of a chunker.

    Attributes:
        count: tokens of a text, as the embedder counts.
        chunk_tokens: most tokens of a chunk.
        overlap_tokens: most tokens repeated from the end of the chunk before it in the same section.
        embed: unit vectors (len(texts), dimensions) of texts.
    """

    count: Count
    chunk_tokens: int
    overlap_tokens: int
    embed: Callable[[Sequence[str]], Any]
