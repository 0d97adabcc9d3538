"""What an invented exercise is about: organisations, places, people, things, rows of a table; a name of each kind is made here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from groundtune.dataset.invented_amounts import Ctx
from groundtune.dataset.invented_values import VALUES, first_name, last_name, place
from groundtune.dataset.invented_words import (
    ADJECTIVES,
    COLOURS,
    COUNTABLE,
    DAYS,
    FIRST,
    GIVEN_END,
    NAME_END,
    NOUNS,
    PLACE_END,
    SYL1,
    SYL2,
    WORDS,
    words,
)

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
        return f"{last_name(c)} {c.n(2, 990)}"
    return _m_adj(c) if k < 0.8 else f"{c.pick(COLOURS)}"


def _m_name(c: Ctx) -> str:
    k = c.r()
    if k < 0.5:
        return f"{c.pick(ADJECTIVES).capitalize()} {c.pick(NOUNS).capitalize()}"
    return place(c) if k < 0.75 else f"{c.pick(FIRST)} {c.pick(SYL1)}{c.pick(GIVEN_END)}"


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
#: kind -> (pattern, modifier, noun)
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
    "person": ("{m} {n}", first_name, last_name),
    "people": ("{m} {n}", _from(_PEOPLE_MODS), _from(_PEOPLE)),
    "village": ("{n}{m}", lambda c: c.pick(PLACE_END), lambda c: c.pick(SYL1) + c.pick(SYL2)),
    "project": (
        "the {m} {n}",
        _m_mixed,
        _from(words("project|plan|scheme|programme|survey|study|campaign|renovation")),
    ),
    "term": ("{m}{n}", lambda c: c.pick(SYL1).lower(), lambda c: c.pick(SYL2) + c.pick(NAME_END)),
    "offence": (
        "{m} {n}",
        VALUES["forbidden"],
        lambda c: c.pick(
            (
                f"on {VALUES['street'](c)}",
                f"in the {c.pick(_SITES)}",
                f"at {place(c)} station",
                f"near the {c.pick(NOUNS)} pond",
            )
        ),
    ),
    "motion": (
        "the motion on {m} {n}",
        _m_noun,
        _from(words("repairs|prices|storage|safety|fees|transport|waste|parking")),
    ),
    "article": ("article {m}", lambda c: str(c.n(1000, 9899)), lambda c: ""),
    "linerow": ("{n} {m}", lambda c: str(c.n(2, 99)), _from(words("line|bus|tram|train|boat"))),
    "roomrow": ("{m} {n}", lambda c: c.pick(NOUNS).capitalize(), _from(words("Room|Hall|Studio|Lounge"))),
    "dayrow": ("{m}", lambda c: c.pick(DAYS), lambda c: ""),
}
ROW_KINDS: Final = ("article", "linerow", "roomrow", "staffrow")
SUBJECTS["staffrow"] = SUBJECTS["person"]
