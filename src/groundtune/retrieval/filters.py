"""Conditions on where a chunk stands: ``media_type = 'pdf' and page <= 3 and document like 'hr/%'`` to a tree, to a store's SQL.

    condition := condition or condition | condition and condition | not condition | (condition) | test
    test      := FIELD = != < <= > >= VALUE | FIELD [not] like 'PATTERN' | FIELD [not] in (VALUE, ...)

Fields are document, heading, media_type, language (text) and page, row (whole numbers). Text stands in single quotes, a
quote in it twice; in a pattern % is any text and _ any character. A chunk without a page fits no test of pages, as in
SQL. Every value is written by the store as a literal, never pasted. ``fits`` says the same of a chunk in hand: True, False, or
None where the chunk has no such value (SQL's three-valued logic). Leaves out the search itself.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from groundtune.errors import InputError, did_you_mean
from groundtune.records import Chunk

#: field -> type of its values
FIELDS: dict[str, type] = {
    "document": str, "page": int, "row": int, "heading": str, "media_type": str, "language": str,
}  # fmt: skip
_OPERATORS = ("<=", ">=", "!=", "<>", "=", "<", ">")
_TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<word>[A-Za-z_]\w*)|(?P<sign><=|>=|!=|<>|[=<>(),])|(?P<rest>\S))")  # fmt: skip
_EXAMPLE = "such as \"media_type = 'pdf' and page <= 3\""
#: deepest nesting of brackets and nots
_DEPTH = 50

Value = str | int
#: how a store writes a column's name, and a value
Quote = Callable[[str], str]
Literal = Callable[[Value], str]


@dataclass(frozen=True, slots=True)
class Test:
    """A field against one value, or for ``in`` several."""

    field: str
    operator: str
    values: tuple[Value, ...]

    __test__ = False  # no test of pytest's

    def sql(self, column: Quote, literal: Literal) -> str:
        """The condition in SQL."""
        values = ", ".join(literal(v) for v in self.values)
        return f"{column(self.field)} {self.operator} {f'({values})' if self.operator.endswith('IN') else values}"

    def fits(self, chunk: Chunk) -> bool | None:
        """Whether a chunk fits; None where it has no such value."""
        value: Any = getattr(chunk, self.field)
        if value is None:
            return None
        if self.operator.endswith("LIKE"):
            found = _pattern(str(self.values[0])).fullmatch(value) is not None
        elif self.operator.endswith("IN"):
            found = value in self.values
        else:
            return bool(_COMPARED[self.operator](value, self.values[0]))
        return found != self.operator.startswith("NOT")


@dataclass(frozen=True, slots=True)
class Not:
    """What a condition does not fit."""

    inner: Filter

    def sql(self, column: Quote, literal: Literal) -> str:
        """The condition in SQL."""
        return f"NOT ({self.inner.sql(column, literal)})"

    def fits(self, chunk: Chunk) -> bool | None:
        """Whether a chunk fits; None where that cannot be told."""
        found = self.inner.fits(chunk)
        return None if found is None else not found


@dataclass(frozen=True, slots=True)
class Join:
    """Several conditions, all (``AND``) or any (``OR``) of which must hold."""

    word: str
    parts: tuple[Filter, ...]

    def sql(self, column: Quote, literal: Literal) -> str:
        """The condition in SQL."""
        return f" {self.word} ".join(f"({part.sql(column, literal)})" for part in self.parts)

    def fits(self, chunk: Chunk) -> bool | None:
        """Whether a chunk fits; None where that cannot be told."""
        found, decides = [part.fits(chunk) for part in self.parts], self.word == "OR"
        if decides in found:
            return decides
        return None if None in found else not decides


Filter = Test | Not | Join

_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@cache
def _pattern(like: str) -> re.Pattern[str]:
    """A pattern of SQL's as an expression: % any text, _ any character, a backslash before either the character itself."""
    parts = re.findall(r"\\.|.", like, re.DOTALL)
    own = {"%": ".*", "_": "."}
    return re.compile("".join(own.get(p) or re.escape(p[-1]) for p in parts), re.DOTALL)


