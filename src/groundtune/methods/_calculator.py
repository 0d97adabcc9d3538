"""Arithmetic from text, read as a syntax tree and worked out without ``eval``: numbers, + - * / // % **, a few functions.

Sizes are bounded before anything is computed, so that no expression takes long or much memory: so many characters, so
many operations, integers of so many digits. ``2 x 3``, ``2 × 3``, ``50 % of 30`` and thousands separators are understood.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

MOST_CHARACTERS, MOST_PARTS, MOST_DIGITS = 200, 60, 60
_LARGEST = 10**MOST_DIGITS

Number = int | float


class CalculationError(ValueError):
    """An expression that cannot be worked out; its text says why."""


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs, "min": lambda *v: min(v), "max": lambda *v: max(v), "sum": lambda *v: math.fsum(v) if any(isinstance(x, float) for x in v) else sum(v),
    "round": lambda v, digits=0: round(v, max(-20, min(20, int(digits)))) if digits else round(v), "sqrt": math.sqrt, "floor": math.floor, "ceil": math.ceil,
}  # fmt: skip


def calculate(expression: str) -> str:
    """The value of an expression, as a person writes it: no ".0" behind whole numbers, at most 12 digits of others.

    Raises:
        CalculationError: it is too long, no arithmetic, divides by zero, or grows too large.
    """
    text = _plain(expression)
    if not text:
        raise CalculationError("nothing to calculate")
    if len(text) > MOST_CHARACTERS:
        raise CalculationError(f"an expression of {len(text)} characters; at most {MOST_CHARACTERS}")
    try:
        with warnings.catch_warnings(action="ignore"):  # "1and 2": Python's own warnings are not for the user
            tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise CalculationError(f"{text!r} is no arithmetic expression") from None
    if sum(1 for _ in ast.walk(tree)) > 4 * MOST_PARTS:
        raise CalculationError(f"more than {MOST_PARTS} operations")
    try:
        return shown(_value(tree.body))
    except ZeroDivisionError:
        raise CalculationError("division by zero") from None
    except (OverflowError, TypeError, ValueError) as error:
        if isinstance(error, CalculationError):
            raise
        raise CalculationError(f"{text!r} cannot be worked out: {error}") from None


def _plain(expression: str) -> str:
    text = expression.strip().rstrip("=?.").strip()
    for sign, plain in (("×", "*"), ("·", "*"), ("÷", "/"), ("−", "-"), ("–", "-"), ("^", "**")):
        text = text.replace(sign, plain)
    text = re.sub(r"(?<=[\d)])\s*x\s*(?=[\d(])", " * ", text)
    text = re.sub(r"(\d+(?:\.\d+)?)\s*%\s*of\b", r"\1 / 100 *", text)
    text = re.sub(r"(\d+(?:\.\d+)?)\s*%(?=\s*(?:$|[-+*/)]))", r"(\1 / 100)", text)
    if not re.search(r"[a-z]", text):  # in min(1,250) the comma divides arguments
        text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    return text


def _value(node: ast.AST) -> Number:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _bounded(node.value)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _bounded(_UNARY[type(node.op)](_value(node.operand)))
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow):
            return _power(left, right)
        if type(node.op) in _BINARY:
            return _bounded(_BINARY[type(node.op)](left, right))
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _FUNCTIONS
        and not node.keywords
    ):
        return _bounded(_FUNCTIONS[node.func.id](*[_value(a) for a in node.args]))
    name = getattr(node, "id", None) or getattr(getattr(node, "func", None), "id", None) or type(node).__name__
    raise CalculationError(
        f"{name!r} is not allowed; numbers, + - * / // % **, brackets and {', '.join(_FUNCTIONS)} are"
    )


def _power(base: Number, exponent: Number) -> Number:
    if base and abs(exponent) * abs(math.log10(abs(base))) > MOST_DIGITS:
        raise CalculationError(f"a number of more than {MOST_DIGITS} digits")
    return _bounded(base**exponent)


def _bounded(value: Any) -> Number:
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        raise CalculationError("the result is no real number")
    if abs(value) > _LARGEST:
        raise CalculationError(f"a number of more than {MOST_DIGITS} digits")
    return value  # type: ignore[no-any-return]


def shown(value: Number) -> str:
    """A number without a needless fraction or rounding noise."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return (
        str(value)
        if isinstance(value, int)
        else f"{float(Fraction(value).limit_denominator(10**12)) if abs(value) < 1e3 else value:.12g}"
    )
