"""Conversations as input-output pairs for an encoder-decoder: token rows to train on, items to be tested with.

The input is what stands before the last answer, the target that answer. System messages belong to the input only where
training rows differ in them: one text before every input says nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundtune.backends.encoder_decoder import cut, input_ids, input_text, target_ids
from groundtune.dataset.item_text import answer_of, context_of
from groundtune.dataset.render import Truncation
from groundtune.errors import InputError
from groundtune.methods._setup import Backend
from groundtune.records import Completion, Conversation, Message
from groundtune.training.pairs import PairRow

Placed = Sequence[tuple[str, Conversation]]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Token rows, and what had to be left of them.

    Attributes:
        rows: the pairs.
        inputs_cut: inputs that lost their end.
        over_limit: pairs left out for their length.
    """

    rows: list[PairRow]
    inputs_cut: int
    over_limit: int


def system_text_matters(conversations: Placed) -> bool:
    """True where system messages tell rows apart."""
    return len({context_of(c) for _, c in conversations}) > 1


def asked_of(conversation: Conversation) -> tuple[Message, ...]:
    """The turns before the last answer."""
    messages = conversation.messages
    last = max((n for n, m in enumerate(messages) if m.role == "assistant"), default=len(messages))
    return messages[:last]


def pair_rows(
    tokenizer: Any,
    conversations: Placed,
    *,
    system_text: bool,
    limit: int,
    input_tokens: int | None,
    truncation: Truncation,
) -> Pairs:
    """Conversations as token rows.

    Args:
        limit: most tokens of an input, and of a target.
        input_tokens: inputs are cut to so many; None: none is cut.
        truncation: what happens to a pair over the limit: "error" or "drop".

    Raises:
        InputError: an input or an answer is empty, or over the limit and not to be dropped.
    """
    rows: list[PairRow] = []
    inputs_cut = over = 0
    for where, conversation in conversations:
        text, answer = input_text(asked_of(conversation), system_text=system_text), answer_of(conversation)
        if not text.strip() or not answer.strip():
            side = "input" if answer.strip() else "answer"
            raise InputError(f"{where}: the {side} is empty", expected="an input and the answer to it")
        given, wanted = input_ids(tokenizer, text), target_ids(tokenizer, answer)
        if input_tokens and len(given) > input_tokens:
            given = cut(given, input_tokens)
            inputs_cut += 1
        longest = max(len(given), len(wanted))
        if longest > limit and truncation == "error":
            raise InputError(
                f"{where}: {longest} tokens, over the limit of {limit}",
                expected=f"at most {limit} tokens of an input and of an answer",
                next_step="set tune.options.input_tokens to cut inputs, or tune.truncation: drop to leave such rows out",
            )
        if longest > limit:
            over += 1
        else:
            rows.append(PairRow(tuple(given), tuple(wanted)))
    return Pairs(rows, inputs_cut, over)


@dataclass(frozen=True, slots=True)
class TestItem:
    """One input to be answered, and every right answer to it that the file has."""

    __test__ = False  # for pytest: this is no test
    messages: tuple[Message, ...]
    references: tuple[str, ...]


def items_of(conversations: Placed) -> list[TestItem]:
    """Rows of one input (and system text) as one item, in the file's order."""
    grouped: dict[tuple[Message, ...], list[str]] = {}
    for _, conversation in conversations:
        grouped.setdefault(asked_of(conversation), []).append(answer_of(conversation))
    return [TestItem(messages, tuple(dict.fromkeys(answers))) for messages, answers in grouped.items()]


def run_test(backend: Backend, items: Sequence[TestItem], *, max_tokens: int, answers: Path) -> dict[str, float]:
    """Answer the test items and score them as one corpus.

    Args:
        backend: what answers; anything with ``generate_batch``.
        max_tokens: most tokens of an answer.
        answers: file that gets one line of JSON an item: input, answer, references.

    Returns:
        ``n``, ``seconds``, and the figures of :func:`groundtune.metrics._corpus.corpus_scores`.
    """
    from groundtune.metrics._corpus import corpus_scores

    started = time.perf_counter()
    written = [g.text for g in backend.generate_batch([i.messages for i in items], max_tokens=max_tokens)]
    seconds = round(time.perf_counter() - started, 2)
    with answers.open("w", encoding="utf-8") as out:
        for item, text in zip(items, written, strict=True):
            asked = "\n".join(m.content for m in item.messages)
            row = {"input": asked, "answer": text, "references": item.references}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return {"n": len(items), "seconds": seconds, **corpus_scores(written, [i.references for i in items])}


class PairSystem:
    """An encoder-decoder that was trained on pairs: the words of the conversation are its input, as they are.

    Args:
        name, description: as every System's.
        backend: what generates.
        max_tokens: most tokens of an answer.
    """

    def __init__(self, name: str, description: str, backend: Backend, *, max_tokens: int) -> None:
        self.name, self.description = name, description
        self._backend, self._max_tokens = backend, max_tokens

    def answer(self, messages: Sequence[Message]) -> Completion:
        """Answer a conversation."""
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """Answer many."""
        written = self._backend.generate_batch(conversations, max_tokens=self._max_tokens)
        return [Completion(g.text, not g.text, logprobs=g.logprobs, usage=g.usage) for g in written]
