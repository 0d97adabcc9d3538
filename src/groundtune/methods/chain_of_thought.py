"""Reasoning before the answer, which is taken from its last line (chain of thought, Wei et al. 2022; zero-shot, Kojima et al. 2022).

Wei et al., "Chain-of-Thought Prompting Elicits Reasoning in Large Language Models"; Kojima et al., "Large Language Models
are Zero-Shot Reasoners" (both NeurIPS 2022). Departs from the latter by asking once: the prompt tells where the answer is
to stand, instead of a second prompt that asks for it. ``chain_of_thought+rag`` reasons over passages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from groundtune.dataset.prompts import abstains
from groundtune.methods._context import answered
from groundtune.methods._reasoning import ask_to_reason, extract_answer
from groundtune.methods._setup import Setup
from groundtune.records import Completion, Generation, Message
from groundtune.system import System, question_of

#: what must be made first
NEEDS: tuple[str, ...] = ()


class ChainOfThought:
    """Thinks, then answers.

    Args:
        name: ``chain_of_thought`` or ``chain_of_thought+rag``.
        setup: the project.
        search: whether it reads passages.
    """

    def __init__(self, name: str, setup: Setup, *, search: bool) -> None:
        self.name = name
        self.description = f"reasoning before the answer, {'over retrieved passages' if search else 'no documents'}"
        self._setup, self._search, self._backend = setup, search, setup.backend()

    def answer(self, messages: Sequence[Message]) -> Completion:
        """Answer the last user message."""
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """Many answers; the reasoning is their transcript."""
        asked = ask_to_reason(self._setup, self._backend, [question_of(c) for c in conversations], search=self._search)
        prompts, tokens = [asked.prompts[n] for n in asked.open], self._setup.config.answer.reasoning_tokens
        written = self._backend.generate_batch(prompts, max_tokens=tokens) if prompts else []
        by_number = dict(zip(asked.open, written, strict=True))
        out = []
        for number in range(len(asked.prompts)):
            generation = by_number.get(number, Generation(""))
            text = extract_answer(generation.text)
            if asked.contexts:
                made = answered(self._setup, asked.contexts[number], text, generation)
            else:
                made = Completion(text, abstains(text), logprobs=generation.logprobs, usage=generation.usage)
            out.append(replace(made, transcript=generation.text))
        return out


def build(setup: Setup) -> System:
    """The System ``chain_of_thought``."""
    return ChainOfThought("chain_of_thought", setup, search=False)


def build_with_rag(setup: Setup) -> System:
    """The System ``chain_of_thought+rag``.

    Raises:
        MissingArtifactError: no index.
    """
    _ = setup.retriever
    return ChainOfThought("chain_of_thought+rag", setup, search=True)