def of_document(path: str) -> Filter:
    """Chunks of one document."""
    return Test("document", "=", (path,))


def both(*filters: Filter | None) -> Filter | None:
    """All of several conditions; None where there is none."""
    given = tuple(f for f in filters if f is not None)
    return Join("AND", given) if len(given) > 1 else given[0] if given else None


def parse_filter(text: str) -> Filter:
    """The condition that a text states.

    Raises:
        InputError: it states none; says at which character, and what was expected.
    """
    return _Parser(text).whole()


class _Parser:
    """Recursive descent over tokens: or, and, not, brackets and tests, in the order of their strength."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [
            (m.lastgroup or "", m[m.lastgroup or 0], m.start(m.lastgroup or 0)) for m in _TOKEN.finditer(text)
        ]
        self._at = 0

    def whole(self) -> Filter:
        found = self._joined("OR", 0)
        if self._at < len(self._tokens):
            raise self._fault("and, or, or the end")
        return found

    def _joined(self, word: str, depth: int) -> Filter:
        parts = [self._part(word, depth)]
        while self._word(word.lower()):
            parts.append(self._part(word, depth))
        return Join(word, tuple(parts)) if len(parts) > 1 else parts[0]

    def _part(self, word: str, depth: int) -> Filter:
        return self._joined("AND", depth) if word == "OR" else self._negated(depth)

    def _negated(self, depth: int) -> Filter:
        if depth > _DEPTH:
            raise self._fault(f"at most {_DEPTH} brackets and nots in one another")
        if self._word("not"):
            return Not(self._negated(depth + 1))
        if self._sign("("):
            inner = self._joined("OR", depth + 1)
            if not self._sign(")"):
                raise self._fault("a closing bracket")
            return inner
        return self._test()

    def _test(self) -> Filter:
        kind, field, _ = self._peek()
        if kind != "word" or field.lower() not in FIELDS:
            near = did_you_mean(field, list(FIELDS), cutoff=0.5) if kind == "word" else ""
            raise self._fault(f"a field: {', '.join(FIELDS)}{f'; {near}' if near else ''}")
        field = field.lower()
        self._at += 1
        negated = "NOT " if self._word("not") else ""
        if self._word("like"):
            if FIELDS[field] is not str:
                raise self._fault(f"a comparison with a whole number: {field} is one")
            return Test(field, f"{negated}LIKE", (self._value(field),))
        if self._word("in"):
            return Test(field, f"{negated}IN", self._values(field))
        kind, sign, _ = self._peek()
        if negated or kind != "sign" or sign not in _OPERATORS:
            raise self._fault("like or in" if negated else f"one of {' '.join(_OPERATORS)}, like, in")
        self._at += 1
        return Test(field, "<>" if sign == "!=" else sign, (self._value(field),))

    def _values(self, field: str) -> tuple[Value, ...]:
        if not self._sign("("):
            raise self._fault("an opening bracket")
        values = [self._value(field)]
        while self._sign(","):
            values.append(self._value(field))
        if not self._sign(")"):
            raise self._fault("a comma or a closing bracket")
        return tuple(values)

    def _value(self, field: str) -> Value:
        kind, text, _ = self._peek()
        if FIELDS[field] is int:
            if kind != "number" or abs(int(text)) >= 2**31:
                raise self._fault(f"a whole number: {field} is one")
            self._at += 1
            return int(text)
        if kind != "text" or "\0" in text:
            raise self._fault("text in single quotes")
        self._at += 1
        return text[1:-1].replace("''", "'")

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "", len(self._text))

    def _word(self, word: str) -> bool:
        kind, text, _ = self._peek()
        found = kind == "word" and text.lower() == word
        self._at += found
        return found

    def _sign(self, sign: str) -> bool:
        found = self._peek()[:2] == ("sign", sign)
        self._at += found
        return found

    def _fault(self, expected: str) -> InputError:
        kind, text, at = self._peek()
        place = "its end" if kind == "end" else f"character {at + 1}, at {text[:20]!r}"
        return InputError(
            f"filter {self._text[:200]!r}: not understood at {place}", expected=expected, next_step=_EXAMPLE
        )
