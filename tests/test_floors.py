"""The floors of docs' design: who may import whom, read from the sources. Deferred and type-only imports count."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import groundtune
from groundtune import registry

SOURCE = Path(groundtune.__file__).parent
FLOORS = {
    "cli": 8, "__main__": 8, "serving": 7, "methods": 6, "evaluation": 6, "metrics": 5, "backends": 4, "generation": 4,
    "ingest": 3, "dataset": 3, "retrieval": 3, "training": 3, "guardrails": 3,
    "nn": 2, "endpoint": 2, "page": 2, "plan": 2, "dedup": 2, "registry": 2, "config": 2, "workspace": 2, "system": 2,
    "prompt_files": 2, "records": 1, "errors": 1, "__init__": 0,
}  # fmt: skip
#: same floor, and not to know each other
STRANGERS = {frozenset({"methods", "evaluation"})}


def module_names() -> dict[str, Path]:
    """Dotted name (``groundtune.cli.main``) -> file, of every module of the package."""
    names = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ["groundtune", *path.relative_to(SOURCE).with_suffix("").parts]
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = module_names()


def part_of(module: str) -> str:
    """The floor table's name of a module: its first part below the package."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def package_of(module: str) -> str:
    return module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]


def imports_of(module: str, tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(imported module of this package, line), wherever the import stands, the registry's names included."""
    for node in ast.walk(tree):
        found: list[str] = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package_of(module).split(".")
                base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
            found = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            owner, value = ast.unparse(node.func), str(node.args[0].value)
            if owner in {"registry.get", "registry.names"}:
                found = [registry.PACKAGES[value]]
            elif owner == "importlib.import_module":
                found = [value]
        for name in found:
            if name == "groundtune" or name.startswith("groundtune."):
                yield name, node.lineno


def graph() -> dict[str, list[tuple[str, int]]]:
    out = {}
    for module, path in MODULES.items():
        out[module] = [
            (name, line)
            for name, line in imports_of(module, ast.parse(path.read_text(encoding="utf-8")))
            if name != module
        ]
    return out


GRAPH = graph()


def test_every_part_of_the_package_has_a_floor() -> None:
    assert {part_of(m) for m in MODULES} <= set(FLOORS)
    assert {part_of(m) for m in MODULES} >= {
        "cli",
        "methods",
        "evaluation",
        "metrics",
        "backends",
        "ingest",
        "retrieval",
        "errors",
    }


def test_every_imported_module_of_ours_exists() -> None:
    missing = [
        f"{module}:{line} {name}" for module, found in GRAPH.items() for name, line in found if name not in MODULES
    ]
    assert not missing


@pytest.mark.parametrize("module", MODULES)
def test_no_import_goes_up(module: str) -> None:
    floor = FLOORS[part_of(module)]
    upward = [f"{module}:{line} imports {name}" for name, line in GRAPH[module] if FLOORS[part_of(name)] > floor]
    assert not upward, upward


def test_methods_and_evaluation_do_not_know_each_other() -> None:
    meetings = [
        f"{module}:{line} imports {name}"
        for module, found in GRAPH.items()
        for name, line in found
        if frozenset({part_of(module), part_of(name)}) in STRANGERS
    ]
    assert not meetings, meetings


def test_no_module_imports_itself_by_way_of_others() -> None:
    edges = {module: {name for name, _ in found} for module, found in GRAPH.items()}
    reach: dict[str, set[str]] = {}
    for start in edges:
        seen: set[str] = set()
        todo = list(edges[start])
        while todo:
            at = todo.pop()
            if at not in seen:
                seen.add(at)
                todo += edges.get(at, ())
        reach[start] = seen
    circles = sorted({frozenset({a, b}) for a in reach for b in reach[a] if a in reach.get(b, ())}, key=sorted)
    assert not circles, [sorted(c) for c in circles]


def test_registry_imports_only_errors() -> None:
    assert {name for name, _ in GRAPH["groundtune.registry"]} == {"groundtune.errors"}


def test_nothing_is_called_utils() -> None:
    assert not [m for m in MODULES if m.rpartition(".")[2] in {"utils", "common", "helpers", "util", "helper"}]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    from groundtune.cli import main", "groundtune.cli.main"),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import groundtune.workspace",
            "groundtune.workspace",
        ),
        ("from . import retriever", "groundtune.retrieval.retriever"),
        ("from ..errors import InputError", "groundtune.errors"),
        ('registry.get("metrics", name)', "groundtune.metrics"),
        ('importlib.import_module("groundtune.backends.echo")', "groundtune.backends.echo"),
    ],
)
def test_the_reader_of_imports_sees_every_kind(source: str, expected: str) -> None:
    assert [name for name, _ in imports_of("groundtune.retrieval.index", ast.parse(source))] == [expected]
