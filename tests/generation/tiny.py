"""Tiny models with random weights over the bundled tokenizer, and an engine that is asked and waited for."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

from groundtune.generation.engine import Engine, Piece, Writing
from groundtune.generation.sampling import Sampling
from groundtune.generation.writing import Token
from groundtune.nn.checkpoints import load_model


@cache
def tokenizer() -> Any:
    return load_model("pebble")[1]


def llama(seed: int = 0, **more: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    settings = {
        "vocab_size": len(tokenizer()), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.5, "tie_word_embeddings": False,
    }  # fmt: skip
    model = LlamaForCausalLM(LlamaConfig(**{**settings, **more})).eval()
    model.generation_config.eos_token_id = None
    return model


def greedy(model: Any, prompt: Sequence[int], count: int) -> list[int]:
    """The likeliest tokens behind a prompt, by the model alone, without any cache."""
    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(count):
            ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


@dataclass
class Answer:
    """What came of a request."""

    writing: Writing | None = None
    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish: str | None = None
    error: Exception | None = None
    pieces: queue.SimpleQueue[Piece] = field(default_factory=queue.SimpleQueue)

    def wait(self) -> Answer:
        while not self.finish and not self.error:
            piece = self.pieces.get(timeout=60)
            self.text, self.finish, self.error = self.text + piece.text, piece.finish, piece.error
            self.tokens += piece.tokens
        return self


def begin(engine: Engine, prompt: Sequence[int], max_tokens: int = 8, *, adapter: str | None = None, salt: str = "", **how: Any) -> Answer:  # fmt: skip
    """Ask an engine; greedy unless ``how`` says otherwise."""
    answer = Answer()
    sampling = Sampling(**{"max_tokens": max_tokens, "temperature": 0.0, **how})
    answer.writing = engine.submit(prompt, sampling, answer.pieces.put, adapter=adapter, salt=salt)
    return answer
