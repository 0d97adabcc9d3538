"""rag that searches with a more general question, too (step-back, Zheng et al. 2023); see retrieval/queries.py."""

from groundtune.methods._query_systems import rag_with_queries
from groundtune.methods._setup import Setup
from groundtune.system import System

#: what must be made first
NEEDS = ("index",)


def build(setup: Setup) -> System:
    """The System ``step_back``."""
    return rag_with_queries(setup, "step_back", "step_back")
