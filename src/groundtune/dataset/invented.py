"""Endless invented reading exercises for a very small language model: organisations, places, people, products, rules.

Short passages, each with questions and short answers copied from it, and questions that it does not answer. Made of
templates (invented_relations.txt) and of entities combined from syllables and words (invented_words.txt), so that almost
nothing repeats. The stream depends on the seed only.

The template text: ``@ name kinds group slot=kind ...`` opens a relation, ``=`` is a statement, ``?`` a question answered
by slot ``a``, ``?b`` one answered by slot ``b`` (``?s`` is answered by the subject). ``[x|y]`` are alternatives. Slots c
and e are keys (part of what is asked), x and y are context only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from random import Random
from typing import Final

__all__ = ["ReadingItem", "invented_items"]


@dataclass(frozen=True, slots=True)
class ReadingItem:
    """One passage with its questions; an answer of None is not in the passage."""

    passage: str
    questions: tuple[tuple[str, str | None], ...]


def _data(name: str) -> str:
    return resources.files("groundtune.dataset").joinpath(name).read_text(encoding="utf-8")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split("|"))


def _word_lists(text: str) -> dict[str, tuple[str, ...]]:
    """Lists by name: a line ``name:``, then its words between bars on indented lines."""
    parts = re.split(r"^(\w+):\n", text, flags=re.MULTILINE)[1:]
    return {name: _words(" ".join(words.split())) for name, words in zip(parts[::2], parts[1::2], strict=True)}


_WORDS: Final = _word_lists(_data("invented_words.txt"))
_NOUNS: Final = _WORDS["nouns"]
_ADJECTIVES: Final = _WORDS["adjectives"]
_COLOURS: Final = _WORDS["colours"]
_MATERIALS: Final = _WORDS["materials"]
_FIRST: Final = _WORDS["first"]
_LAST: Final = _WORDS["last"]
_SYL1: Final = _WORDS["syl1"]
_SYL2: Final = _WORDS["syl2"]
_PLACE_END: Final = _WORDS["place_end"]
_NAME_END: Final = _WORDS["name_end"]
_GIVEN_END: Final = _WORDS["given_end"]
_VERBAL: Final = _WORDS["verbal"]
_FORBID_VERB: Final = _WORDS["forbid_verb"]
_WEAR: Final = _WORDS["wear"]
_JOBS: Final = _WORDS["jobs"]
_TASKS: Final = _WORDS["tasks"]
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = _WORDS["months"]
_VISITORS: Final = _WORDS["visitors"]
_NUMBER_WORDS: Final = _WORDS["number_words"]
_ANIMALS: Final = _WORDS["animals"]

# Values

_Rand = Callable[[], float]


class _Ctx:
    """The random source and the formats that one passage keeps to."""

    __slots__ = ("cur", "df", "r", "tf", "year")

    def __init__(self, r: _Rand) -> None:
        self.r = r
        self.renew()

    def renew(self) -> None:
        r = self.r
        self.cur = int(r() * 16)
        self.tf = int(r() * 4)
        self.df = int(r() * 7)
        self.year = 1985 + int(r() * 60)

    def pick(self, seq: tuple[str, ...] | list[str]) -> str:
        return seq[int(self.r() * len(seq))]

    def n(self, low: int, high: int) -> int:
        return low + int(self.r() * (high - low + 1))


def _an(word: str) -> str:
    return ("an " if word[0] in "aeiou" and not word.startswith(("uni", "euro", "one")) else "a ") + word


_CURRENCIES: Final = _WORDS["currencies"]


def _money(c: _Ctx) -> str:
    k = c.r()
    if k < 0.3:
        text = f"{c.n(2, 60)}.{c.pick(('50', '20', '80', '90', '25', '75', '40'))}"
    elif k < 0.85:
        text = str(c.n(2, 95)) if c.r() < 0.6 else str(c.n(10, 99) * 5)
    else:
        v = c.n(10, 98) * 100
        text = f"{v:,}" if c.r() < 0.5 else str(v)
    return _CURRENCIES[c.cur].format(text)


def _budget(c: _Ctx) -> str:
    if c.r() < 0.2:
        return _CURRENCIES[c.cur % 10].format(f"{c.n(2, 9)}.{c.n(1, 9)} million")
    return _CURRENCIES[c.cur].format(f"{c.n(11, 990) * 500:,}")


def _clock(c: _Ctx, hour: int) -> str:
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


def _date(c: _Ctx) -> str:
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
        return f"{c.pick(_DAYS)} {d} {name}"
    return f"{d} {name}"


def _year(c: _Ctx) -> str:
    return str(c.year - c.n(1, 40) if c.r() < 0.6 else c.n(1702, 1984))


def _recent(c: _Ctx) -> str:
    return str(c.year - c.n(1, 9))


def _count(c: _Ctx) -> str:
    k = c.r()
    if k < 0.2:
        return _NUMBER_WORDS[c.n(2, 12)]
    return str(c.n(3, 99) if k < 0.65 else c.n(100, 980))


def _big(c: _Ctx) -> str:
    v = c.n(1_001, 48_000)
    return f"{v:,}" if c.r() < 0.5 else str(v)


def _small(c: _Ctx) -> str:
    v = c.n(2, 12)
    return _NUMBER_WORDS[v] if c.r() < 0.5 else str(v)


def _duration(c: _Ctx) -> str:
    unit = c.pick(("minutes", "hours", "days", "weeks", "months", "years", "days", "weeks", "hours"))
    v = c.n(10, 95) if unit == "minutes" else c.n(2, 30)
    return f"{_NUMBER_WORDS[v] if v <= 12 and c.r() < 0.4 else v} {unit}"


def _short_time(c: _Ctx) -> str:
    if c.r() < 0.6:
        return f"{c.n(5, 95)} minutes"
    return f"{_small(c)} hours"


def _days_long(c: _Ctx) -> str:
    return f"{_small(c) if c.r() < 0.5 else c.n(13, 40)} {c.pick(('days', 'weeks', 'months', 'working days'))}"


def _weight(c: _Ctx) -> str:
    return (
        f"{c.n(2, 950)} {c.pick(('kg', 'grams', 'kilograms', 'tonnes', 'kg'))}"
        if c.r() < 0.7
        else (f"{c.n(1, 40)}.{c.n(1, 9)} kg")
    )


def _length(c: _Ctx) -> str:
    if c.r() < 0.35:
        return f"{c.n(1, 30)}.{c.n(1, 9)} {c.pick(('m', 'metres'))}"
    return f"{c.n(2, 240)} {c.pick(('cm', 'm', 'metres', 'centimetres'))}"


def _distance(c: _Ctx) -> str:
    if c.r() < 0.3:
        return f"{c.n(1, 9)}.{c.n(1, 9)} km"
    return f"{c.n(2, 180)} {c.pick(('km', 'kilometres', 'miles'))}" if c.r() < 0.7 else f"{c.n(3, 95) * 10} metres"


def _street(c: _Ctx) -> str:
    base = c.pick(_NOUNS).capitalize() if c.r() < 0.5 else _place(c)
    s = f"{base} {c.pick(('Street', 'Lane', 'Road', 'Square', 'Alley', 'Quay', 'Avenue', 'Row'))}"
    return f"{c.n(2, 140)} {s}" if c.r() < 0.4 else s


def _place(c: _Ctx) -> str:
    return c.pick(_SYL1) + (c.pick(_SYL2) if c.r() < 0.45 else "") + c.pick(_PLACE_END)


def _first(c: _Ctx) -> str:
    if c.r() < 0.6:
        return c.pick(_FIRST)
    return c.pick(_SYL1) + (c.pick(_SYL2) if c.r() < 0.4 else "") + c.pick(_GIVEN_END)


def _last(c: _Ctx) -> str:
    if c.r() < 0.35:
        return c.pick(_LAST)
    return c.pick(_SYL1) + c.pick(_SYL2) + c.pick(_NAME_END)


def _person(c: _Ctx) -> str:
    k = c.r()
    if k < 0.08:
        return f"{c.pick(('Dr', 'Ms', 'Mr', 'Mrs'))} {_last(c)}"
    return f"{_first(c)} {_last(c)}"


def _firm(c: _Ctx) -> str:
    k = c.r()
    if k < 0.3:
        return f"{_last(c)} & {c.pick(('Sons', 'Daughters', 'Partners', _last(c)))}"
    if k < 0.6:
        return f"{_place(c)} {c.pick(_NOUNS).capitalize()} {c.pick(('Works', 'Trading', 'Supplies', 'Mills'))}"
    return f"{_last(c)} {c.pick(('Brothers', 'Tools', 'Foods', 'Timber', 'Textiles', 'Logistics', 'Metal', 'Glass'))}"


def _spot(c: _Ctx) -> str:
    k = c.r()
    code = f"{c.pick('A B C D E F G H K M'.split())}{c.n(1, 40)}"
    if k < 0.4:
        return f"{c.pick(('shelf', 'rack', 'bay', 'locker', 'drawer', 'cabinet', 'bin'))} {code}"
    if k < 0.7:
        return f"the {c.pick(_ADJECTIVES)} {c.pick(('cupboard', 'drawer', 'box', 'chest', 'safe', 'cabinet', 'tin'))}"
    return f"the {c.pick(_NOUNS)} {c.pick(('room', 'shed', 'cellar', 'store', 'attic', 'cupboard'))}"


def _room(c: _Ctx) -> str:
    k = c.r()
    if k < 0.4:
        return f"room {c.n(1, 420)}"
    if k < 0.7:
        return f"the {c.pick(_NOUNS).capitalize()} Room"
    return f"the {c.pick(_ADJECTIVES)} {c.pick(('hall', 'studio', 'cellar', 'barn', 'attic', 'workshop', 'kitchen'))}"


_FLOORS: Final = _WORDS["floors"]
_BROKEN: Final = _WORDS["broken"]


def _reason(c: _Ctx) -> str:
    k = c.r()
    if k < 0.7:
        return f"the {c.pick(_ADJECTIVES) + ' ' if c.r() < 0.4 else ''}{c.pick(_NOUNS)} {c.pick(_BROKEN)}"
    if k < 0.85:
        return (
            f"{_person(c)} {c.pick(('was ill', 'had resigned', 'complained', 'objected', 'broke a leg', 'was abroad'))}"
        )
    return c.pick(
        (
            "there was no money left",
            "too few people came",
            "the river was too high",
            "the licence had expired",
            "nobody had signed the contract",
            "the noise disturbed the neighbours",
            "mice had eaten the wires",
            "two inspectors found mould",
            "the wind was too strong",
            "the road was under water",
        )
    )


def _cause(c: _Ctx) -> str:
    return c.pick(
        (
            (
                f"a {c.pick(('broken', 'loose', 'cracked', 'rusty', 'blocked', 'faulty', 'bent', 'missing'))} "
                f"{c.pick(('valve', 'cable', 'belt', 'hinge', 'pipe', 'fuse', 'bolt', 'gear', 'spring', 'pump', 'switch'))}"
            ),
            f"{c.pick(('thick', 'heavy', 'sudden', 'unusual'))} {c.pick(('fog', 'snow', 'rain', 'frost', 'smoke'))}",
            f"a shortage of {c.pick(_MATERIALS)}",
            f"a strike of {c.pick(_JOBS)}s",
            f"a mistake by {_person(c)}",
            f"a swarm of {c.pick(('bees', 'wasps', 'gnats', 'locusts', 'moths'))}",
        )
    )


def _item(c: _Ctx) -> str:
    return _an(f"{c.pick(_ADJECTIVES)} {c.pick(_COUNTABLE)}" if c.r() < 0.4 else c.pick(_COUNTABLE))


def _bring(c: _Ctx) -> str:
    return c.pick(
        (
            _an(
                f"{c.pick(_ADJECTIVES)} {c.pick(('bag', 'towel', 'notebook', 'blanket', 'torch', 'cup', 'pencil', 'rope'))}"
            ),
            f"a copy of the {c.pick(_NOUNS)} {c.pick(('form', 'certificate', 'permit', 'invoice', 'list'))}",
            f"their own {c.pick(_COUNTABLE)}",
            f"proof of {c.pick(('address', 'age', 'payment', 'insurance', 'residence', 'training'))}",
            f"{_small(c)} {c.pick(('photographs', 'candles', 'envelopes', 'copies', 'stamps', 'eggs', 'blankets'))}",
            f"{_an(c.pick(_COLOURS))} {c.pick(('folder', 'scarf', 'pencil', 'bag', 'lamp', 'flag', 'cup'))}",
        )
    )


def _wear(c: _Ctx) -> str:
    mod = c.pick(_COLOURS) if c.r() < 0.6 else c.pick(_MATERIALS)
    return _an(f"{mod} {c.pick(_WEAR)}")


def _list(c: _Ctx) -> str:
    a, b, d = c.pick(_COUNTABLE), c.pick(_COUNTABLE), c.pick(_COUNTABLE)
    if c.r() < 0.5:
        return f"{_an(a)}, {_an(b)} and {_an(d)}"
    return f"{_an(a)} and {_an(b)}"


def _forbidden(c: _Ctx) -> str:
    if c.r() < 0.35:
        return c.pick(_VERBAL)
    return f"{c.pick(_FORBID_VERB)} {c.pick(_NOUNS_PL)}"


_BASE_VERB: Final = _WORDS["base_verb"]


def _allowed(c: _Ctx) -> str:
    return f"{c.pick(_BASE_VERB)} {c.pick(_ADJECTIVES) + ' ' if c.r() < 0.3 else ''}{c.pick(_NOUNS_PL)}"


def _temp(c: _Ctx) -> str:
    return f"{c.n(-25, 95) or 4}{c.pick((' °C', ' degrees', '°C', ' degrees'))}"


def _speed(c: _Ctx) -> str:
    return f"{c.n(4, 160)} {c.pick(('km/h', 'km/h', 'kilometres an hour', 'knots', 'miles an hour'))}"


def _pct(c: _Ctx) -> str:
    return f"{c.n(2, 98)}{c.pick((' %', '%', ' per cent', ' percent'))}"


def _area(c: _Ctx) -> str:
    return f"{c.n(8, 980)} {c.pick(('square metres', 'm²', 'square metres'))}"


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "sh", "ch")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return {"goose": "geese", "knife": "knives", "leaf": "leaves", "potato": "potatoes"}.get(noun, noun + "s")


_MASS: Final = frozenset(_WORDS["mass"])
_COUNTABLE: Final = tuple(n for n in _NOUNS if n not in _MASS)
_NOUNS_PL: Final = tuple(_plural(n) for n in _COUNTABLE)


def _definition(c: _Ctx) -> str:
    return (
        f"{_an(c.pick(_ADJECTIVES))} {c.pick(('cup', 'tool', 'box', 'cloth', 'knife', 'bag', 'rope', 'bell', 'hook', 'tray'))}"
        f" for {c.pick(('storing', 'drying', 'cutting', 'weighing', 'carrying', 'washing', 'sorting'))} {c.pick(_NOUNS_PL)}"
    )


_PURPOSES: Final = _WORDS["purposes"]

_VALUES: Final[dict[str, Callable[[_Ctx], str]]] = {
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
    "street": _street,
    "place": _place,
    "person": _person,
    "firm": _firm,
    "spot": _spot,
    "room": _room,
    "floor": lambda c: c.pick(_FLOORS),
    "reason": _reason,
    "cause": _cause,
    "item": _item,
    "bring": _bring,
    "wear": _wear,
    "list": _list,
    "forbidden": _forbidden,
    "allowed": _allowed,
    "temp": _temp,
    "speed": _speed,
    "pct": _pct,
    "area": _area,
    "colour": lambda c: c.pick(_COLOURS),
    "material": lambda c: c.pick(_MATERIALS),
    "day": lambda c: c.pick(_DAYS),
    "month": lambda c: c.pick(_MONTHS),
    "visitor": lambda c: c.pick(_VISITORS),
    "age": lambda c: str(c.n(4, 92)),
    "minage": lambda c: str(c.n(5, 21)),
    "ext": lambda c: str(c.n(101, 9890)),
    "job": lambda c: c.pick(_JOBS),
    "jobs": lambda c: c.pick(_JOBS) + "s",
    "task": lambda c: c.pick(_TASKS),
    "nouns": lambda c: c.pick(_NOUNS_PL),
    "noun": lambda c: c.pick(_COUNTABLE),
    "animal": lambda c: f"{c.pick(_ADJECTIVES)} {c.pick(_ANIMALS)}",
    "role": lambda c: f"the {c.pick(_ADJECTIVES)} {c.pick(_JOBS)}" if c.r() < 0.3 else f"the head {c.pick(_JOBS)}",
    "definition": _definition,
    "purpose": lambda c: f"{c.pick(_PURPOSES)} {c.pick(_NOUNS_PL)}",
    "platform": lambda c: f"platform {c.n(1, 24)}",
    "grade": lambda c: f"{c.n(30, 95)} points",
    "rooms": lambda c: c.pick(("room", "desk", "office")) + f" {c.n(1, 320)}",
    "seats": lambda c: f"{c.n(6, 400)} seats",
}

# Subjects: kind -> (pattern, modifier, noun)


_ORGS: Final = _WORDS["orgs"]
_SITES: Final = _WORDS["sites"]
_EVENTS: Final = _WORDS["events"]
_COURSES: Final = _WORDS["courses"]
_TEAMS: Final = _WORDS["teams"]
_DOCS: Final = _WORDS["docs"]
_SHIPS: Final = _WORDS["ships"]
_DISHES: Final = _WORDS["dishes"]
_PLANTS: Final = _WORDS["plants"]
_BEASTS: Final = _WORDS["beasts"]
_LINES: Final = _WORDS["lines"]
_MACHINES: Final = _WORDS["machines"]
_PEOPLE_MODS: Final = _WORDS["people_mods"]
_PEOPLE: Final = _WORDS["people"]
_DIRECTIONS: Final = _WORDS["directions"]


def _m_noun(c: _Ctx) -> str:
    return c.pick(_NOUNS)


def _m_adj(c: _Ctx) -> str:
    return c.pick(_ADJECTIVES)


def _m_site(c: _Ctx) -> str:
    k = c.r()
    if k < 0.3:
        return c.pick(_DIRECTIONS)
    if k < 0.65:
        return _place(c)
    return (
        f"{c.pick(_NOUNS).capitalize()} {c.pick(('Street', 'Lane', 'Hill', 'Square', 'Bay'))}"
        if k < 0.85
        else _m_adj(c)
    )


def _m_model(c: _Ctx) -> str:
    k = c.r()
    if k < 0.4:
        return f"{_last(c)} {c.n(2, 990)}"
    return _m_adj(c) if k < 0.8 else f"{c.pick(_COLOURS)}"


def _m_name(c: _Ctx) -> str:
    k = c.r()
    if k < 0.5:
        return f"{c.pick(_ADJECTIVES).capitalize()} {c.pick(_NOUNS).capitalize()}"
    return _place(c) if k < 0.75 else f"{c.pick(_FIRST)} {c.pick(_SYL1)}{c.pick(_GIVEN_END)}"


def _m_org(c: _Ctx) -> str:
    return _place(c) if c.r() < 0.65 else f"{c.pick(_ADJECTIVES).capitalize()} {c.pick(_NOUNS).capitalize()}"


def _m_mixed(c: _Ctx) -> str:
    k = c.r()
    if k < 0.5:
        return c.pick(_NOUNS)
    return _place(c) if k < 0.7 else f"{c.pick(_ADJECTIVES)} {c.pick(_NOUNS)}"


def _from(seq: tuple[str, ...]) -> Callable[[_Ctx], str]:
    return lambda c: c.pick(seq)


_Gen = Callable[[_Ctx], str]
_SUBJECTS: Final[dict[str, tuple[str, _Gen, _Gen]]] = {
    "org": ("the {m} {n}", _m_org, _from(_ORGS)),
    "site": ("the {m} {n}", _m_site, _from(_SITES)),
    "thing": ("the {m} {n}", _m_adj, lambda c: c.pick(_COUNTABLE)),
    "machine": ("the {m} {n}", _m_model, _from(_MACHINES)),
    "event": ("the {m} {n}", _m_mixed, _from(_EVENTS)),
    "course": ("the {m} {n}", _m_noun, _from(_COURSES)),
    "team": ("the {m} {n}", _m_mixed, _from(_TEAMS)),
    "doc": ("the {m} {n}", _m_mixed, _from(_DOCS)),
    "ship": ("the {n} {m}", _m_name, _from(_SHIPS)),
    "dish": (
        "the {m} {n}",
        lambda c: f"{c.pick(_ADJECTIVES)} {c.pick(_NOUNS)}" if c.r() < 0.5 else c.pick(_NOUNS),
        _from(_DISHES),
    ),
    "plant": ("the {m} {n}", _m_mixed, _from(_PLANTS)),
    "beast": ("the {m} {n}", _m_mixed, _from(_BEASTS)),
    "route": ("the {n} from {m}", lambda c: f"{_place(c)} to {_place(c)}", _from(_LINES)),
    "person": ("{m} {n}", _first, _last),
    "people": ("{m} {n}", _from(_PEOPLE_MODS), _from(_PEOPLE)),
    "village": ("{n}{m}", lambda c: c.pick(_PLACE_END), lambda c: c.pick(_SYL1) + c.pick(_SYL2)),
    "project": (
        "the {m} {n}",
        _m_mixed,
        _from(_words("project|plan|scheme|programme|survey|study|campaign|renovation")),
    ),
    "term": ("{m}{n}", lambda c: c.pick(_SYL1).lower(), lambda c: c.pick(_SYL2) + c.pick(_NAME_END)),
    "offence": (
        "{m} {n}",
        _forbidden,
        lambda c: c.pick(
            (
                f"on {_street(c)}",
                f"in the {c.pick(_SITES)}",
                f"at {_place(c)} station",
                f"near the {c.pick(_NOUNS)} pond",
            )
        ),
    ),
    "motion": (
        "the motion on {m} {n}",
        _m_noun,
        _from(_words("repairs|prices|storage|safety|fees|transport|waste|parking")),
    ),
    "article": ("article {m}", lambda c: str(c.n(1000, 9899)), lambda c: ""),
    "linerow": ("{n} {m}", lambda c: str(c.n(2, 99)), _from(_words("line|bus|tram|train|boat"))),
    "roomrow": ("{m} {n}", lambda c: c.pick(_NOUNS).capitalize(), _from(_words("Room|Hall|Studio|Lounge"))),
    "dayrow": ("{m}", lambda c: c.pick(_DAYS), lambda c: ""),
}
_ROW_KINDS: Final = ("article", "linerow", "roomrow", "staffrow")
_SUBJECTS["staffrow"] = _SUBJECTS["person"]

# Relations

_ROW_HEADS: Final[dict[str, tuple[str, ...]]] = {
    "article": (
        "Article, name, material, length, price, place",
        "Stock list: number, thing, material, length, price, storage place",
    ),
    "linerow": ("Line: destination, departure, platform, travel time", "Departures (to, time, platform, duration)"),
    "roomrow": ("Room | seats | hire per hour | floor", "Room | Seats | Rent | Level"),
    "staffrow": ("Name, job, room, extension", "Staff list (name, job, place, phone)"),
    "dayrow": ("Opening hours", "Opening hours {y}", "Hours of the {n} office", "When we are open"),
}
_HEADINGS: Final = _WORDS["headings"]


# Engine


@dataclass(frozen=True, slots=True)
class _Relation:
    name: str
    kinds: tuple[str, ...]
    group: str
    slots: tuple[tuple[str, str], ...]
    statements: tuple[tuple[str, ...], ...]
    questions: tuple[tuple[str, tuple[str, ...]], ...]  # (answer slot, wordings)


@dataclass(slots=True)
class _Fact:
    relation: _Relation
    kind: str
    subject: str
    values: dict[str, str]
    text: str


_ALTERNATIVE: Final = re.compile(r"\[([^\[\]]*)\]")


def _expand(template: str) -> tuple[str, ...]:
    found = _ALTERNATIVE.search(template)
    if found is None:
        return (template,)
    head, tail = template[: found.start()], template[found.end() :]
    return tuple(t for part in found.group(1).split("|") for t in _expand(head + part + tail))


def _parse(text: str) -> tuple[_Relation, ...]:
    relations: list[_Relation] = []
    for block in re.split(r"^@ ", text, flags=re.MULTILINE)[1:]:
        head, *lines = block.strip().split("\n")
        name, kinds, group, *slots = head.split()
        statements: list[tuple[str, ...]] = []
        questions: list[tuple[str, tuple[str, ...]]] = []
        for line in lines:
            mark, _, rest = line.partition(" ")
            if mark == "=":
                statements.append(_expand(rest))
            else:
                questions.append((mark[1:] or "a", _expand(rest)))
        pairs = tuple((k, v) for k, _, v in (s.partition("=") for s in slots))
        known = tuple(k for k in kinds.split(",") if k in _SUBJECTS)
        relations.append(_Relation(name, known, group, pairs, tuple(statements), tuple(questions)))
    return tuple(relations)


_ALL: Final = _parse(_data("invented_relations.txt"))
_BY_KIND: Final[dict[str, tuple[_Relation, ...]]] = {
    kind: tuple(r for r in _ALL if kind in r.kinds) for kind in _SUBJECTS
}
_TABLES: Final = ("article", "linerow", "roomrow", "staffrow", "dayrow")
_PROSE: Final = tuple(k for k in _SUBJECTS if k not in _TABLES for _ in range(1 + len(_BY_KIND[k]) // 3))


def _thing(c: _Ctx) -> str:
    return f"the {c.pick(_ADJECTIVES)} {c.pick(_COUNTABLE)}"


_VALUES["thing"] = _thing


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


_ARTICLE: Final = re.compile(r"\b([Aa]) (?=[aeiou])(?!uni)")
_ON: Final = re.compile(r"\b([Ii])n (shelf|rack)\b")
_AT: Final = re.compile(r"\b[Ii]n desk\b")


def _render(template: str, values: dict[str, str]) -> str:
    """The filled template, with "an" and the right preposition where needed."""
    text = template.format_map(values)
    if "a {" in template or "A {" in template:
        text = _ARTICLE.sub(r"\1n ", text)
    if "n {a}" in template:
        text = _ON.sub(lambda m: ("O" if m[1] == "I" else "o") + "n " + m[2], text)
        text = _AT.sub("at desk", text)
    return text


def _subject(c: _Ctx, kind: str, like: tuple[str, str] | None) -> tuple[str, tuple[str, str]]:
    """A subject of the kind; one that shares a word with ``like`` where given."""
    pattern, modifier, noun = _SUBJECTS[kind]
    k = c.r()
    m, n = modifier(c), noun(c)
    if like is not None and kind not in ("village", "term"):
        if k < 0.55 and like[1]:
            n = like[1]
        elif k < 0.7 and n:
            m = like[0]
    if m == n:
        m = modifier(c)
    return pattern.replace("{m}", m).replace("{n}", n), (m, n)


def _clash(subject: str, others: list[str]) -> bool:
    low = subject.lower()
    return any(low in o or o in low for o in others)


def _make(c: _Ctx, rel: _Relation, kind: str, subject: str, facts: list[_Fact], keys: dict[str, str]) -> _Fact | None:
    """A new fact, unlike the other facts of the same relation; None where that fails."""
    siblings = [f for f in facts if f.relation is rel]
    for _ in range(4):
        values = {"s": subject}
        for slot, value_kind in rel.slots:
            values[slot] = keys[slot] if slot in keys else _VALUES[value_kind](c)
        if "b" in values and values["a"] == values["b"]:
            continue
        if any(
            (f.values["a"] == values["a"])
            or ("b" in values and f.values["b"] == values["b"])
            or (f.subject == subject and f.values.get("c") == values.get("c"))
            or (kind in _ROW_KINDS and f.values.get("c", "") == values.get("c", "-"))
            for f in siblings
        ):
            continue
        options = rel.statements[int(c.r() * len(rel.statements))]
        text = _capital(_render(options[int(c.r() * len(options))], values))
        return _Fact(rel, kind, subject, values, text)
    return None


def _wording(c: _Ctx, rel: _Relation, slot: str | None) -> tuple[str, str]:
    questions = rel.questions
    if slot is not None:
        questions = tuple(q for q in questions if q[0] == slot)
    else:  # the slots count alike, however many wordings they have
        slots = tuple(dict.fromkeys(q[0] for q in questions))
        if len(slots) > 1:
            k = c.r()
            slot = "s" if "s" in slots and k < 0.2 else slots[int(c.r() * len(slots))]
            questions = tuple(q for q in questions if q[0] == slot)
    answer, options = questions[int(c.r() * len(questions))]
    return answer, options[int(c.r() * len(options))]


def _polish(c: _Ctx, question: str) -> str:
    """Now and then the untidy wording of real users."""
    k = c.r()
    if k < 0.85:
        return question
    low = question[0].lower() + question[1:] if question.split(" ", 1)[0] in _STARTS else question
    if k < 0.89:
        return low
    if k < 0.92:
        return low.rstrip("?.")
    if question[-1] != "?" or low == question:
        return question
    lead = c.pick(("According to the text, ", "Please tell me: ", "I would like to know: ", "In the passage, ", "So "))
    return lead + low


_STARTS: Final = frozenset(_WORDS["starts"])


def _add_cluster(c: _Ctx, facts: list[_Fact], subjects: list[str], kind: str, room: int) -> None:
    """Facts about one to three confusable subjects of a kind."""
    relations = _BY_KIND[kind]
    k = c.r()
    count = min(room, 1 if k < 0.3 else 2 if k < 0.75 else 3)
    like: tuple[str, str] | None = None
    names: list[str] = []
    for _ in range(count):
        for _ in range(4):
            name, parts = _subject(c, kind, like)
            if not _clash(name, subjects):
                subjects.append(name.lower())
                names.append(name)
                like = parts
                break
    chosen: list[_Relation] = []
    for _ in range(1 + int(c.r() * 3) if count > 1 else 2 + int(c.r() * 4)):
        rel = relations[int(c.r() * len(relations))]
        if all(rel.group != other.group for other in chosen):
            chosen.append(rel)
    for rel in chosen:
        keys: dict[str, str] = {}
        if len(names) > 1 and c.r() < 0.75:
            keys = {s: _VALUES[v](c) for s, v in rel.slots if s == "c"}
        for name in names:
            if room <= 0 or (len(names) > 1 and c.r() < 0.12):
                continue
            fact = _make(c, rel, kind, name, facts, keys)
            if fact is not None:
                facts.append(fact)
                room -= 1
                if room > 0 and "c" in fact.values and c.r() < 0.4:  # same subject, other key
                    twin = _make(c, rel, kind, name, facts, {})
                    if twin is not None:
                        facts.append(twin)
                        room -= 1


def _add_table(c: _Ctx, facts: list[_Fact], subjects: list[str], kind: str) -> None:
    rel = _BY_KIND[kind][0]
    statement = rel.statements[int(c.r() * len(rel.statements))]
    fixed = _Relation(rel.name, rel.kinds, rel.group, rel.slots, (statement,), rel.questions)
    for _ in range(3 + int(c.r() * 3)):
        name, _parts = _subject(c, kind, None)
        if _clash(name, subjects):
            continue
        fact = _make(c, fixed, kind, name, facts, {})
        if fact is not None:
            subjects.append(name.lower())
            facts.append(fact)


def _unanswerable(c: _Ctx, facts: list[_Fact], subjects: list[str], low: str) -> str | None:
    """A question that the passage (``low``, in lower case) does not answer."""
    fact = facts[int(c.r() * len(facts))]
    rel = fact.relation
    kind = fact.kind
    k = c.r()
    if kind in _TABLES:
        name, _parts = _subject(c, kind, None)
        made = _make(c, rel, kind, name, [], {})
        if made is None or _clash(name, subjects) or name.lower() in low:
            return None
        for slot in ("c",):
            if slot in made.values and made.values[slot].lower() in low:
                return None
        slot_name, wording = _wording(c, rel, None)
        return None if slot_name == "c" and "{s}" not in wording else _render(wording, made.values)
    answer, wording = _wording(c, rel, None)
    if answer == "s":
        made = _make(c, rel, kind, fact.subject, [], {})
        if made is None or made.values["a"].lower() in low:
            return None
        return _render(wording, made.values)
    if k < 0.5:  # the same relation of a subject that is not there
        pattern, modifier, noun = _SUBJECTS[kind]
        m, n = modifier(c), noun(c)
        words = fact.subject.removeprefix("the ").split(" ")
        if kind not in ("village", "term", "offence", "motion", "route", "ship") and len(words) > 1:
            if c.r() < 0.5:  # keep the noun
                n = words[-1] if kind != "org" else " ".join(words[-2:]) if len(words) > 2 else words[-1]
            elif len(words) == 2:
                m = words[0]
        name = pattern.replace("{m}", m).replace("{n}", n)
        if m == n or _clash(name, subjects) or name.lower().removeprefix("the ") in low:
            return None
        return _render(wording, {**fact.values, "s": name})
    if k < 0.68 and "c" in fact.values:  # the same subject, another key
        new = _VALUES[dict(rel.slots)["c"]](c)
        if new.lower() in low:
            return None
        return _render(wording, {**fact.values, "c": new})
    groups = {f.relation.group for f in facts if f.subject == fact.subject}
    options = _BY_KIND[kind]
    other = options[int(c.r() * len(options))]
    if other.group in groups:
        return None
    made = _make(c, other, kind, fact.subject, [], {})
    slots = tuple(q for q in other.questions if q[0] != "s")
    if made is None:
        return None
    _slot, wordings = slots[int(c.r() * len(slots))]
    return _render(wordings[int(c.r() * len(wordings))], made.values)


def _file_name(c: _Ctx) -> str:
    k = c.r()
    tail = c.pick(("rules", "guide", "minutes", "list", "notes", "report", "handbook", "faq", "plan", "prices"))
    stem = f"{c.pick(_NOUNS)}{c.pick(('-', '_', ' '))}{tail}" if k < 0.8 else f"{_place(c).lower()}-{c.year}"
    return f"{stem}.{c.pick(('pdf', 'txt', 'docx', 'md', 'html', 'pdf'))}"


def _fill(c: _Ctx, heading: str) -> str:
    return (
        heading.replace("{y}", str(c.year))
        .replace("{p}", _place(c))
        .replace("{k}", str(c.n(1, 30)))
        .replace("{n}", c.pick(_NOUNS))
    )


def _layout(c: _Ctx, prose: list[_Fact], rows: list[_Fact]) -> str:
    """The facts as one text: a paragraph, with a heading, or in numbered blocks."""
    texts = [f.text for f in prose]
    for i in range(len(texts) - 1, 0, -1):
        j = int(c.r() * (i + 1))
        texts[i], texts[j] = texts[j], texts[i]
    parts: list[str] = []
    if rows:
        head = _fill(c, c.pick(_ROW_HEADS[rows[0].kind]))
        parts.append("\n".join([head, *(f.text for f in rows)]))
    style = c.r()
    if texts:
        if style > 0.72 and len(texts) >= 4:
            cut = 1 + int(c.r() * (len(texts) - 2))
            parts += [" ".join(texts[:cut]), " ".join(texts[cut:])]
        elif style < 0.06:
            parts.append("\n".join(f"- {t}" for t in texts))
        else:
            parts.append(" ".join(texts))
    if len(parts) > 1 and c.r() < 0.5:
        parts.reverse()
    if style > 0.72 or (len(parts) > 1 and style > 0.4):
        return "\n\n".join(f"[{i + 1}] {_file_name(c)}, page {c.n(1, 60)}\n{p}" for i, p in enumerate(parts))
    text = "\n".join(parts) if c.r() < 0.5 else "\n\n".join(parts)
    if style < 0.25 and not rows:
        return _fill(c, c.pick(_HEADINGS)) + "\n" + text
    if style < 0.4:
        return f"[1] {_file_name(c)}, page {c.n(1, 60)}\n{text}"
    return text


def _item_from(c: _Ctx) -> ReadingItem | None:
    c.renew()
    facts: list[_Fact] = []
    subjects: list[str] = []
    banned: tuple[str, ...] = ()
    target = c.n(4, 9)
    if c.r() < 0.13:
        kind = c.pick(_TABLES)
        _add_table(c, facts, subjects, kind)
        banned = {"article": ("thing",), "staffrow": ("person",), "dayrow": ("site", "route", "ship")}.get(kind, ())
        target = max(target, len(facts) + 1)
    rows = list(facts)
    for _ in range(8):
        if len(facts) >= target:
            break
        kind = c.pick(_PROSE)
        if kind not in banned:
            _add_cluster(c, facts, subjects, kind, target - len(facts))
    facts = facts[:9]
    words = sum(f.text.count(" ") + 1 for f in facts)
    for _ in range(6):
        if words >= 42:
            break
        before = len(facts)
        _add_cluster(c, facts, subjects, c.pick(_PROSE), 9 - len(facts))
        words += sum(f.text.count(" ") + 1 for f in facts[before:])
    if len(facts) < 4 or words < 40:
        return None
    prose = facts[len(rows) :]
    passage = _layout(c, prose, rows)
    if passage.count(" ") + passage.count("\n") + 1 > 180:
        return None
    low = passage.lower()
    questions: list[tuple[str, str | None]] = []
    used: set[tuple[int, str]] = set()
    wanted = c.n(3, 6)
    for _ in range(40):
        if len(questions) >= wanted:
            break
        if c.r() < 0.16:
            for _ in range(8):
                missing = _unanswerable(c, facts, subjects, low)
                if missing is not None and all(missing != q for q, _a in questions):
                    questions.append((_polish(c, missing), None))
                    break
            continue
        index = int(c.r() * len(facts))
        fact = facts[index]
        slot, wording = _wording(c, fact.relation, None)
        if (index, slot) in used:
            continue
        answer = fact.values[slot]
        if answer not in fact.text:
            answer = _capital(answer)
            if answer not in fact.text:
                continue
        if slot == "s" and low.count(fact.values["c" if "c" in fact.values else "a"].lower()) > 1:
            continue
        used.add((index, slot))
        questions.append((_polish(c, _render(wording, fact.values)), answer))
    if len(questions) < 3:
        return None
    return ReadingItem(passage, tuple(questions))


def invented_items(seed: int) -> Iterator[ReadingItem]:
    """Reading items without end; the same ones for the same seed."""
    context = _Ctx(Random(seed).random)
    while True:
        item = _item_from(context)
        if item is not None:
            yield item
