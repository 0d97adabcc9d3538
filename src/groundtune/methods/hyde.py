"""rag that searches with a passage the model makes up, too (HyDE, Gao et al. 2022); see retrieval/queries.py."""

from groundtune.methods._query_systems import rag_with_queries
from groundtune.methods._setup import Setup
from groundtune.system import System

#: what must be made first
NEEDS = ("index",)


def build(setup: Setup) -> System:
    """The System ``hyde``."""
    return rag_with_queries(setup, "hyde", "hyde")
