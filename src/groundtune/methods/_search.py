"""Questions to hits, for every System that searches: the question and, as ``retrieval.queries`` says, further texts.

The one place that asks ``setup.retriever``: what holds for the retriever (filters, guards, refusal) holds for every
System. Leaves out which sentences of the hits a model reads (``_context``).
"""

from __future__ import annotations

from collections.abc import Sequence

from groundtune.methods._setup import Backend, Setup
from groundtune.retrieval.fusion import RRF_K
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
    return [_fused(setup, question, also) for question, also in zip(questions, further, strict=True)]


def _written(setup: Setup, backend: Backend, kind: str, questions: Sequence[str], tokens: int) -> list[str]:
    prompt = setup.prompt(PROMPTS[kind])
    asked = [prompt.messages(question=q, count=str(COUNT)) for q in questions]
    return [g.text for g in backend.generate_batch(asked, max_tokens=tokens)]


def _fused(setup: Setup, question: str, also: Sequence[str]) -> list[Hit]:
    """One question's hits; with further texts the lists fused by reciprocal rank (Cormack et al. 2009)."""
    lists = [setup.retriever.retrieve(text, document=setup.document) for text in (question, *also)]
    if len(lists) == 1:
        return lists[0]
    ranks: dict[str, float] = {}
    hits: dict[str, Hit] = {}
    for found in lists:
        for rank, hit in enumerate(found, 1):
            ranks[hit.chunk.id] = ranks.get(hit.chunk.id, 0.0) + 1.0 / (RRF_K + rank)
            hits.setdefault(hit.chunk.id, hit)
    order = sorted(ranks, key=lambda i: -ranks[i])
    return [hits[i] for i in order[: setup.config.retrieval.top_k]]
