"""A tokenizer's tokens as bytes: what each adds to a text, which ones end an answer."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from groundtune.dataset.render import turn_end


class Vocabulary:
    """The tokens of a model.

    Args:
        tokenizer: a fast one of transformers.
        size: rows of the model's head.
        ends: tokens that the model's own settings end a text with.

    Attributes:
        known: tokens that the tokenizer knows.
        ends: tokens that end an answer: the model's, the tokenizer's, and where its chat template ends turns.
    """

    def __init__(self, tokenizer: Any, size: int, ends: set[int]) -> None:
        self.tokenizer, self.size = tokenizer, size
        self.known = min(size, len(tokenizer))
        known = {*ends, tokenizer.eos_token_id, turn_end(tokenizer) if tokenizer.chat_template else None}
        self.ends = {int(id) for id in known if id is not None}
        self._bytes: dict[int, bytes] = {}

    @cached_property
    def guidance(self) -> Any:
        """llguidance's view of the tokenizer."""
        import llguidance.hf

        return llguidance.hf.from_tokenizer(self.tokenizer, n_vocab=self.size, eos_token=sorted(self.ends) or None)

    def bytes_of(self, id: int) -> bytes:
        """What a token adds to a text; nothing for one that only marks."""
        if id not in self._bytes:
            marks = id in self.ends or id >= self.known or self.guidance.is_special_token(id)
            self._bytes[id] = b"" if marks else bytes(self.guidance.decode_bytes([id]))
        return self._bytes[id]

    def name_of(self, id: int) -> bytes:
        """A token's bytes for a list of alternatives: of one that only marks, its name, such as ``<|end|>``."""
        own = self.bytes_of(id)
        return own or (str(self.tokenizer.convert_ids_to_tokens(id)).encode() if id < self.known else b"")

    def encode(self, text: str) -> list[int]:
        """Token ids of a text as it is: nothing is added, control tokens in it are the characters they are."""
        return list(
            self.tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        )
