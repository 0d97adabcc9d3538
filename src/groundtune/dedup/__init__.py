"""Same and nearly the same texts, in bounded memory. Leaves out the same said in other words: that needs embeddings."""

from __future__ import annotations

from groundtune.dedup.near import Near, NearDuplicates, between
from groundtune.dedup.signatures import (
    Signature,
    SignatureBuilder,
    bounded_marks,
    exact_key,
    jaccard,
    names_in,
    normalised,
    signature_of,
)

__all__ = [
    "Near",
    "NearDuplicates",
    "Signature",
    "SignatureBuilder",
    "between",
    "bounded_marks",
    "exact_key",
    "jaccard",
    "names_in",
    "normalised",
    "signature_of",
]
