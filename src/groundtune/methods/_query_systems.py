"""``rag`` with further queries, as a System of its own name, so that it can be compared beside ``rag``."""

from __future__ import annotations

from copy import copy

from groundtune.methods import rag
from groundtune.methods._setup import Setup
from groundtune.system import System


def rag_with_queries(setup: Setup, name: str, kind: str) -> System:
    """``rag`` with ``retrieval.queries`` set.

    Args:
        name: what the System is called.
        kind: the setting's value.

    Raises:
        MissingArtifactError: no index.
    """
    _ = setup.retriever  # opened once, for both
    own = copy(setup)
    retrieval = setup.config.retrieval.model_copy(update={"queries": kind})
    own.config = setup.config.model_copy(update={"retrieval": retrieval})
    system = rag.build(own, name=name)
    system.description = f"rag, searching with {DESCRIPTIONS[kind]} too"
    return system


DESCRIPTIONS = {
    "rewrite": "the question as a search query",
    "multi_query": "other wordings of the question",
    "hyde": "a passage that would answer",
    "step_back": "a more general question",
}
