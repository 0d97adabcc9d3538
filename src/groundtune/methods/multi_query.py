"""rag that searches with other wordings of the question, too; see retrieval/queries.py."""

from groundtune.methods._query_systems import rag_with_queries
from groundtune.methods._setup import Setup
from groundtune.system import System

#: what must be made first
NEEDS = ("index",)


def build(setup: Setup) -> System:
    """The System ``multi_query``."""
    return rag_with_queries(setup, "multi_query", "multi_query")
