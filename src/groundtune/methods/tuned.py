"""The model that `groundtune tune` made last, by whichever method, answered closed book."""

from __future__ import annotations

from groundtune import registry
from groundtune.methods._setup import Backend, Setup
from groundtune.methods._tuning import last_method, tuned_backend, tuned_system
from groundtune.system import System


def backend(setup: Setup) -> Backend:
    """The tuned weights as a backend.

    Raises:
        MissingArtifactError: not tuned yet.
    """
    method = last_method(setup)
    module = registry.get("methods", method)
    made: Backend = module.backend(setup) if hasattr(module, "backend") else tuned_backend(setup, method)
    return made


def build(setup: Setup) -> System:
    """The System ``tuned``."""
    method = last_method(setup)
    module = registry.get("methods", method)
    if hasattr(module, "build"):  # a task of its own, such as classification
        system: System = module.build(setup, "tuned")
        return system
    return tuned_system(setup, "tuned", method)
