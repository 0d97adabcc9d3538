"""Names to things: one registry a kind. A thing is one module of a package, and its file name is its name.

``registry.get("loaders", "pdf")`` imports ``groundtune.ingest.loaders.pdf`` only then; other packages add their own
through an entry point in the group ``groundtune.<kind>``. Imports nothing but ``errors``.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

from groundtune.errors import UnknownNameError

#: kind -> the package whose modules are its things
PACKAGES = {
    "loaders": "groundtune.ingest.loaders",
    "formats": "groundtune.dataset.formats",
    "chunkers": "groundtune.retrieval.chunkers",
    "embedders": "groundtune.retrieval.embedders",
    "rerankers": "groundtune.retrieval.rerankers",
    "stores": "groundtune.retrieval.stores",
    "backends": "groundtune.backends",
    "metrics": "groundtune.metrics",
    "methods": "groundtune.methods",
}


@cache
def names(kind: str) -> tuple[str, ...]:
    """Every registered name of a kind, sorted, without importing any of them.

    Raises:
        UnknownNameError: no such kind.
    """
    return tuple(sorted({*_own(kind), *_foreign(kind)}))


@cache
def get(kind: str, name: str) -> ModuleType:
    """The module registered under a name.

    Raises:
        UnknownNameError: no such kind or name; names the nearest.
    """
    if name in _own(kind):
        return importlib.import_module(f"{PACKAGES[kind]}.{name}")
    foreign = _foreign(kind)
    if name in foreign:
        module = foreign[name].load()
        assert isinstance(module, ModuleType), f"entry point {name!r} of groundtune.{kind} must be a module"
        return module
    raise UnknownNameError(kind.removesuffix("s"), name, names(kind))


def summary(kind: str, name: str) -> str:
    """First line of the documentation of a registered name; our own modules are read, not imported.

    Raises:
        UnknownNameError: no such kind or name.
    """
    text = ast.get_docstring(_tree(kind, name)) if name in _own(kind) else get(kind, name).__doc__
    return (text or "").strip().partition("\n")[0]


@cache
def has(kind: str, name: str, *parts: str) -> bool:
    """Whether a registered module defines one of these names at its top; our own modules are read, not imported.

    False where nothing is registered under that name.

    Raises:
        UnknownNameError: no such kind.
    """
    if name not in _own(kind):
        return name in _foreign(kind) and any(hasattr(get(kind, name), part) for part in parts)
    defined: set[str] = set()
    for node in _tree(kind, name).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            defined |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {found.id for target in targets for found in ast.walk(target) if isinstance(found, ast.Name)}
    return not defined.isdisjoint(parts)


@cache
def _tree(kind: str, name: str) -> ast.Module:
    package = importlib.import_module(PACKAGES[kind])
    return ast.parse((Path(package.__path__[0]) / f"{name}.py").read_text(encoding="utf-8"))


@cache
def _own(kind: str) -> frozenset[str]:
    if kind not in PACKAGES:
        raise UnknownNameError("kind", kind, PACKAGES)
    package = importlib.import_module(PACKAGES[kind])
    return frozenset(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


@cache
def _foreign(kind: str) -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=f"groundtune.{kind}")}
