"""Worked examples with their passages, several searches, then the answer (demonstrate-search-predict, Khattab et al. 2022).

Khattab et al., "Demonstrate-Search-Predict: Composing Retrieval and Language Models for Knowledge-Intensive NLP" (2022).
Demonstrate: training questions are put through the search, and those whose passages hold the answer become worked examples.
Search: the question first, then as often as ``answer.hops`` says a query that the model writes from the passages so far.
Predict: the passages of all searches behind the worked examples. Departs from it in writing no queries for the
demonstrations and in a single, greedy prediction.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from groundtune.methods._context import Context, answered, find, merged, together, unless_refused
from groundtune.methods._setup import Setup
from groundtune.records import Completion, Message, Usage
from groundtune.retrieval.queries import TOKENS, clean_queries
from groundtune.system import System, question_of

#: what must be made first
NEEDS = ("index",)

#: training questions searched for each worked example that is wanted: not all passages hold their answers
TRIED = 4


class DemonstrateSearchPredict:
    """Searches in hops, and answers behind worked examples.

    Args:
        setup: the project.
    """

    name = "demonstrate_search_predict"

    def __init__(self, setup: Setup) -> None:
        own = setup.config.answer
        self.description = (
            f"{own.hops} searches, then the answer behind {own.shots} worked examples with their passages"
        )
        self._setup, self._backend = setup, setup.backend()

    @cached_property
    def demonstrations(self) -> list[dict[str, str]]:
        """Worked examples: question, passages that hold the answer, answer. Of different facts."""
        wanted = self._setup.config.answer.shots
        pool = self._setup.training_examples() if self._setup.questions_path.exists() else []
        random.Random(self._setup.config.seed).shuffle(pool)
        tried = list({e.fact: e for e in reversed(pool)}.values())[::-1][: TRIED * wanted]
        found = find(self._setup, self._backend, [e.question for e in tried], plain=True) if tried else []
        held = [
            {"question": e.question, "passages": c.text, "answer": e.references[0]}
            for e, c in zip(tried, found, strict=True)
            if any(r.casefold() in c.text.casefold() for r in e.references)
        ]
        return held[:wanted]

    def answer(self, messages: Sequence[Message]) -> Completion:
        """Answer the last user message."""
        return self.answer_batch([messages])[0]

    def answer_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Completion]:
        """Many answers, a hop of each at a time; the queries are their transcripts."""
        questions = [question_of(c) for c in conversations]
        seen = [[context] for context in find(self._setup, self._backend, questions)]
        used: list[list[Usage]] = [[] for _ in questions]
        queries: list[list[str]] = [[q] for q in questions]
        for _ in range(self._setup.config.answer.hops - 1):
            self._hop(questions, seen, used, queries)
        contexts = [merged(q, found) for q, found in zip(questions, seen, strict=True)]
        written = unless_refused(
            contexts,
            lambda asked: self._backend.generate_batch(
                [self._prompt(context) for context in asked], max_tokens=self._setup.config.answer.max_tokens
            ),
        )
        return [
            replace(
                answered(self._setup, context, g.text, g, usage=together([*usages, g.usage])),
                transcript="\n".join(f"search: {query}" for query in asked),
            )
            for context, g, usages, asked in zip(contexts, written, used, queries, strict=True)
        ]

    def _hop(
        self,
        questions: Sequence[str],
        seen: list[list[Context]],
        used: list[list[Usage]],
        queries: list[list[str]],
    ) -> None:
        """One more search for each question, where the model writes a query that was not searched with yet."""
        prompt = self._setup.prompt("next_query")
        asked = [prompt.messages(question=q, passages=merged(q, s).text) for q, s in zip(questions, seen, strict=True)]
        written = self._backend.generate_batch(asked, max_tokens=TOKENS["rewrite"])
        fresh: dict[int, str] = {}
        for number, generation in enumerate(written):
            used[number].append(generation.usage)
            found = clean_queries("rewrite", questions[number], generation.text)
            if found and found[0] not in queries[number]:
                fresh[number] = found[0]
        for number, context in zip(
            fresh, find(self._setup, self._backend, list(fresh.values()), plain=True), strict=True
        ):
            seen[number].append(context)
            queries[number].append(fresh[number])

    def _prompt(self, context: Context) -> list[Message]:
        """As many worked examples as fit before the question."""
        prompt = self._setup.prompt("with_passages")
        room = self._backend.context_tokens - self._setup.config.answer.max_tokens
        shots = self.demonstrations
        while True:
            made = prompt.messages(shots, question=context.question, passages=context.text)
            size = sum(self._backend.count_tokens(m.content) + 8 for m in made)
            if size <= room or not shots:
                return made
            shots = shots[1:]


def build(setup: Setup) -> System:
    """The System ``demonstrate_search_predict``.

    Raises:
        MissingArtifactError: no index; said before a model is loaded.
    """
    _ = setup.retriever
    return DemonstrateSearchPredict(setup)
