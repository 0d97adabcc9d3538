"""The programs of ``tools/`` take from groundtune only what is there: they are run by hand, and seldom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = sorted((ROOT / "tools").rglob("*.py"))


def source_of(module: str) -> Path | None:
    """The file of a module of groundtune, or None."""
    path = ROOT / "src" / Path(*module.split("."))
    found = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()]
    return found[0] if found else None


def names_of(file: Path) -> set[str]:
    """What a module binds at its top level."""
    out: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            out.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            out |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            out.add(node.id)
    return out


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: str(tool.relative_to(ROOT)))
def test_what_a_tool_imports_exists(tool: Path) -> None:
    missing = []
    for node in ast.walk(ast.parse(tool.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("groundtune"):
            continue
        module = str(node.module)
        file = source_of(module)
        there = names_of(file) if file else set()
        missing += [
            f"{module}.{a.name}" for a in node.names if a.name not in there and not source_of(f"{module}.{a.name}")
        ]
    assert missing == []
