"""Token ids of OpenAI's cl100k_base back to text: LangChain's ``OpenAIEmbeddings`` sends ids instead of text.

The table beside this file is ``cl100k_base.tiktoken`` of OpenAI's tiktoken (MIT licence, copyright 2022 OpenAI, Shantanu
Jain), taken from the copy in the wheel of litellm 1.109.1 (MIT licence, copyright 2023 Berri AI) by
``tools/cl100k_table.py``, which checks its SHA-256. Leaves out special tokens and the way from text to ids.
"""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path

#: tokens of the table; ids from here on are special ones or none
SIZE = 100_256


@cache
def _table() -> tuple[bytes, list[int]]:
    """The bytes of all tokens one behind the other, and where each begins; the last place is where they end."""
    raw = lzma.decompress((Path(__file__).parent / "cl100k.bin.xz").read_bytes())
    return raw[SIZE:], list(accumulate(raw[:SIZE], initial=0))


def decode(ids: Sequence[int]) -> str:
    """The text of token ids; bytes that are no UTF-8, as at a cut in the middle of a character, become U+FFFD.

    Raises:
        KeyError: the first id that is not in the table.
    """
    content, starts = _table()
    wrong = next((id for id in ids if not 0 <= id < SIZE), None)
    if wrong is not None:
        raise KeyError(wrong)
    return b"".join(content[starts[id] : starts[id + 1]] for id in ids).decode("utf-8", "replace")
