"""rag that searches with the question as a search query, too (Ma et al. 2023); see retrieval/queries.py."""

from groundtune.methods._query_systems import rag_with_queries
from groundtune.methods._setup import Setup
from groundtune.system import System

#: what must be made first
NEEDS = ("index",)


def build(setup: Setup) -> System:
    """The System ``query_rewriting``."""
    return rag_with_queries(setup, "query_rewriting", "rewrite")
