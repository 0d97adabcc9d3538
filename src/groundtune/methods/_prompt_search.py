"""Search among prompts: how good one is, fewer and fewer of them on more and more questions, and a journal of the rounds.

Successive halving (Jamieson and Talwalkar, AISTATS 2016): every round scores what is left on twice as many questions as
the round before and keeps the better half. A round is written down as it ends; a search that is started again reads the
rounds it has and goes on with the next, so it ends where one that was not stopped ends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from groundtune.dataset.render import render_example
from groundtune.errors import InputError
from groundtune.methods._hard_prompts import HardPrompt, as_json, from_json
from groundtune.metrics import exact_match, token_f1
from groundtune.records import Completion, Example, Message
from groundtune.workspace import write_json

#: questions of the first round
FIRST = 8
#: prompts and how good they are: less is better
Scored = list[tuple[HardPrompt, float]]


class Scorer(Protocol):
    """Says how good a prompt is.

    Attributes:
        unit: what its numbers are.
    """

    unit: str

    def score(self, prompt: HardPrompt, examples: Sequence[Example]) -> float:
        """Less is better; infinite where the prompt does not fit into the model's context."""
        ...

    def fits(self, prompt: HardPrompt, examples: Sequence[Example]) -> bool:
        """Whether it fits with each of the questions and its answer."""
        ...


class Likelihood:
    """Mean negative log-likelihood of the answers' tokens, in nats, under a model of this machine.

    Args:
        backend: a local one, with ``model``, ``tokenizer`` and ``context_tokens``.
    """

    unit = "nats a token"

    def __init__(self, backend: Any) -> None:
        self.model, self.tokenizer, self._context = backend.model, backend.tokenizer, backend.context_tokens

    def rows(self, prompt: HardPrompt, examples: Sequence[Example]) -> list[Any] | None:
        """The questions with their answers as token rows; None where one is longer than the context."""
        out = []
        for example in examples:
            asked = [replace(m, trained=False) for m in prompt.messages(example.question)]  # demonstrations are context
            turns = [*asked, Message("assistant", example.references[0])]
            row = render_example(
                self.tokenizer, turns, max_tokens=self._context, where=f"example {example.id}", truncation="drop"
            )
            if len(row.ids) > self._context:
                return None
            out.append(row)
        return out

    def fits(self, prompt: HardPrompt, examples: Sequence[Example]) -> bool:
        """See :class:`Scorer`."""
        return self.rows(prompt, examples) is not None

    def score(self, prompt: HardPrompt, examples: Sequence[Example]) -> float:
        """See :class:`Scorer`."""
        from groundtune.training.data import RowBatches
        from groundtune.training.objectives import mean_loss

        rows = self.rows(prompt, examples)
        if rows is None:
            return float("inf")
        return mean_loss(self.model, RowBatches(rows, batch_tokens=2048, epochs=1, seed=0))


class Answers:
    """One minus the mean token F1 of the answers that a model writes: for models that tell no likelihoods.

    Args:
        backend: what generates.
        max_tokens: most tokens of an answer.
    """

    unit = "1 - token F1"

    def __init__(self, backend: Any, max_tokens: int) -> None:
        self._backend, self._max_tokens = backend, max_tokens

    def fits(self, prompt: HardPrompt, examples: Sequence[Example]) -> bool:
        """See :class:`Scorer`; a model elsewhere says so itself."""
        return True

    def score(self, prompt: HardPrompt, examples: Sequence[Example]) -> float:
        """See :class:`Scorer`."""
        return 1 - answer_figures(self._backend, prompt, examples, self._max_tokens)["token_f1"]


def answer_figures(backend: Any, prompt: HardPrompt, examples: Sequence[Example], max_tokens: int) -> dict[str, float]:
    """Mean exact match and token F1 of what a backend answers."""
    written = backend.generate_batch([prompt.messages(e.question) for e in examples], max_tokens=max_tokens)
    pairs = [(Completion(g.text), e) for g, e in zip(written, examples, strict=True)]
    return {
        name: sum(metric.score(c, e) or 0.0 for c, e in pairs) / max(1, len(pairs))
        for name, metric in (("exact_match", exact_match), ("token_f1", token_f1))
    }


class Journal:
    """The rounds of a search, on disk.

    Args:
        path: of a JSON file; rounds in it are not run again.
        scorer: how good a prompt is.
        progress: called with (rounds, None, note) after each round, or None.
    """

    def __init__(self, path: Path, scorer: Scorer, progress: Any = None) -> None:
        self.path, self.scorer, self.progress = path, scorer, progress
        try:
            self.rounds: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.rounds = []
        self._at = 0

    @property
    def seconds(self) -> float:
        """Seconds in all rounds, those of an earlier process included."""
        return sum(float(r["seconds"]) for r in self.rounds)

    @property
    def tried(self) -> int:
        """Different prompts that were scored."""
        return len({json.dumps(row[0], sort_keys=True) for r in self.rounds for row in r["scored"]})

    def round(
        self,
        stage: str,
        prompts: Sequence[HardPrompt] | Callable[[], Sequence[HardPrompt]],
        examples: Sequence[Example],
    ) -> Scored:
        """Score prompts, or those that a function makes, unless this round was run already; in their order."""
        self._at += 1
        if len(self.rounds) < self._at:
            started = time.perf_counter()
            chosen = prompts() if callable(prompts) else prompts
            scored = [(as_json(p), self.scorer.score(p, examples)) for p in chosen]
            finite = [[row, loss if loss != float("inf") else None] for row, loss in scored]
            taken = time.perf_counter() - started
            self.rounds.append({"stage": stage, "questions": len(examples), "scored": finite, "seconds": taken})
            write_json(self.path, self.rounds)
            if self.progress:
                best = min((loss for _, loss in scored), default=float("inf"))
                self.progress(self._at, None, f"{stage}: {len(chosen)} prompts, best {best:.3f} {self.scorer.unit}")
        found = self.rounds[self._at - 1]
        return [(from_json(row), float("inf") if loss is None else float(loss)) for row, loss in found["scored"]]


def halve(journal: Journal, stage: str, prompts: Sequence[HardPrompt], examples: Sequence[Example]) -> HardPrompt:
    """The best of many prompts by successive halving; of two that are as good, the earlier one.

    Raises:
        InputError: none fits into the model's context.
    """
    left, count = list(prompts), min(FIRST, len(examples))
    while len(left) > 1:
        scored = journal.round(stage, left, examples[:count])
        fitting = sorted((s for s in scored if s[1] != float("inf")), key=lambda s: s[1])
        if not fitting:
            raise InputError(
                f"none of {len(scored)} prompts fits into the model's context with its question and answer",
                expected="shorter questions, or a model with a longer context",
            )
        left = [prompt for prompt, _ in fitting[: -(-len(fitting) // 2)]]
        count = min(2 * count, len(examples))
    return left[0]


def answers_of(prompts: int, questions: int) -> int:
    """How many scores of one question :func:`halve` takes."""
    total, left, count = 0, prompts, min(FIRST, questions)
    while left > 1:
        total += left * count
        left, count = -(-left // 2), min(2 * count, questions)
    return total
