"""Several chains of thought drawn at a temperature; the answer that most of them end in (self-consistency, Wang et al. 2022).

Wang et al., "Self-Consistency Improves Chain of Thought Reasoning in Language Models" (ICLR 2023): majority over final
answers, here after SQuAD's normalisation; of answers with as many votes the one that was drawn first. ``answer.samples``
chains at ``answer.temperature``, each seeded by the config's seed, so that an answer repeats. ``self_consistency+rag``
reasons over passages. The votes stand at the head of the transcript.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from groundtune.dataset.prompts import abstains
from groundtune.methods._context import Context, answered, together
from groundtune.methods._reasoning import ask_to_reason, extract_answer
from groundtune.methods._setup import Setup
from groundtune.metrics._text import normalise
from groundtune.records import Completion, Generation, Message
from groundtune.system import System, question_of

#: what must be made first
NEEDS: tuple[str, ...] = ()


def majority(answers: Sequence[str]) -> tuple[int, int]:
    """Which of the answers most agree with, as the place of its first form, and how many do.

    Abstentions are one answer; empty answers do not vote unless there is nothing else.
    """
    keys = ["" if not a.strip() else "abstains" if abstains(a) else normalise(a) or a for a in answers]
    votes = Counter(k for k in keys if k) or Counter(keys)
    most = max(votes.values())
    winner = next(k for k in keys if votes[k] == most)
    return keys.index(winner), most


class SelfConsistency:
    """Thinks several times, and answers what it says most often.

    Args:
        name: ``self_consistency`` or ``self_consistency+rag``.
        setup: the project.
        search: whether it reads passages.
    """

    def __init__(self, name: str, setup: Setup, *, search: bool) -> None:
        self.name = name
        own = setup.config.answer
        self.description = f"the most frequent answer of {own.samples} chains of thought at temperature {own.temperature:g}, {'over retrieved passages' if search else 'no documents'}"
        self._setup, self._search, self._backend = setup, search, setup.backend()

    def answer(self, messages: Sequence[Message]) -> Completion:
        """Answer the last user message."""
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """Many answers, every chain of each in one batch."""
        questions, own = [question_of(c) for c in conversations], self._setup.config.answer
        asked = ask_to_reason(self._setup, self._backend, questions, search=self._search)
        seeds = [self._setup.config.seed * own.samples + n for n in range(own.samples)]
        prompts = [asked.prompts[n] for n in asked.open for _ in seeds]
        written = self._backend.sample_batch(
            prompts, seeds=seeds * len(asked.open), temperature=own.temperature, max_tokens=own.reasoning_tokens
        )
        groups = iter([written[n : n + len(seeds)] for n in range(0, len(written), len(seeds))])
        contexts: Sequence[Context | None] = asked.contexts or [None] * len(questions)
        return [answered(self._setup, c, "") if c and c.refused else self._voted(c, next(groups)) for c in contexts]

    def _voted(self, context: Context | None, drawn: Sequence[Generation]) -> Completion:
        answers = [extract_answer(g.text) for g in drawn]
        best, votes = majority(answers)
        text, usage = answers[best], together([g.usage for g in drawn])
        transcript = "\n\n".join(
            [f"{votes} of {len(drawn)} chains end in: {text}", *(f"[{n}] {g.text}" for n, g in enumerate(drawn, 1))]
        )
        if context is None:
            made = Completion(text, abstains(text), logprobs=drawn[best].logprobs, usage=usage)
        else:
            made = answered(self._setup, context, text, drawn[best], usage=usage)
        return replace(made, transcript=transcript)


def build(setup: Setup) -> System:
    """The System ``self_consistency``."""
    return SelfConsistency("self_consistency", setup, search=False)


def build_with_rag(setup: Setup) -> System:
    """The System ``self_consistency+rag``.

    Raises:
        MissingArtifactError: no index.
    """
    _ = setup.retriever
    return SelfConsistency("self_consistency+rag", setup, search=True)
