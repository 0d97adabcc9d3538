"""Amounts for the invented exercises: money, times, dates, counts, measures.

One is made by a function of a :class:`Ctx`, which holds the random source and the formats one passage keeps to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from groundtune.dataset.invented_words import DAYS, WORDS

_MONTHS: Final = WORDS["months"]
_NUMBER_WORDS: Final = WORDS["number_words"]
_CURRENCIES: Final = WORDS["currencies"]

_Rand = Callable[[], float]


class Ctx:
    """The random source and the formats that one passage keeps to."""

    __slots__ = ("cur", "df", "r", "tf", "year")

    def __init__(self, r: _Rand) -> None:
        self.r = r
        self.renew()

    def renew(self) -> None:
        """Other formats, for another passage."""
        r = self.r
        self.cur = int(r() * 16)
        self.tf = int(r() * 4)
        self.df = int(r() * 7)
        self.year = 1985 + int(r() * 60)

    def pick(self, seq: tuple[str, ...] | list[str]) -> str:
        """One of a sequence."""
        return seq[int(self.r() * len(seq))]

    def n(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int(self.r() * (high - low + 1))


def _money(c: Ctx) -> str:
    k = c.r()
    if k < 0.3:
        text = f"{c.n(2, 60)}.{c.pick(('50', '20', '80', '90', '25', '75', '40'))}"
    elif k < 0.85:
        text = str(c.n(2, 95)) if c.r() < 0.6 else str(c.n(10, 99) * 5)
    else:
        v = c.n(10, 98) * 100
        text = f"{v:,}" if c.r() < 0.5 else str(v)
    return _CURRENCIES[c.cur].format(text)


def _budget(c: Ctx) -> str:
    if c.r() < 0.2:
        return _CURRENCIES[c.cur % 10].format(f"{c.n(2, 9)}.{c.n(1, 9)} million")
    return _CURRENCIES[c.cur].format(f"{c.n(11, 990) * 500:,}")


def _clock(c: Ctx, hour: int) -> str:
    minute = (0, 0, 30, 15, 45, 20, 10)[int(c.r() * 7)]
    if c.tf == 0:
        return f"{hour}:{minute:02d}"
    if c.tf == 1:
        return f"{hour:02d}.{minute:02d}"
    if c.tf == 2:
        return f"{hour:02d}:{minute:02d}"
    half = "am" if hour < 12 else "pm"
    h12 = hour if hour <= 12 else hour - 12
    return f"{h12} {half}" if minute == 0 else f"{h12}:{minute:02d} {half}"


def _date(c: Ctx) -> str:
    m, d = c.n(0, 11), c.n(1, 28)
    name = _MONTHS[m]
    if c.df == 0:
        return f"{d} {name}"
    if c.df == 1:
        return f"{name} {d}"
    if c.df == 2:
        return f"{d} {name} {c.year}"
    if c.df == 3:
        return f"{c.year}-{m + 1:02d}-{d:02d}"
    if c.df == 4:
        return f"{d:02d}.{m + 1:02d}.{c.year}"
    if c.df == 5:
        return f"{c.pick(DAYS)} {d} {name}"
    return f"{d} {name}"


def _year(c: Ctx) -> str:
    return str(c.year - c.n(1, 40) if c.r() < 0.6 else c.n(1702, 1984))


def _recent(c: Ctx) -> str:
    return str(c.year - c.n(1, 9))


def _count(c: Ctx) -> str:
    k = c.r()
    if k < 0.2:
        return _NUMBER_WORDS[c.n(2, 12)]
    return str(c.n(3, 99) if k < 0.65 else c.n(100, 980))


def _big(c: Ctx) -> str:
    v = c.n(1_001, 48_000)
    return f"{v:,}" if c.r() < 0.5 else str(v)


def _small(c: Ctx) -> str:
    v = c.n(2, 12)
    return _NUMBER_WORDS[v] if c.r() < 0.5 else str(v)


def _duration(c: Ctx) -> str:
    unit = c.pick(("minutes", "hours", "days", "weeks", "months", "years", "days", "weeks", "hours"))
    v = c.n(10, 95) if unit == "minutes" else c.n(2, 30)
    return f"{_NUMBER_WORDS[v] if v <= 12 and c.r() < 0.4 else v} {unit}"


def _short_time(c: Ctx) -> str:
    if c.r() < 0.6:
        return f"{c.n(5, 95)} minutes"
    return f"{_small(c)} hours"


def _days_long(c: Ctx) -> str:
    return f"{_small(c) if c.r() < 0.5 else c.n(13, 40)} {c.pick(('days', 'weeks', 'months', 'working days'))}"


def _weight(c: Ctx) -> str:
    return (
        f"{c.n(2, 950)} {c.pick(('kg', 'grams', 'kilograms', 'tonnes', 'kg'))}"
        if c.r() < 0.7
        else (f"{c.n(1, 40)}.{c.n(1, 9)} kg")
    )


def _length(c: Ctx) -> str:
    if c.r() < 0.35:
        return f"{c.n(1, 30)}.{c.n(1, 9)} {c.pick(('m', 'metres'))}"
    return f"{c.n(2, 240)} {c.pick(('cm', 'm', 'metres', 'centimetres'))}"


def _distance(c: Ctx) -> str:
    if c.r() < 0.3:
        return f"{c.n(1, 9)}.{c.n(1, 9)} km"
    return f"{c.n(2, 180)} {c.pick(('km', 'kilometres', 'miles'))}" if c.r() < 0.7 else f"{c.n(3, 95) * 10} metres"


def _temp(c: Ctx) -> str:
    return f"{c.n(-25, 95) or 4}{c.pick((' °C', ' degrees', '°C', ' degrees'))}"


def _speed(c: Ctx) -> str:
    return f"{c.n(4, 160)} {c.pick(('km/h', 'km/h', 'kilometres an hour', 'knots', 'miles an hour'))}"


def _pct(c: Ctx) -> str:
    return f"{c.n(2, 98)}{c.pick((' %', '%', ' per cent', ' percent'))}"


def _area(c: Ctx) -> str:
    return f"{c.n(8, 980)} {c.pick(('square metres', 'm²', 'square metres'))}"


#: kind -> what makes one
AMOUNTS: Final[dict[str, Callable[[Ctx], str]]] = {
    "money": _money,
    "budget": _budget,
    "am": lambda c: _clock(c, c.n(6, 11)),
    "pm": lambda c: _clock(c, c.n(13, 22)),
    "time": lambda c: _clock(c, c.n(7, 21)),
    "date": _date,
    "year": _year,
    "recent": _recent,
    "count": _count,
    "big": _big,
    "small": _small,
    "duration": _duration,
    "shorttime": _short_time,
    "dayslong": _days_long,
    "years": lambda c: f"{_small(c) if c.r() < 0.5 else c.n(13, 60)} years",
    "weight": _weight,
    "length": _length,
    "distance": _distance,
    "temp": _temp,
    "speed": _speed,
    "pct": _pct,
    "area": _area,
    "day": lambda c: c.pick(DAYS),
    "month": lambda c: c.pick(_MONTHS),
    "age": lambda c: str(c.n(4, 92)),
    "minage": lambda c: str(c.n(5, 21)),
}
