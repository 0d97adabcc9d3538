"""What stands in the statements of the invented exercises: people, places, things, reasons, and all amounts.

A value is made by a function of a :class:`Ctx`. Leaves out what an exercise is about (``invented_subjects``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from groundtune.dataset.invented_amounts import AMOUNTS, Ctx
from groundtune.dataset.invented_words import (
    ADJECTIVES,
    COLOURS,
    COUNTABLE,
    FIRST,
    GIVEN_END,
    NAME_END,
    NOUNS,
    NOUNS_PL,
    PLACE_END,
    SYL1,
    SYL2,
    WORDS,
    an,
)

_MATERIALS: Final = WORDS["materials"]
_LAST: Final = WORDS["last"]
_VERBAL: Final = WORDS["verbal"]
_FORBID_VERB: Final = WORDS["forbid_verb"]
_WEAR: Final = WORDS["wear"]
_JOBS: Final = WORDS["jobs"]
_TASKS: Final = WORDS["tasks"]
_VISITORS: Final = WORDS["visitors"]
_ANIMALS: Final = WORDS["animals"]


def _street(c: Ctx) -> str:
    base = c.pick(NOUNS).capitalize() if c.r() < 0.5 else place(c)
    s = f"{base} {c.pick(('Street', 'Lane', 'Road', 'Square', 'Alley', 'Quay', 'Avenue', 'Row'))}"
    return f"{c.n(2, 140)} {s}" if c.r() < 0.4 else s


def place(c: Ctx) -> str:
    """An invented place name."""
    return c.pick(SYL1) + (c.pick(SYL2) if c.r() < 0.45 else "") + c.pick(PLACE_END)


def first_name(c: Ctx) -> str:
    """A given name, known or invented."""
    if c.r() < 0.6:
        return c.pick(FIRST)
    return c.pick(SYL1) + (c.pick(SYL2) if c.r() < 0.4 else "") + c.pick(GIVEN_END)


def last_name(c: Ctx) -> str:
    """A family name, known or invented."""
    if c.r() < 0.35:
        return c.pick(_LAST)
    return c.pick(SYL1) + c.pick(SYL2) + c.pick(NAME_END)


def _person(c: Ctx) -> str:
    k = c.r()
    if k < 0.08:
        return f"{c.pick(('Dr', 'Ms', 'Mr', 'Mrs'))} {last_name(c)}"
    return f"{first_name(c)} {last_name(c)}"


def _firm(c: Ctx) -> str:
    k = c.r()
    if k < 0.3:
        return f"{last_name(c)} & {c.pick(('Sons', 'Daughters', 'Partners', last_name(c)))}"
    if k < 0.6:
        return f"{place(c)} {c.pick(NOUNS).capitalize()} {c.pick(('Works', 'Trading', 'Supplies', 'Mills'))}"
    return (
        f"{last_name(c)} {c.pick(('Brothers', 'Tools', 'Foods', 'Timber', 'Textiles', 'Logistics', 'Metal', 'Glass'))}"
    )


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
    return an(f"{c.pick(ADJECTIVES)} {c.pick(COUNTABLE)}" if c.r() < 0.4 else c.pick(COUNTABLE))


def _bring(c: Ctx) -> str:
    return c.pick(
        (
            an(
                f"{c.pick(ADJECTIVES)} {c.pick(('bag', 'towel', 'notebook', 'blanket', 'torch', 'cup', 'pencil', 'rope'))}"
            ),
            f"a copy of the {c.pick(NOUNS)} {c.pick(('form', 'certificate', 'permit', 'invoice', 'list'))}",
            f"their own {c.pick(COUNTABLE)}",
            f"proof of {c.pick(('address', 'age', 'payment', 'insurance', 'residence', 'training'))}",
            f"{AMOUNTS['small'](c)} {c.pick(('photographs', 'candles', 'envelopes', 'copies', 'stamps', 'eggs', 'blankets'))}",
            f"{an(c.pick(COLOURS))} {c.pick(('folder', 'scarf', 'pencil', 'bag', 'lamp', 'flag', 'cup'))}",
        )
    )


def _wear(c: Ctx) -> str:
    mod = c.pick(COLOURS) if c.r() < 0.6 else c.pick(_MATERIALS)
    return an(f"{mod} {c.pick(_WEAR)}")


def _list(c: Ctx) -> str:
    a, b, d = c.pick(COUNTABLE), c.pick(COUNTABLE), c.pick(COUNTABLE)
    if c.r() < 0.5:
        return f"{an(a)}, {an(b)} and {an(d)}"
    return f"{an(a)} and {an(b)}"


def _forbidden(c: Ctx) -> str:
    if c.r() < 0.35:
        return c.pick(_VERBAL)
    return f"{c.pick(_FORBID_VERB)} {c.pick(NOUNS_PL)}"


_BASE_VERB: Final = WORDS["base_verb"]


def _allowed(c: Ctx) -> str:
    return f"{c.pick(_BASE_VERB)} {c.pick(ADJECTIVES) + ' ' if c.r() < 0.3 else ''}{c.pick(NOUNS_PL)}"


def _definition(c: Ctx) -> str:
    return (
        f"{an(c.pick(ADJECTIVES))} {c.pick(('cup', 'tool', 'box', 'cloth', 'knife', 'bag', 'rope', 'bell', 'hook', 'tray'))}"
        f" for {c.pick(('storing', 'drying', 'cutting', 'weighing', 'carrying', 'washing', 'sorting'))} {c.pick(NOUNS_PL)}"
    )


_PURPOSES: Final = WORDS["purposes"]

#: kind -> what makes one
VALUES: Final[dict[str, Callable[[Ctx], str]]] = {
    **AMOUNTS,
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
    "colour": lambda c: c.pick(COLOURS),
    "material": lambda c: c.pick(_MATERIALS),
    "visitor": lambda c: c.pick(_VISITORS),
    "ext": lambda c: str(c.n(101, 9890)),
    "job": lambda c: c.pick(_JOBS),
    "jobs": lambda c: c.pick(_JOBS) + "s",
    "task": lambda c: c.pick(_TASKS),
    "nouns": lambda c: c.pick(NOUNS_PL),
    "noun": lambda c: c.pick(COUNTABLE),
    "animal": lambda c: f"{c.pick(ADJECTIVES)} {c.pick(_ANIMALS)}",
    "role": lambda c: f"the {c.pick(ADJECTIVES)} {c.pick(_JOBS)}" if c.r() < 0.3 else f"the head {c.pick(_JOBS)}",
    "definition": _definition,
    "purpose": lambda c: f"{c.pick(_PURPOSES)} {c.pick(NOUNS_PL)}",
    "platform": lambda c: f"platform {c.n(1, 24)}",
    "grade": lambda c: f"{c.n(30, 95)} points",
    "rooms": lambda c: c.pick(("room", "desk", "office")) + f" {c.n(1, 320)}",
    "seats": lambda c: f"{c.n(6, 400)} seats",
}
