"""The styles and numbers of a Word document: which paragraphs are headings, and what stands before a list item.

Word stores no numbers: they are counted here as Word counts them (ECMA-376 part 1, 17.9). Leaves out fonts and colours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from groundtune.ingest.xml_tree import attribute, below, child, local

_MAX_STYLE_DEPTH = 20
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
          (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Style:
    """A paragraph style: ``level`` is a heading's from 1, 0 the title's, None for text."""

    level: int | None = None
    number: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class _Level:
    format: str
    pattern: str
    start: int


@dataclass(slots=True)
class Numbering:
    """Counts list items and numbered headings."""

    levels: dict[str, dict[int, _Level]] = field(default_factory=dict)
    abstract: dict[str, str] = field(default_factory=dict)
    _counts: dict[str, dict[int, int]] = field(default_factory=dict)

    def label(self, number: str, level: int) -> str:
        """What stands before the next paragraph of a list: "- ", "3." or "2.1"; "" where it has no list."""
        known = self.levels.get(number)
        if not known or number == "0":
            return ""
        here = known.get(level) or _Level("bullet", "", 1)
        counts = self._counts.setdefault(self.abstract.get(number, number), {})
        counts[level] = counts.get(level, here.start - 1) + 1
        for deeper in [other for other in counts if other > level]:
            del counts[deeper]
        if here.format == "bullet":
            return "-"
        if here.format == "none":
            return ""

        def counted(match: re.Match[str]) -> str:
            at = int(match[1]) - 1
            other = known.get(at) or here
            return _written(counts.get(at, other.start), other.format)

        return re.sub(r"%(\d)", counted, here.pattern).strip()


def numbering(root: Any) -> Numbering:
    """The lists that ``numbering.xml`` defines; ``root`` may be None."""
    out = Numbering()
    if root is None:
        return out
    shared = {attribute(e, "abstractNumId"): _levels(e) for e in root if local(e) == "abstractNum"}
    for element in root:
        if local(element) != "num":
            continue
        number = attribute(element, "numId")
        reference = child(element, "abstractNumId")
        of = attribute(reference, "val") if reference is not None else ""
        levels, own = dict(shared.get(of, {})), False
        for override in below(element, "lvlOverride"):
            at = _integer(attribute(override, "ilvl"))
            levels.update(_levels(override))
            start = child(override, "startOverride")
            if start is not None and at in levels:
                levels[at] = _Level(levels[at].format, levels[at].pattern, _integer(attribute(start, "val"), 1))
                own = True
        out.levels[number] = levels
        out.abstract[number] = f"{of}/{number}" if own else of
    return out


def _levels(element: Any) -> dict[int, _Level]:
    out = {}
    for level in below(element, "lvl"):
        values = {local(inner): attribute(inner, "val") for inner in level}
        start = _integer(values.get("start", ""), 1)
        out[_integer(attribute(level, "ilvl"))] = _Level(
            values.get("numFmt", "decimal"), values.get("lvlText", ""), start
        )
    return out


def styles(root: Any) -> dict[str, Style]:
    """Style id -> what it makes of a paragraph, what it is based on included; ``root`` may be None."""
    raw: dict[str, tuple[str, str, Style]] = {}
    for element in root if root is not None else ():
        if local(element) != "style":
            continue
        name, based = child(element, "name"), child(element, "basedOn")
        properties = child(element, "pPr")
        title = attribute(name, "val").lower() if name is not None else ""
        outline = child(properties, "outlineLvl") if properties is not None else None
        level = _integer(attribute(outline, "val")) + 1 if outline is not None else None
        if match := re.fullmatch(r"heading (\d)", title):
            level = int(match[1])
        elif title == "title":
            level = 0
        own = Style(level if level is None or level <= 9 else None, number_of(properties))
        identity = attribute(element, "styleId")
        raw[identity] = (identity, attribute(based, "val") if based is not None else "", own)
    return {identity: _inherited(identity, raw) for identity in raw}


def _inherited(identity: str, raw: dict[str, tuple[str, str, Style]]) -> Style:
    level: int | None = None
    number: tuple[str, int] | None = None
    for _ in range(_MAX_STYLE_DEPTH):
        if identity not in raw:
            break
        _, above, own = raw[identity]
        level = own.level if level is None else level
        number = own.number if number is None else number
        identity = above
    return Style(level, number)


def number_of(properties: Any) -> tuple[str, int] | None:
    """The list and the level from 0 that paragraph properties name; None where they name none."""
    found = child(properties, "numPr") if properties is not None else None
    if found is None:
        return None
    values = {local(inner): attribute(inner, "val") for inner in found}
    return values.get("numId", ""), _integer(values.get("ilvl", ""))


def _integer(text: str, default: int = 0) -> int:
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else default


def _written(value: int, kind: str) -> str:
    if kind.endswith("Letter") and value > 0:
        letter = chr(ord("a") + (value - 1) % 26) * min(1 + (value - 1) // 26, 9)
        return letter.upper() if kind == "upperLetter" else letter
    if kind.endswith("Roman") and 0 < value < 4000:
        out = ""
        for worth, sign in _ROMAN:
            out += sign * (value // worth)
            value %= worth
        return out.upper() if kind == "upperRoman" else out
    return f"{value:02d}" if kind == "decimalZero" else str(value)
