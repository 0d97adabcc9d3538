"""A System by its name: a method's own, a trained method's, or any method's model behind retrieval."""

from __future__ import annotations

from collections.abc import Callable

from groundtune import registry
from groundtune.errors import UnknownNameError
from groundtune.methods._guards import guard_documents, guarded
from groundtune.methods._setup import Backend, Setup
from groundtune.methods._tuning import tuned_backend, tuned_system
from groundtune.system import System


def check_system(name: str) -> None:
    """See that a System of that name can be built, before anything is made for it. Imports none.

    Raises:
        UnknownNameError: no such system.
    """
    base, plus, layer = name.partition("+")
    layered = not plus or (layer == "rag" and registry.has("methods", base, "backend", "attach", "build_with_rag"))
    if not (layered and registry.has("methods", base, "build", "attach")):
        known = [n for n in registry.names("methods") if registry.has("methods", n, "build", "attach")]
        raise UnknownNameError("system", name, [*known, "tuned+rag"])


def searches(name: str) -> bool:
    """Whether a System reads the index: what it says then depends on the documents as they were indexed last."""
    base, plus, _ = name.partition("+")
    return bool(plus) or "index" in getattr(registry.get("methods", base), "NEEDS", ())


def untrained_systems(made: Callable[[str], bool]) -> list[str]:
    """The systems without training that can answer now.

    Args:
        made: whether there are ``questions``, ``documents``, an ``index``.
    """
    out = []
    for name in registry.names("methods"):
        if registry.has("methods", name, "NEEDS") and all(map(made, registry.get("methods", name).NEEDS)):
            out.append(name)
            out += [f"{name}+rag"] if registry.has("methods", name, "build_with_rag") and made("index") else []
    return out


def build_system(name: str, setup: Setup) -> System:
    """The System of a name: a method's, or ``METHOD+rag`` for a method's model behind retrieval; behind the project's guards.

    Raises:
        UnknownNameError: no such system. MissingArtifactError: it must be trained or indexed first.
    """
    check_system(name)
    guard_documents(setup)
    return guarded(_unguarded_system(name, setup), setup)


def _unguarded_system(name: str, setup: Setup) -> System:
    base, plus, _ = name.partition("+")
    method = registry.get("methods", base)
    if not plus and hasattr(method, "build"):
        system: System = method.build(setup)
        return system
    if not plus:
        return tuned_system(setup, name, base)
    if hasattr(method, "build_with_rag"):
        searching: System = method.build_with_rag(setup)
        return searching
    layered: System = registry.get("methods", "rag").build(setup, backend=backend_of(setup, base), name=name)
    return layered


def backend_of(setup: Setup, name: str) -> Backend:
    """The model of a method that has one."""
    method = registry.get("methods", name)
    made: Backend = method.backend(setup) if hasattr(method, "backend") else tuned_backend(setup, name)
    return made
