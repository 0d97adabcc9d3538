"""A tokenizer that several threads use: one call at a time.

A fast tokenizer of transformers keeps what a call asked for (special tokens spelt out or not, truncation, padding) in one object
behind it, sets it where it differs and only then encodes (``TokenizersBackend._encode_plus``). Two threads that ask for different
things can each get what the other asked for: a chat's markers spelt out as text, or a control token out of a user's text as one.
"""

from __future__ import annotations

import threading
from typing import Any


def shared(tokenizer: Any) -> Any:
    """The same tokenizer, made safe for threads; it cannot be pickled or copied any more."""
    lock, encode = threading.RLock(), tokenizer._encode_plus  # encoding a marked chat encodes its parts

    def one_at_a_time(*args: Any, **named: Any) -> Any:
        with lock:
            return encode(*args, **named)

    tokenizer._encode_plus = one_at_a_time
    return tokenizer
