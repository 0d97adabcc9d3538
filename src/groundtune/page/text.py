"""Text of HTML pages: escaping, number formats, reading of values that may be missing."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

Record = Mapping[str, Any]

DASH: Final = "—"
MINUS: Final = "\u2212"

_CONTROL_CHARACTERS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def esc(value: object) -> str:
    """Escape for HTML text and quoted attributes; control characters and lone surrogates become U+FFFD."""
    return html.escape(_CONTROL_CHARACTERS.sub("\ufffd", str(value)), quote=True)


def records(value: Any) -> list[Record]:
    """The mappings in a list that may be missing."""
    return [item for item in value or () if isinstance(item, Mapping)]


def record(value: Any) -> Record:
    """A mapping that may be missing."""
    return value if isinstance(value, Mapping) else {}


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return None


def plain(name: object) -> str:
    """An identifier as words."""
    return str(name).replace("_", " ")


def score(value: Any) -> str:
    """A score with two decimals."""
    known = number(value)
    return DASH if known is None else f"{known:.2f}"


def percent(value: Any) -> str:
    """A share in per cent: whole from ten on, one decimal below; never rounded to none or to all."""
    known = number(value)
    if known is None:
        return DASH
    if 0 < known < 0.0005:
        return "< 0.1 %"
    if 0.995 <= known < 1:
        return f"{min(known * 100, 99.9):.1f} %"
    return f"{known * 100:.0f} %" if known >= 0.0995 or known == 0 else f"{known * 100:.1f} %"


def duration(value: Any) -> str:
    """Seconds in the unit a reader would use."""
    known = number(value)
    if known is None:
        return DASH
    if known < 0.001:
        return "< 1 ms" if known > 0 else "0 s"
    for limit, factor, unit in ((0.9995, 1000.0, "ms"), (119.5, 1.0, "s"), (7170.0, 1 / 60, "min")):
        if known < limit:
            return f"{_short(known * factor)} {unit}"
    return f"{_short(known / 3600)} h"


def size(value: Any) -> str:
    """Bytes in decimal units."""
    known = number(value)
    if known is None:
        return DASH
    for unit in ("B", "kB", "MB", "GB"):
        if known < 999.5:
            return f"{_short(known) if unit != 'B' else f'{known:.0f}'} {unit}"
        known /= 1000
    return f"{_short(known)} TB"


def money(value: Any) -> str:
    """US dollars, with enough digits to tell small amounts apart."""
    known = number(value)
    if known is None:
        return DASH
    if known == 0 or known >= 0.995:
        return f"${known:,.2f}"
    return "< $0.0001" if known < 0.0001 else f"${known:#.2g}" if known >= 0.01 else f"${known:.4f}"


def count(value: Any) -> str:
    """A whole number with thousands separators."""
    known = number(value)
    return DASH if known is None else f"{known:,.0f}"


def date(value: object) -> str:
    """An ISO time as ``21 November 2026, 02:30``; anything else as it stands."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value or DASH)
    return f"{moment.day} {moment:%B %Y, %H:%M}"


def _short(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
