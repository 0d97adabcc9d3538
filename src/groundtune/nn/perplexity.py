"""How well a causal model predicts a text: perplexity by token, and bits by UTF-8 byte, which tokenizers do not change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from groundtune.errors import InputError


@dataclass(frozen=True, slots=True)
class Perplexity:
    """What a model scored on a text.

    Attributes:
        nats: cross-entropy summed over the scored tokens.
        tokens: scored tokens: all but the first of each window.
        bytes: UTF-8 bytes that the scored tokens stand for.
    """

    nats: float
    tokens: int
    bytes: int

    @property
    def perplexity(self) -> float:
        """``exp`` of the mean cross-entropy a token; between models with one tokenizer only."""
        return math.exp(self.nats / self.tokens)

    @property
    def bits_per_byte(self) -> float:
        """Mean -log2 probability a byte."""
        return self.nats / math.log(2) / self.bytes


def windows(ids: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """A text's tokens cut into windows one behind the other; the last may be shorter, never a single token."""
    for start in range(0, len(ids), tokens):
        window = list(ids[start : start + tokens])
        if len(window) > 1:
            yield window


def score_windows(model: Any, tokenizer: Any, pieces: Iterable[Sequence[int]]) -> Perplexity:
    """Score each window by itself: what stands before it is not seen.

    Args:
        model: a causal model, in evaluation mode.
        tokenizer: the model's.
        pieces: token ids, each window at most the model's context.
    """
    nats, tokens, size = 0.0, 0, 0
    for piece in pieces:
        ids_1T = torch.tensor([list(piece)], device=model.device)
        with torch.inference_mode():
            logits_TV = model(ids_1T, use_cache=False).logits[0].float()
        nats += float(torch.nn.functional.cross_entropy(logits_TV[:-1], ids_1T[0, 1:], reduction="sum"))
        tokens += len(piece) - 1
        size += len(str(tokenizer.decode(list(piece[1:]))).encode("utf-8"))
    return Perplexity(nats, tokens, size)


def perplexity(model: Any, tokenizer: Any, text: str, *, window_tokens: int) -> Perplexity:
    """Perplexity of a model over a text, in windows of ``window_tokens`` one behind the other.

    Comparable only between figures with the same window: a token early in its window has little before it.

    Raises:
        InputError: the text has less than two tokens.
    """
    pieces = list(windows(tokenizer(text, verbose=False)["input_ids"], window_tokens))
    if not pieces:
        raise InputError("the text to measure on is empty", expected="a sentence at least")
    return score_windows(model, tokenizer, pieces)
