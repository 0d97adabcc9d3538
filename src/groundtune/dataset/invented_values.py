"""Words, values and names for the invented exercises: amounts, dates, people, places, and what an exercise is about.

A value is made by a function of a :class:`Ctx`, which holds the random source and the formats one passage keeps to.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources
from typing import Final


def data(name: str) -> str:
    """Text of a data file of this folder."""
    return resources.files("groundtune.dataset").joinpath(name).read_text(encoding="utf-8")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split("|"))


def _word_lists(text: str) -> dict[str, tuple[str, ...]]:
    """Lists by name: a line ``name:``, then its words between bars on indented lines."""
    parts = re.split(r"^(\w+):\n", text, flags=re.MULTILINE)[1:]
    return {name: _words(" ".join(words.split())) for name, words in zip(parts[::2], parts[1::2], strict=True)}


WORDS: Final = _word_lists(data("invented_words.txt"))
NOUNS: Final = WORDS["nouns"]
ADJECTIVES: Final = WORDS["adjectives"]
_COLOURS: Final = WORDS["colours"]
_MATERIALS: Final = WORDS["materials"]
_FIRST: Final = WORDS["first"]
_LAST: Final = WORDS["last"]
_SYL1: Final = WORDS["syl1"]
_SYL2: Final = WORDS["syl2"]
_PLACE_END: Final = WORDS["place_end"]
_NAME_END: Final = WORDS["name_end"]
_GIVEN_END: Final = WORDS["given_end"]
_VERBAL: Final = WORDS["verbal"]
_FORBID_VERB: Final = WORDS["forbid_verb"]
_WEAR: Final = WORDS["wear"]
_JOBS: Final = WORDS["jobs"]
_TASKS: Final = WORDS["tasks"]
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = WORDS["months"]
_VISITORS: Final = WORDS["visitors"]
_NUMBER_WORDS: Final = WORDS["number_words"]
_ANIMALS: Final = WORDS["animals"]

# Values

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


def _an(word: str) -> str:
    return ("an " if word[0] in "aeiou" and not word.startswith(("uni", "euro", "one")) else "a ") + word


_CURRENCIES: Final = WORDS["currencies"]


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
        return f"{c.pick(_DAYS)} {d} {name}"
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


def _street(c: Ctx) -> str:
    base = c.pick(NOUNS).capitalize() if c.r() < 0.5 else place(c)
    s = f"{base} {c.pick(('Street', 'Lane', 'Road', 'Square', 'Alley', 'Quay', 'Avenue', 'Row'))}"
    return f"{c.n(2, 140)} {s}" if c.r() < 0.4 else s


def place(c: Ctx) -> str:
    """An invented place name."""
    return c.pick(_SYL1) + (c.pick(_SYL2) if c.r() < 0.45 else "") + c.pick(_PLACE_END)


def _first(c: Ctx) -> str:
    if c.r() < 0.6:
        return c.pick(_FIRST)
    return c.pick(_SYL1) + (c.pick(_SYL2) if c.r() < 0.4 else "") + c.pick(_GIVEN_END)


def _last(c: Ctx) -> str:
    if c.r() < 0.35:
        return c.pick(_LAST)
    return c.pick(_SYL1) + c.pick(_SYL2) + c.pick(_NAME_END)


def _person(c: Ctx) -> str:
    k = c.r()
    if k < 0.08:
        return f"{c.pick(('Dr', 'Ms', 'Mr', 'Mrs'))} {_last(c)}"
    return f"{_first(c)} {_last(c)}"


def _firm(c: Ctx) -> str:
    k = c.r()
    if k < 0.3:
        return f"{_last(c)} & {c.pick(('Sons', 'Daughters', 'Partners', _last(c)))}"
    if k < 0.6:
        return f"{place(c)} {c.pick(NOUNS).capitalize()} {c.pick(('Works', 'Trading', 'Supplies', 'Mills'))}"
    return f"{_last(c)} {c.pick(('Brothers', 'Tools', 'Foods', 'Timber', 'Textiles', 'Logistics', 'Metal', 'Glass'))}"


def _spot(c: Ctx) -> str:
    k = c.r()
    code = f"{c.pick('A B C D E F G H K M'.split())}{c.n(1, 40)}"
    if k < 0.4:
        return f"{c.pick(('shelf', 'rack', 'bay', 'locker', 'drawer', 'cabinet', 'bin'))} {code}"
    if k < 0.7:
        return f"the {c.pick(ADJECTIVES)} {c.pick(('cupboard', 'drawer', 'box', 'chest', 'safe', 'cabinet', 'tin'))}"
    return f"the {c.pick(NOUNS)} {c.pick(('room', 'shed', 'cellar', 'store', 'attic', 'cupboard'))}"


def _room(c: Ctx) -> str:
    k = c.r()
    if k < 0.4:
        return f"room {c.n(1, 420)}"
    if k < 0.7:
        return f"the {c.pick(NOUNS).capitalize()} Room"
    return f"the {c.pick(ADJECTIVES)} {c.pick(('hall', 'studio', 'cellar', 'barn', 'attic', 'workshop', 'kitchen'))}"


_FLOORS: Final = WORDS["floors"]
_BROKEN: Final = WORDS["broken"]


def _reason(c: Ctx) -> str:
    k = c.r()
    if k < 0.7:
        return f"the {c.pick(ADJECTIVES) + ' ' if c.r() < 0.4 else ''}{c.pick(NOUNS)} {c.pick(_BROKEN)}"
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


def _cause(c: Ctx) -> str:
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


def _item(c: Ctx) -> str:
    return _an(f"{c.pick(ADJECTIVES)} {c.pick(COUNTABLE)}" if c.r() < 0.4 else c.pick(COUNTABLE))


def _bring(c: Ctx) -> str:
    return c.pick(
        (
            _an(
                f"{c.pick(ADJECTIVES)} {c.pick(('bag', 'towel', 'notebook', 'blanket', 'torch', 'cup', 'pencil', 'rope'))}"
            ),
            f"a copy of the {c.pick(NOUNS)} {c.pick(('form', 'certificate', 'permit', 'invoice', 'list'))}",
            f"their own {c.pick(COUNTABLE)}",
            f"proof of {c.pick(('address', 'age', 'payment', 'insurance', 'residence', 'training'))}",
            f"{_small(c)} {c.pick(('photographs', 'candles', 'envelopes', 'copies', 'stamps', 'eggs', 'blankets'))}",
            f"{_an(c.pick(_COLOURS))} {c.pick(('folder', 'scarf', 'pencil', 'bag', 'lamp', 'flag', 'cup'))}",
        )
    )


def _wear(c: Ctx) -> str:
    mod = c.pick(_COLOURS) if c.r() < 0.6 else c.pick(_MATERIALS)
    return _an(f"{mod} {c.pick(_WEAR)}")


def _list(c: Ctx) -> str:
    a, b, d = c.pick(COUNTABLE), c.pick(COUNTABLE), c.pick(COUNTABLE)
    if c.r() < 0.5:
        return f"{_an(a)}, {_an(b)} and {_an(d)}"
    return f"{_an(a)} and {_an(b)}"


def _forbidden(c: Ctx) -> str:
    if c.r() < 0.35:
        return c.pick(_VERBAL)
    return f"{c.pick(_FORBID_VERB)} {c.pick(_NOUNS_PL)}"


_BASE_VERB: Final = WORDS["base_verb"]


def _allowed(c: Ctx) -> str:
    return f"{c.pick(_BASE_VERB)} {c.pick(ADJECTIVES) + ' ' if c.r() < 0.3 else ''}{c.pick(_NOUNS_PL)}"


def _temp(c: Ctx) -> str:
    return f"{c.n(-25, 95) or 4}{c.pick((' °C', ' degrees', '°C', ' degrees'))}"


def _speed(c: Ctx) -> str:
    return f"{c.n(4, 160)} {c.pick(('km/h', 'km/h', 'kilometres an hour', 'knots', 'miles an hour'))}"


def _pct(c: Ctx) -> str:
    return f"{c.n(2, 98)}{c.pick((' %', '%', ' per cent', ' percent'))}"


def _area(c: Ctx) -> str:
    return f"{c.n(8, 980)} {c.pick(('square metres', 'm²', 'square metres'))}"


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "sh", "ch")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return {"goose": "geese", "knife": "knives", "leaf": "leaves", "potato": "potatoes"}.get(noun, noun + "s")


_MASS: Final = frozenset(WORDS["mass"])
COUNTABLE: Final = tuple(n for n in NOUNS if n not in _MASS)
_NOUNS_PL: Final = tuple(_plural(n) for n in COUNTABLE)


def _definition(c: Ctx) -> str:
    return (
        f"{_an(c.pick(ADJECTIVES))} {c.pick(('cup', 'tool', 'box', 'cloth', 'knife', 'bag', 'rope', 'bell', 'hook', 'tray'))}"
        f" for {c.pick(('storing', 'drying', 'cutting', 'weighing', 'carrying', 'washing', 'sorting'))} {c.pick(_NOUNS_PL)}"
    )


_PURPOSES: Final = WORDS["purposes"]

VALUES: Final[dict[str, Callable[[Ctx], str]]] = {
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
    "place": place,
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
    "noun": lambda c: c.pick(COUNTABLE),
    "animal": lambda c: f"{c.pick(ADJECTIVES)} {c.pick(_ANIMALS)}",
    "role": lambda c: f"the {c.pick(ADJECTIVES)} {c.pick(_JOBS)}" if c.r() < 0.3 else f"the head {c.pick(_JOBS)}",
    "definition": _definition,
    "purpose": lambda c: f"{c.pick(_PURPOSES)} {c.pick(_NOUNS_PL)}",
    "platform": lambda c: f"platform {c.n(1, 24)}",
    "grade": lambda c: f"{c.n(30, 95)} points",
    "rooms": lambda c: c.pick(("room", "desk", "office")) + f" {c.n(1, 320)}",
    "seats": lambda c: f"{c.n(6, 400)} seats",
}

# Subjects: kind -> (pattern, modifier, noun)


_ORGS: Final = WORDS["orgs"]
_SITES: Final = WORDS["sites"]
_EVENTS: Final = WORDS["events"]
_COURSES: Final = WORDS["courses"]
_TEAMS: Final = WORDS["teams"]
_DOCS: Final = WORDS["docs"]
_SHIPS: Final = WORDS["ships"]
_DISHES: Final = WORDS["dishes"]
_PLANTS: Final = WORDS["plants"]
_BEASTS: Final = WORDS["beasts"]
_LINES: Final = WORDS["lines"]
_MACHINES: Final = WORDS["machines"]
_PEOPLE_MODS: Final = WORDS["people_mods"]
_PEOPLE: Final = WORDS["people"]
_DIRECTIONS: Final = WORDS["directions"]


def _m_noun(c: Ctx) -> str:
    return c.pick(NOUNS)


def _m_adj(c: Ctx) -> str:
    return c.pick(ADJECTIVES)


def _m_site(c: Ctx) -> str:
    k = c.r()
    if k < 0.3:
        return c.pick(_DIRECTIONS)
    if k < 0.65:
        return place(c)
    return (
        f"{c.pick(NOUNS).capitalize()} {c.pick(('Street', 'Lane', 'Hill', 'Square', 'Bay'))}" if k < 0.85 else _m_adj(c)
    )


def _m_model(c: Ctx) -> str:
    k = c.r()
    if k < 0.4:
        return f"{_last(c)} {c.n(2, 990)}"
    return _m_adj(c) if k < 0.8 else f"{c.pick(_COLOURS)}"


def _m_name(c: Ctx) -> str:
    k = c.r()
    if k < 0.5:
        return f"{c.pick(ADJECTIVES).capitalize()} {c.pick(NOUNS).capitalize()}"
    return place(c) if k < 0.75 else f"{c.pick(_FIRST)} {c.pick(_SYL1)}{c.pick(_GIVEN_END)}"


def _m_org(c: Ctx) -> str:
    return place(c) if c.r() < 0.65 else f"{c.pick(ADJECTIVES).capitalize()} {c.pick(NOUNS).capitalize()}"


def _m_mixed(c: Ctx) -> str:
    k = c.r()
    if k < 0.5:
        return c.pick(NOUNS)
    return place(c) if k < 0.7 else f"{c.pick(ADJECTIVES)} {c.pick(NOUNS)}"


def _from(seq: tuple[str, ...]) -> Callable[[Ctx], str]:
    return lambda c: c.pick(seq)


_Gen = Callable[[Ctx], str]
SUBJECTS: Final[dict[str, tuple[str, _Gen, _Gen]]] = {
    "org": ("the {m} {n}", _m_org, _from(_ORGS)),
    "site": ("the {m} {n}", _m_site, _from(_SITES)),
    "thing": ("the {m} {n}", _m_adj, lambda c: c.pick(COUNTABLE)),
    "machine": ("the {m} {n}", _m_model, _from(_MACHINES)),
    "event": ("the {m} {n}", _m_mixed, _from(_EVENTS)),
    "course": ("the {m} {n}", _m_noun, _from(_COURSES)),
    "team": ("the {m} {n}", _m_mixed, _from(_TEAMS)),
    "doc": ("the {m} {n}", _m_mixed, _from(_DOCS)),
    "ship": ("the {n} {m}", _m_name, _from(_SHIPS)),
    "dish": (
        "the {m} {n}",
        lambda c: f"{c.pick(ADJECTIVES)} {c.pick(NOUNS)}" if c.r() < 0.5 else c.pick(NOUNS),
        _from(_DISHES),
    ),
    "plant": ("the {m} {n}", _m_mixed, _from(_PLANTS)),
    "beast": ("the {m} {n}", _m_mixed, _from(_BEASTS)),
    "route": ("the {n} from {m}", lambda c: f"{place(c)} to {place(c)}", _from(_LINES)),
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
                f"at {place(c)} station",
                f"near the {c.pick(NOUNS)} pond",
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
    "roomrow": ("{m} {n}", lambda c: c.pick(NOUNS).capitalize(), _from(_words("Room|Hall|Studio|Lounge"))),
    "dayrow": ("{m}", lambda c: c.pick(_DAYS), lambda c: ""),
}
ROW_KINDS: Final = ("article", "linerow", "roomrow", "staffrow")
SUBJECTS["staffrow"] = SUBJECTS["person"]
