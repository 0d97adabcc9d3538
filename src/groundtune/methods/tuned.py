"""The model that `groundtune tune` made last, by whichever method, answered closed book."""

from __future__ import annotations

from groundtune.methods._setup import Backend, Setup
from groundtune.methods._tuning import last_method, tuned_backend, tuned_system
from groundtune.system import System


def backend(setup: Setup) -> Backend:
    """The tuned weights as a backend.

    Raises:
        MissingArtifactError: not tuned yet.
    """
    return tuned_backend(setup, last_method(setup))


def build(setup: Setup) -> System:
    """The System ``tuned``."""
    return tuned_system(setup, "tuned", last_method(setup))
