"""Questions to hits, for every System that searches: the question and, as ``retrieval.queries`` says, further texts.

The one place that asks ``setup.retriever``: what holds for the retriever (filters, guards, refusal) holds for every
System. Leaves out which sentences of the hits a model reads (``_context``).
"""

from __future__ import annotations

from collections.abc import Sequence

from groundtune.methods._setup import Backend, Setup
from groundtune.retrieval.queries import COUNT, PROMPTS, further_queries
from groundtune.retrieval.retriever import Hit


def search(setup: Setup, backend: Backend, questions: Sequence[str], *, plain: bool = False) -> list[list[Hit]]:
    """The hits of each question, best first.

    Args:
        backend: writes the further texts.
        questions: what is searched for.
        plain: search with the questions alone, whatever the setting says.
    """
    kind = "none" if plain else setup.config.retrieval.queries
    further = further_queries(kind, questions, lambda asked, tokens: _written(setup, backend, kind, asked, tokens))
    setup.retriever.embed_all([*questions, *(text for texts in further for text in texts)])
    return [
        setup.retriever.retrieve(question, document=setup.document, also=also)
        for question, also in zip(questions, further, strict=True)
    ]


def _written(setup: Setup, backend: Backend, kind: str, questions: Sequence[str], tokens: int) -> list[str]:
    prompt = setup.prompt(PROMPTS[kind])
    asked = [prompt.messages(question=q, count=str(COUNT)) for q in questions]
    return [g.text for g in backend.generate_batch(asked, max_tokens=tokens)]
