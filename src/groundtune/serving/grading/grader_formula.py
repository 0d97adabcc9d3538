"""``calculate_output`` of multi graders: arithmetic over named numbers, parsed and evaluated node by node, never run as Python.

Knows ``+ - * / ^``, brackets, and min, max, abs, floor, ceil, exp, sqrt, log: what OpenAI's guide to graders lists.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from groundtune.serving.errors import bad_request

_OPERATIONS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: math.pow,
    ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min, "max": max, "abs": abs, "floor": math.floor, "ceil": math.ceil, "exp": math.exp, "sqrt": math.sqrt, "log": math.log,
}  # fmt: skip
#: most characters of a formula
_LONGEST = 2000


class FormulaError(Exception):
    """A formula that gives no number."""


def names_of(formula: str, place: str) -> set[str]:
    """The graders that a formula names.

    Raises:
        ApiError: it is no formula.
    """
    try:
        tree = _parsed(formula)
    except FormulaError as error:
        message = f"'{place}.calculate_output' is no formula: {error}."
        raise bad_request(message, param=f"{place}.calculate_output", code="invalid_formula") from None
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}


def calculated(formula: str, values: Mapping[str, float]) -> float:
    """The value of a formula.

    Raises:
        FormulaError: it is none, names what is not there, or its value is no finite number.
    """
    try:
        value = float(_value(_parsed(formula).body, values))
    except (ArithmeticError, ValueError, TypeError, KeyError) as error:
        raise FormulaError(f"{type(error).__name__}: {error}") from None
    if not math.isfinite(value):
        raise FormulaError(f"its value is {value}")
    return value


def _parsed(formula: str) -> ast.Expression:
    if len(formula) > _LONGEST:
        raise FormulaError(f"over {_LONGEST} characters")
    try:
        tree = ast.parse(formula.strip().replace("^", "**"), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormulaError(str(error)) from None
    _check(tree.body)
    return tree


def _check(node: ast.AST) -> None:
    """See that nothing but arithmetic stands there."""
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        parts: list[ast.AST] = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATIONS:
        parts = [node.operand]
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _FUNCTIONS
        and not node.keywords
    ):
        parts = list(node.args)
    elif isinstance(node, ast.Name) or (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
        parts = []
    else:
        raise FormulaError(f"{ast.unparse(node)[:60]!r} is no arithmetic")
    for part in parts:
        _check(part)


def _value(node: Any, values: Mapping[str, float]) -> float:
    if isinstance(node, ast.BinOp):
        return _OPERATIONS[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.UnaryOp):
        return _OPERATIONS[type(node.op)](_value(node.operand, values))
    if isinstance(node, ast.Call):
        return _FUNCTIONS[node.func.id](*(_value(part, values) for part in node.args))  # type: ignore[attr-defined]
    return float(values[node.id]) if isinstance(node, ast.Name) else float(node.value)
