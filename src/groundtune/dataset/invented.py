"""Endless invented reading exercises for a very small language model.

A generator of invented short passages about invented organisations, places,
people, products, events and rules, each with questions and short answers. They
are used to teach a very small language model (5M parameters) to read a passage
and copy the answer out of it, or to say that the answer is not there.

Everything is made of templates (``_RELATIONS``) and of entities combined from
syllables and word lists, so that almost nothing repeats. The stream depends on
the seed only.

The template text: ``@ name kinds group slot=kind ...`` opens a relation, ``=``
is a statement, ``?`` a question answered by slot ``a``, ``?b`` one answered by
slot ``b`` (``?s`` is answered by the subject). ``[x|y]`` are alternatives.
Slots c and e are keys (part of what is asked), x and y are context only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

__all__ = ["ReadingItem", "invented_items"]


@dataclass(frozen=True, slots=True)
class ReadingItem:
    """One passage with its questions; an answer of None is not in the passage."""

    passage: str
    questions: tuple[tuple[str, str | None], ...]


# --------------------------------------------------------------------------
# Words

_NOUNS: Final = tuple(
    """
    acorn anchor anvil apple apron arrow axle badge bagpipe ball bamboo banjo barley barrel basin
    basket beacon bead beam bean bell bellows bench berry bicycle blanket blossom bobbin boiler bolt
    book boot bottle bowl box bracket bramble brass bread brick bridge bridle broom brush bucket
    buckle bugle bulb button cabbage cabin cable cactus cage cake candle canoe canvas carpet carrot
    cart cask castle cello chain chair chalk chart cheese cherry chess chestnut chisel cider clam clay
    clock cloth clover coal coat cobble cocoa coin comb compass copper coral cord cork cotton cradle
    crane crate crayon cricket crown crystal cube cup curtain cushion daisy dial diamond dock dome
    donkey drum duck dune easel egg elm engine envelope fabric falcon feather fence fern ferret fiddle
    fig finch fir flag flask flint flour flute foam forge fork fossil fountain fox frame frost
    funnel furnace garlic gate gear ginger glass glove goat goose grain grape gravel guitar hammer
    hammock harp harvest hat hawk hay hazel hedge helmet heron herring hinge honey hood hook horn horse
    ice ink iron ivory ivy jacket jar jelly jug juniper kettle kite knife knot lace ladder ladle lamb
    lamp lantern larch lark latch lathe leaf leather lemon lens letter lettuce lever lilac lily lime
    linen lobster lock locket loom lute magnet mallet mantle map maple marble mask mast mat meadow
    melon mill mint mirror mitten mortar moss moth mug mushroom mussel mustard nail napkin needle nest
    net nettle nut oak oar oat oboe olive onion orchard organ otter oven owl oyster paddle pan panel
    paper parcel parsley paste peach peanut pear pebble pen pencil pepper piano pickle pigeon pillow
    pine pipe pitcher plank plate plough plum poem pond poplar poppy pot potato prism puddle pulley
    pumpkin puppet quarry quill quilt quince rabbit radish raft rail rake raven razor reed ribbon
    ring river robin rocket roof rope rose rudder rug saddle sail salmon salt sand sandal saw scarf
    screw seal seed shell shield shovel shutter sickle silk slate sled slipper snail soap sock spade
    sparrow spice spindle sponge spoon spruce squash stamp star stool stove straw string swan sword
    syrup table tapestry tar tent thistle thread tile timber tin toast torch towel tower trout
    trumpet trunk tub tulip tunnel turbine turnip umbrella urn valve vase velvet vine violet violin
    wagon walnut watch wax weaver wheat wheel whistle willow window wool wren yarn zinc zither
    """.split()
)
_ADJECTIVES: Final = tuple(
    """
    amber ancient autumn big black blue bold brave bright broad broken bronze brown calm careful
    carved cheap clean clear clever coarse cold common cool cracked crimson crooked curved damp dark
    deep double dry dusty early eastern empty faded famous fast fine flat folding foreign free fresh
    gentle giant gilded glossy golden grand green grey half hard heavy hidden high hollow humble
    inner jolly junior kind large late left light little local long loud low lower lucky main mild
    mobile modern narrow neat new noble noisy northern old open orange outer oval painted pale
    patient plain polished portable proud public purple quick quiet rapid rare red repaired rich right
    rough round royal rusty sandy secret senior shallow sharp short silent silver simple slim slow
    small smooth soft solid southern spare square steep stiff striped strong summer sweet swift tall
    thick thin tidy tiny tough upper warm western white wide wild winter wooden yellow young
    """.split()
)
_COLOURS: Final = (
    *"""red blue green yellow black white grey brown orange purple pink turquoise beige crimson ivory
    maroon violet teal scarlet olive lilac silver gold amber indigo cream""".split(),
    *("dark green", "light blue", "pale yellow", "dark red", "navy blue", "black and white", "mint green", "sky blue"),
)
_MATERIALS: Final = (
    *"""oak pine steel copper brass glass clay nylon cotton wool leather slate granite marble bamboo cork
    felt canvas linen silk rubber aluminium tin zinc bronze limestone birch ash willow wax paper
    porcelain concrete plywood jute hemp iron sandstone walnut cedar larch beech plastic""".split(),
    *("cast iron", "stainless steel", "recycled plastic", "stained glass", "pressed straw", "waxed cotton"),
)
_FIRST: Final = tuple(
    """Anna Tom Maria Peter Lena Omar Ruth Ivan Clara Hugo Nina Paul Sara Leon Emma Karl Rosa Felix Mina
    Jonas Eva Max Lucy Adam Olga Simon Vera Mark Ines David Yara Lukas Priya Chen Aisha Diego Fatima Kofi
    Mei Noor Ravi Sofia Tariq Uma Wanda Zoe Bruno Greta Otto Tilda Amos Edith Walter Agnes Rupert Hilda
    Cyril Maud Ezra Ottilie Barnaby Thora Ignatius Petunia Magnus Elspeth Piet Saskia Dmitri Ludmila""".split()
)
_LAST: Final = tuple(
    """Baker Hill Stone Ward Moss Fisher Reed Marsh Potter Lane Fox Carter Wood Nash Frost Page Cole Hart
    Weber Novak Silva Rossi Okafor Tanaka Singh Haddad Larsen Kowalski Moreau Varga Petrov Duarte Lindqvist
    Brandt Keller Ito Mbeki Castellan Underhill Pemberton Quickly Thistlewood Ravenscar Oddleigh""".split()
)
_SYL1: Final = tuple(
    """Bar Bel Bor Bren Cal Cor Cra Dan Del Dor Dra Ed El Far Fen Fi Gar Gel Gor Gra Hal Har Hel Hol Ild
    Jar Jo Kal Kel Kor Kra Lam Len Lor Lu Mar Mel Mor Nar Nel No Or Ost Pal Pel Por Quel Ra Ren Rol Sal Sel
    Sor Ste Tam Tel Tor Tra Ul Va Vel Vor Wal Wen Wil Yar Yel Zan Zel Zor Bly Thra Sko Plu Gri Fro""".split()
)
_SYL2: Final = tuple(
    """a be bi da de do e ga ge go i ka ke ki la le li lo ma me mi na ne ni o ra re ri ro sa se si ta te ti
    va ve vi za ze""".split()
)
_PLACE_END: Final = tuple(
    """wick ford ton ham bury dale stead mouth field by haven holm port gate stow vik burg berg dorf mere
    well thorpe combe march tal nes lund sk rin nov dal vale croft worth""".split()
)
_NAME_END: Final = tuple(
    """sen son ski berg man dt ner lin vic mont rell dane tt x ck ld nn rek lund quist vist nelli rro mov
    shaw by well wick den""".split()
)
_GIVEN_END: Final = tuple("a o n r na la ra s th l m d rin lia nor ric bert dra mir ska ne".split())
_VERBAL: Final = tuple(
    """smoking running shouting swimming fishing cooking camping singing whistling cycling skating dancing
    sleeping eating drinking climbing photography gambling""".split()
)
_FORBID_VERB: Final = tuple(
    """feeding washing painting selling storing burning drying moving borrowing repairing cutting throwing
    carrying copying lending opening hanging boiling""".split()
)
_WEAR: Final = tuple(
    """helmet|vest|apron|badge|glove|mask|hood|cap|overall|jacket|hairnet|life jacket|harness|name tag|
    visor|belt|scarf|uniform|raincoat""".replace("\n", "")
    .replace("    ", "")
    .split("|")
)
_JOBS: Final = tuple(
    """gardener baker clerk carpenter nurse cook driver librarian tailor plumber surveyor painter beekeeper
    electrician accountant archivist porter weaver welder cashier blacksmith glazier translator mechanic
    locksmith shepherd cartographer potter teacher pilot vet roofer inspector""".split()
)
_TASKS: Final = (
    "orders",
    "repairs",
    "invoices",
    "complaints",
    "cleaning",
    "deliveries",
    "bookings",
    "training",
    "safety",
    "lost property",
    "stock counts",
    "night patrols",
    "refunds",
    "translations",
    "guided tours",
    "waste sorting",
    "staff rotas",
    "the archive",
    "the newsletter",
    "first aid",
    "fire drills",
    "parcel labels",
    "key handover",
)
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
_VISITORS: Final = (
    "adults",
    "children",
    "students",
    "pensioners",
    "residents",
    "members",
    "guests",
    "groups",
    "school classes",
    "families",
    "soldiers",
    "teachers",
    "volunteers",
    "tourists",
    "apprentices",
    "nurses",
)
_NUMBER_WORDS: Final = "zero one two three four five six seven eight nine ten eleven twelve".split()
_ANIMALS: Final = tuple(
    """heron otter fox badger swan owl stork hare lynx raven salmon beetle moth goose bear stag eel crane
    tortoise squirrel""".split()
)

# --------------------------------------------------------------------------
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


_CURRENCIES: Final = (
    "{} crowns",
    "{} euros",
    "{} florins",
    "{} marks",
    "{} francs",
    "{} talers",
    "{} dollars",
    "{} shillings",
    "{} pounds",
    "{} ducats",
    "€{}",
    "${}",
    "£{}",
    "CHF {}",
    "{} EUR",
    "{} lira",
)


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


_FLOORS: Final = (
    "the ground floor",
    "the first floor",
    "the second floor",
    "the third floor",
    "the fourth floor",
    "the fifth floor",
    "the sixth floor",
    "the top floor",
    "the lower level",
    "the mezzanine",
)
_BROKEN: Final = (
    "was leaking",
    "had failed",
    "was being repaired",
    "had cracked",
    "was missing",
    "was too small",
    "had burnt down",
    "was flooded",
    "had been stolen",
    "was out of date",
    "had fallen over",
    "was worn out",
    "was blocked",
    "had rusted through",
    "was not insured",
    "had frozen",
)


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


_BASE_VERB: Final = (
    "borrow",
    "sell",
    "paint",
    "sharpen",
    "wash",
    "photograph",
    "store",
    "repair",
    "taste",
    "collect",
    "lend",
    "dry",
    "sort",
    "carry",
    "exchange",
    "burn",
)


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


_MASS: Final = frozenset(
    """bamboo barley brass bread broom chalk cheese chess cider clay clover coal cocoa copper coral cork cotton
    fabric flour foam frost garlic ginger glass grain gravel harvest hay honey ice ink iron ivory ivy jelly lace
    leather linen lilac mint moss mustard oat paper parsley paste salmon salt sand silk slate soap spruce
    straw string syrup tar thread timber tin toast trout velvet wax wheat wool yarn zinc lettuce cricket herring
    bellows marble spice hood roof star river castle meadow orchard pond quarry tower tunnel dune dock dome moth
    juniper lime poppy""".split()
)
_COUNTABLE: Final = tuple(n for n in _NOUNS if n not in _MASS)
_NOUNS_PL: Final = tuple(_plural(n) for n in _COUNTABLE)


def _definition(c: _Ctx) -> str:
    return (
        f"{_an(c.pick(_ADJECTIVES))} {c.pick(('cup', 'tool', 'box', 'cloth', 'knife', 'bag', 'rope', 'bell', 'hook', 'tray'))}"
        f" for {c.pick(('storing', 'drying', 'cutting', 'weighing', 'carrying', 'washing', 'sorting'))} {c.pick(_NOUNS_PL)}"
    )


_PURPOSES: Final = (
    "storing",
    "drying",
    "cutting",
    "weighing",
    "carrying",
    "cleaning",
    "sorting",
    "painting",
    "packing",
)

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

# --------------------------------------------------------------------------
# Subjects: kind -> (pattern, modifier, noun)


def _words(text: str) -> tuple[str, ...]:
    return tuple(w.strip() for w in text.replace("\n", " ").split("|"))


_ORGS: Final = _words(
    "Rowing Club|Museum|Garden Society|Choir|Savings Bank|Theatre|Dairy|Brewery|Chess Union|Hospital|Printing House|"
    "Water Board|Sailing School|Beekeepers' League|Library Trust|Cycling Club|Weavers' Guild|Observatory|Tram Company|"
    "Foundry|Film Club|Animal Shelter|Housing Cooperative|Salt Company|Archive|Ferry Company|Bakery|Football Club|"
    "Institute|Laundry|Repair Association|Publishing House|Orchestra|Council|Workshop Collective|Insurance Office"
)
_SITES: Final = _words(
    "boathouse|library|museum|swimming pool|greenhouse|car park|reading room|workshop|canteen|gym|warehouse|archive|"
    "chapel|bakery|tower|observatory|playground|laundry|ticket office|garden|cafe|sauna|camp site|market hall|"
    "theatre|depot|farm shop|mill|lighthouse|clinic|post office|ice rink|gallery|stable|smithy|visitor centre"
)
_EVENTS: Final = _words(
    "fair|regatta|concert|festival|auction|parade|exhibition|race|supper|market|meeting|ball|competition|conference|"
    "walk|tournament|lecture|picnic|inspection|ceremony|reunion|bazaar|contest|party|clean-up"
)
_COURSES: Final = _words("course|workshop|class|seminar|training|evening class|summer school|lesson series")
_TEAMS: Final = _words("team|department|office|unit|committee|desk|crew|working group|section|branch")
_DOCS: Final = _words("permit|form|licence|pass|certificate|application|card|contract|voucher|declaration")
_SHIPS: Final = _words("ferry|trawler|barge|schooner|tug|steamer|cutter|yacht|sloop|freighter")
_DISHES: Final = _words("soup|stew|pie|salad|pudding|dumpling|cake|pancake|curry|broth|tart|omelette|casserole")
_PLANTS: Final = _words("fern|orchid|lily|moss|willow|thistle|clover|rose|palm|vine|reed|heather|poppy|sedge")
_BEASTS: Final = _words("heron|toad|beetle|fox|vole|finch|newt|bat|owl|lizard|moth|shrew|goose|otter|hare")
_LINES: Final = _words("bus line|tram line|ferry route|hiking path|railway|cycle path|canal|cable car|mountain road")
_MACHINES: Final = _words(
    "pump|lathe|printer|oven|mixer|tractor|generator|drill|press|loom|boiler|crane|freezer|scanner|lawnmower|kiln|"
    "compressor|saw|conveyor|forklift|kettle|heater|projector|sewing machine|washing machine|lift|grinder|van"
)
_PEOPLE_MODS: Final = _words(
    "night|kitchen|junior|senior|seasonal|new|part-time|harbour|garden|warehouse|museum|weekend|temporary|foreign|"
    "office|laboratory|field|library|railway|evening"
)
_PEOPLE: Final = _words(
    "guards|cooks|drivers|cleaners|porters|guides|clerks|apprentices|volunteers|technicians|inspectors|nurses|"
    "gardeners|trainees|cashiers|interns"
)
_DIRECTIONS: Final = _words("north|south|east|west|upper|lower|old|new|main|small|inner|outer|central")


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

# --------------------------------------------------------------------------
# Relations

_RELATIONS: Final = """
@ open site hours a=am b=pm
= {s} opens at {a} and closes at {b}.
= From {a} until {b} {s} is open to the public.
= The opening hours of {s} are {a} to {b}.
= At {a} the doors of {s} are unlocked, and at {b} they are locked again.
? When does {s} open?
? What time does {s} [start|begin] business?
? From what hour can people [get into|enter|visit] {s}?
? At what time are visitors first let into {s}?
? How early can I [come to|go into] {s}?
? Tell me when {s} starts its day.
?b When does {s} [close|shut]?
?b Until when is {s} open?
?b At what time does {s} finish for the day?
?b How late can I stay in {s}?
?b What is the closing time of {s}?
@ openday site hours c=day a=am
= On {c}s {s} opens at {a}.
= {s} opens its doors at {a} every {c}.
= Every {c}, {a} is the opening time of {s}.
= For {s}, the day starts at {a} on {c}s.
? When does {s} open on {c}s?
? What is the opening time of {s} on a {c}?
? At what hour does {s} start business on {c}s?
? How early can visitors enter {s} on {c}s?
? What time can I get into {s} on {c}?
? On {c}s, from when is {s} [accessible|available]?
@ closedday site,org closed a=day
= {s} is closed every {a}.
= On {a}s {s} stays shut.
= {a} is the weekly rest day of {s}.
? On which day is {s} closed?
? What day of the week does {s} not open?
? Which weekday is {s} shut?
? When does {s} have its weekly day off?
? On what day can nobody visit {s}?
? Name the day on which {s} takes a break.
@ entry site,event price c=visitor a=money
= Entry to {s} costs {a} for {c}.
= For {c}, the price of admission to {s} is {a}.
= {a} is what {c} pay to get into {s}.
= At {s}, {c} are charged {a} at the door.
? How much do {c} pay to get into {s}?
? What is the [entrance|entry|admission] [fee|charge] for {c} at {s}?
? What does a ticket to {s} cost for {c}?
? How expensive is a visit to {s} for {c}?
? At what price are {c} let into {s}?
? Tell me the cost of {s} for {c}.
@ price thing,machine,dish price a=money
= {s} costs {a}.
= The price of {s} is {a}.
= For {a} anyone can buy {s}.
= {a} is charged for {s}.
= In the catalogue {s} is listed at {a}.
? How much [is|does one pay for] {s}?
? What is the price of {s}?
? What do I have to pay for {s}?
? How much money does {s} cost?
? For what sum is {s} sold?
? At what price can I [purchase|buy|get] {s}?
? What does a customer spend on {s}?
@ priceold site,course,doc price b=money a=money y=recent
= Until {y} the fee for {s} was {b}; since then it has been {a}.
= In {y} the charge for {s} was changed from {b} to {a}.
= Before {y}, {s} cost {b}, but now it costs {a}.
= The fee for {s} is {a}, which replaced the earlier fee of {b} in {y}.
? What is the [current|present|new] [fee|price|charge] for {s}?
? How much does {s} cost now?
? What do people pay for {s} today?
? How expensive is {s} at present?
? Tell me the price of {s} that applies now.
?b What was the [old|former|previous|earlier] [fee|price] for {s}?
?b How much did {s} cost before {y}?
?b What did people pay for {s} in the past?
?b How much was charged for {s} until {y}?
@ valueold org,team,site staff b=count a=big y=recent
= Until {y} the yearly visitor limit of {s} was {b}; since {y} it is {a}.
= {s} changed its visitor limit from {b} to {a} in {y}.
= The old visitor limit of {s}, {b}, was replaced by {a} in {y}.
? What is the visitor limit of {s} now?
? How many visitors may {s} receive today?
? What maximum number of guests currently applies to {s}?
? Is there a limit on visitors at {s} today?
?b How many visitors did {s} allow before {y}?
?b What was the earlier visitor limit of {s}?
?b What ceiling on guests did {s} have in the past?
?y In which year did the visitor limit of {s} change?
?y When was the limit for {s} altered?
@ discount site,event,course,machine discount c=visitor a=pct
= {c} get a discount of {a} on {s}.
= For {s}, {c} pay {a} less than the full price.
= A reduction of {a} on {s} is given to {c}.
= {a} is taken off the price of {s} for {c}.
? What discount do {c} get on {s}?
? By how much is the price of {s} reduced for {c}?
? How much cheaper is {s} for {c}?
? What percentage off do {c} receive for {s}?
? How big is the [rebate|reduction|price cut] on {s} for {c}?
? How much do {c} save on {s}?
@ fine offence fine a=money
= The fine for {s} is {a}.
= Anyone caught {s} pays {a}.
= {a} must be paid for {s}.
= Whoever is seen {s} is charged {a} on the spot.
? How much is the fine for {s}?
? What is the penalty for {s}?
? What does {s} cost a person who is caught?
? How much must offenders pay for {s}?
? What sum is demanded for {s}?
? How high is the punishment for {s}?
@ finewho offence collects a=role
= {a} collects the fine for {s}.
= Cases of {s} are reported to {a}.
= For {s}, {a} is the one who decides.
? Who [deals with|handles] {s}?
? To whom does one turn about {s}?
? Who is responsible in cases of {s}?
? Which person should be told about {s}?
? By whom is {s} dealt with?
? Whose job is it to act against {s}?
@ bansince offence year a=recent
= Since {a}, {s} has been forbidden.
= The ban on {s} dates from {a}.
= A rule of {a} forbids {s}.
? Since when is {s} [banned|not allowed|prohibited]?
? In which year was {s} forbidden?
? What year brought the ban on {s}?
? When did the ban on {s} begin?
? From which year on has {s} been against the rules?
? What year was {s} outlawed?
@ capacity site,event,ship capacity a=count
= {s} holds {a} people.
= No more than {a} people fit into {s}.
= The capacity of {s} is {a} persons.
= There are places for {a} people in {s}.
? How many people fit into {s}?
? What is the [capacity|maximum number of people] of {s}?
? For how many persons is there space in {s}?
? Is there a limit on the number of people in {s}?
? How many visitors can {s} take?
? What number of people can be in {s} at once?
@ street site,org where a=street
= {s} is at {a}.
= You will find {s} at {a}.
= {a} is the address of {s}.
= The building of {s} stands at {a}.
? Where is {s}?
? What is the address of {s}?
? At which street is {s} located?
? Where can I find {s}?
? On which street does {s} stand?
? Where must I go to reach {s}?
@ built site,ship,route year a=year
= {s} was built in {a}.
= In {a} workers finished {s}.
= The construction of {s} ended in {a}.
= {a} is the year in which {s} was completed.
? When was {s} built?
? In [which|what] year was {s} [constructed|completed|finished]?
? What is the year of construction of {s}?
? From what year does {s} date?
? Since when has {s} existed?
? What year saw the completion of {s}?
@ designed site,ship,machine designer a=person
= {s} was designed by {a}.
= {a} drew the plans for {s}.
= The design of {s} is the work of {a}.
= It was {a} who designed {s}.
? Who designed {s}?
? By whom was {s} [planned|drawn up|designed]?
? Who was the [architect|designer|creator] of {s}?
? Whose design is {s}?
? Name the person who made the plans for {s}.
? Who came up with {s}?
@ heads org,team,project,event leads a=person
= {s} is led by {a}.
= {a} heads {s}.
= The head of {s} is {a}.
= At {s}, {a} is in charge.
= Since last spring {a} has been running {s}.
? Who [leads|heads|runs|manages|directs] {s}?
? Who is in charge of {s}?
? Who is the boss of {s}?
? By whom is {s} led?
? What is the name of the [head|leader|manager|director] of {s}?
? Which person is at the top of {s}?
? Tell me who is responsible for {s}.
?s What does {a} [lead|run|head]?
?s What is {a} in charge of?
@ caretaker site,org repairs a=person
= {a} looks after {s}.
= The caretaker of {s} is {a}.
= {s} is cleaned and kept in order by {a}.
? Who [takes care of|looks after|maintains] {s}?
? By whom is {s} kept in order?
? Who is the caretaker of {s}?
? Whose job is it to look after {s}?
? Name the person who keeps {s} tidy.
? Whom do I ask about the upkeep of {s}?
@ approves team,project,doc,course approves a=role
= {s} must be approved by {a}.
= {a} approves {s}.
= Without the consent of {a}, {s} is not valid.
= The decision on {s} is made by {a}.
? Who [approves|authorises|decides on] {s}?
? By whom is {s} approved?
? Whose permission is needed for {s}?
? Who has to agree to {s}?
? Which person gives the green light for {s}?
? Whose consent does {s} require?
@ repairs machine,thing,ship,site repairs a=person
= {a} repairs {s}.
= When {s} breaks, {a} mends it.
= Repairs to {s} are done by {a}.
= The one who fixes {s} is {a}.
? Who [repairs|fixes|mends] {s}?
? By whom is {s} repaired?
? Whom should I call when {s} is broken?
? Who puts {s} right when it fails?
? Name the person who services {s}.
? Who is the mechanic for {s}?
@ founded org,village founder a=person b=year
= {s} was founded by {a} in {b}.
= In {b}, {a} founded {s}.
= {a} set up {s} in {b}.
= The founder of {s} is {a}, who started it in {b}.
? Who [founded|started|set up|established] {s}?
? By whom was {s} founded?
? Who was the founder of {s}?
? To whom does {s} owe its beginning?
? Name the person who created {s}.
?b When was {s} [founded|established|set up|started]?
?b In which year did {s} begin?
?b Since what year has {s} existed?
?b What is the founding year of {s}?
@ chair org,event leads a=person
= {a} chairs {s}.
= The chair of {s} is {a}.
= At {s}, {a} takes the chair.
? Who chairs {s}?
? Who is the [chair|chairperson|president] of {s}?
? By whom is {s} chaired?
? Who leads the discussion at {s}?
? Which person presides over {s}?
? Name the chair of {s}.
@ treasurer org,team,project money a=person
= {a} keeps the accounts of {s}.
= The treasurer of {s} is {a}.
= Bills for {s} are paid by {a}.
? Who keeps the accounts of {s}?
? Who is the [treasurer|bookkeeper] of {s}?
? Who looks after the money of {s}?
? Who handles the finances of {s}?
? To whom do I send a bill for {s}?
? By whom are invoices for {s} paid?
@ staffcount org,site,team staff a=count
= {s} employs {a} people.
= There are {a} employees at {s}.
= The staff of {s} consists of {a} people.
= In total {a} people work for {s}.
? How many [people|workers|employees] work for {s}?
? How [large|big] is the staff of {s}?
? How many staff does {s} have?
? What is the number of workers at {s}?
? How many persons are employed by {s}?
? What is the headcount of {s}?
@ memberfee org price a=money
= Membership of {s} costs {a} a year.
= Members pay {a} every year to {s}.
= The annual subscription of {s} is {a}.
= {a} a year is the membership fee of {s}.
? How much is the yearly membership fee of {s}?
? What does it cost to [join|be a member of] {s}?
? How much do members of {s} pay each year?
? What is the annual charge at {s}?
? What sum does {s} ask from its members?
? How expensive is membership of {s}?
@ supplier org,site,machine,event supplier c=nouns a=firm
= {a} supplies {s} with {c}.
= The {c} for {s} come from {a}.
= {s} buys its {c} from {a}.
= For {s}, all {c} are delivered by {a}.
? Who supplies {s} with {c}?
? Which [firm|company] delivers the {c} to {s}?
? From whom does {s} [purchase|get|order] {c}?
? Where do the {c} for {s} come from?
? Who is the supplier of {c} to {s}?
? By whom are {c} provided to {s}?
@ meetday org,team meeting a=day b=time
= {s} meets every {a} at {b}.
= Every {a} at {b}, {s} holds its meeting.
= The meetings of {s} take place on {a}s and begin at {b}.
= {a} at {b} is the fixed meeting time of {s}.
? On which day does {s} meet?
? What day are the meetings of {s}?
? On what weekday does {s} come together?
? Which day of the week is the [session|gathering] of {s}?
?b At what time does {s} meet?
?b When do the meetings of {s} [start|begin|commence]?
?b What hour is the [session|gathering] of {s}?
?b At what o'clock does {s} come together?
@ vote motion vote a=count b=small
= {s} was passed by {a} votes to {b}.
= With {a} in favour and {b} against, {s} was adopted.
= In the vote on {s}, {a} members said yes and {b} said no.
? How many votes were in favour of {s}?
? How many people supported {s}?
? How many voted for {s}?
? What number of members said yes to {s}?
?b How many votes were against {s}?
?b How many people opposed {s}?
?b How many members rejected {s}?
?b What was the number of no votes on {s}?
@ proposed motion proposer a=person
= {a} proposed {s}.
= {s} was put forward by {a}.
= The proposer of {s} was {a}.
? Who proposed {s}?
? By whom was {s} put forward?
? Who brought in {s}?
? Whose idea was {s}?
? Name the person who suggested {s}.
? Who made the proposal called {s}?
@ effect motion,doc effective a=date
= {s} takes effect on {a}.
= On {a}, {s} comes into force.
= The starting date of {s} is {a}.
? When does {s} [take effect|come into force]?
? From what date does {s} apply?
? On which day does {s} become valid?
? When will {s} start to count?
? What is the date from which {s} holds?
? As of when is {s} in force?
@ replaced org,machine,doc,ship replaces a=thing
= {s} replaced {a}.
= Where {a} used to be, there is now {s}.
= {a} was replaced by {s}.
= {s} took the place of {a}.
? What did {s} replace?
? What was there before {s}?
? Instead of what was {s} introduced?
? What was [removed|given up] in favour of {s}?
? Which thing did {s} take over from?
? What is the predecessor of {s}?
@ emblem org,ship,village emblem a=animal
= The emblem of {s} shows a {a}.
= A {a} is painted on the flag of {s}.
= {s} uses a {a} as its sign.
? What animal is on the [emblem|flag|sign] of {s}?
? Which creature is the [symbol|badge] of {s}?
? What does the emblem of {s} show?
? Which animal stands for {s}?
? What beast does {s} use as its sign?
? Name the creature in the badge of {s}.
@ weight thing,machine,dish,beast weight a=weight
= {s} weighs {a}.
= The weight of {s} is {a}.
= With a weight of {a}, {s} needs a strong shelf.
= On the scales {s} reaches {a}.
? What is the weight of {s}?
? What does {s} weigh?
? How heavy is {s}?
? What do the scales show for {s}?
? Tell me the weight of {s}.
? How much weight does {s} have?
@ length thing,ship,machine,beast length a=length
= {s} is {a} long.
= The length of {s} is {a}.
= From end to end {s} measures {a}.
= {a} is the full length of {s}.
? How long is {s}?
? What is the length of {s}?
? What does {s} measure from end to end?
? What size is {s} in length?
? How far is it from one end of {s} to the other?
? Tell me how long {s} is.
@ height plant,thing,site,machine height a=length
= {s} is {a} high.
= {s} reaches a height of {a}.
= The height of {s} is {a}.
= With {a}, {s} is taller than most.
? How [high|tall] is {s}?
? What is the height of {s}?
? How tall does {s} get?
? What height does {s} reach?
? How far up does {s} go?
? Tell me the height of {s}.
@ colour thing,machine,ship,plant,beast,doc colour a=colour
= {s} is {a}.
= The colour of {s} is {a}.
= {a} is the colour chosen for {s}.
= {s} can be recognised by its {a} colour.
? What colour is {s}?
? Which colour does {s} have?
? What is the colour of {s}?
? In what colour does {s} come?
? How is {s} coloured?
? Tell me the shade of {s}.
@ material thing,machine,ship,site material a=material
= {s} is made of {a}.
= {a} was used to make {s}.
= The material of {s} is {a}.
= Makers chose {a} as the material for {s}.
? What is {s} made of?
? Which material was used for {s}?
? Out of what is {s} [made|built]?
? What substance does {s} consist of?
? From what was {s} made?
? What stuff is {s} built from?
@ floor site,ship material2 a=material
= The floor of {s} is covered with {a}.
= {a} covers the floor of {s}.
= In {s} the floor is {a}.
? What covers the floor of {s}?
? What is the floor of {s} made of?
? Which material was laid on the ground in {s}?
? What flooring does {s} have?
? On what does one walk in {s}?
? What lies underfoot in {s}?
@ kept thing,doc,machine kept a=spot
= {s} is kept in {a}.
= In {a} you will find {s}.
= The place for {s} is {a}.
= After use {s} goes back to {a}.
? Where is {s} kept?
? Where can I find {s}?
? In which place is {s} [stored|stowed|held]?
? Where does {s} belong?
? Where do I put {s} back?
? What is the storage place of {s}?
?s What is kept in {a}?
@ keyplace site,machine,ship key a=spot
= The spare key to {s} is in {a}.
= In {a} lies the spare key to {s}.
= Staff keep the spare key to {s} in {a}.
? Where is the spare key to {s}?
? Where can I find the extra key for {s}?
? In what place do staff keep a second key to {s}?
? Where do I look for the key of {s}?
? Where is the reserve key to {s} [held|hidden|stored]?
? Which place holds the spare key to {s}?
@ warranty machine warranty a=dayslong
= The warranty on {s} lasts {a}.
= {s} comes with a guarantee of {a}.
= For {a} the maker repairs {s} free of charge.
? How long is the [warranty|guarantee] on {s}?
? For how long is {s} repaired free of charge?
? What is the guarantee period of {s}?
? How long is {s} covered after purchase?
? Until when after buying {s} does the maker pay for repairs?
? What warranty does {s} have?
@ service machine,ship,site interval a=dayslong
= {s} is serviced every {a}.
= Every {a} an inspector checks {s}.
= The time between two inspections of {s} is {a}.
? How often is {s} [serviced|checked|inspected]?
? What is the inspection interval of {s}?
? After how long must {s} be checked again?
? How much time passes between two checks of {s}?
? At what interval is {s} examined?
? How frequently does {s} get a check?
@ load machine,ship,site,thing load a=weight
= {s} can carry at most {a}.
= The maximum load of {s} is {a}.
= No more than {a} may be placed on {s}.
? What is the maximum load of {s}?
? How much can {s} carry?
? Is there a weight limit for {s}?
? What is the heaviest burden allowed on {s}?
? How much weight may be put on {s}?
? Up to what load is {s} safe?
@ speed machine,ship,beast,route speed a=speed
= The top speed of {s} is {a}.
= {s} reaches {a}.
= Nothing faster than {a} has been measured on {s}.
= At full power {s} does {a}.
? How fast is {s}?
? What is the [top|maximum|highest] speed of {s}?
? At what speed can {s} go?
? How quickly does {s} move at most?
? What speed does {s} reach?
? Is there a speed limit for {s}?
@ temp site,machine temperature a=temp
= {s} is kept at {a}.
= The temperature in {s} must be {a}.
= Inside {s} the thermometer always shows {a}.
? What is the temperature in {s}?
? How [warm|hot|cold] is it in {s}?
? At what temperature is {s} kept?
? What does the thermometer in {s} show?
? To how many degrees is {s} set?
? What heat level applies to {s}?
@ madein machine,thing,ship origin a=place
= {s} was made in {a}.
= {s} comes from {a}.
= A workshop in {a} produced {s}.
? Where was {s} [made|produced|manufactured]?
? Where does {s} come from?
? In which town was {s} built?
? What is the place of origin of {s}?
? From which town is {s}?
? Which place produced {s}?
@ owner thing,machine,ship,site owner a=person
= {s} belongs to {a}.
= {a} owns {s}.
= The owner of {s} is {a}.
? Who [owns|is the owner of] {s}?
? Whose is {s}?
? To whom does {s} belong?
? Who has {s} as their property?
? In whose hands is {s}?
? Name the owner of {s}.
?s What belongs to {a}?
@ cause machine,ship,route,site cause a=cause
= {s} stopped working because of {a}.
= {a} caused the breakdown of {s}.
= The failure of {s} was due to {a}.
? Why did {s} stop working?
? What caused the [breakdown|failure] of {s}?
? What was the reason for the failure of {s}?
? What put {s} out of action?
? Through what did {s} break down?
? What was to blame for the trouble with {s}?
@ closedwhy event,course,project reason a=reason
= {s} was cancelled because {a}.
= Because {a}, {s} had to be stopped.
= The reason for calling off {s} was that {a}.
= Since {a}, {s} did not go ahead.
? Why was {s} cancelled?
? For what reason was {s} [called off|stopped]?
? What was the reason that {s} did not go ahead?
? Why did {s} not take place?
? What led to the end of {s}?
? How come {s} was dropped?
@ usedfor machine,thing purpose a=purpose
= {s} is used for {a}.
= For {a} people use {s}.
= The purpose of {s} is {a}.
? What is {s} used for?
? What is the purpose of {s}?
? For what do people use {s}?
? What does {s} serve for?
? What is the use of {s}?
? What work is {s} meant for?
@ forbid site,event,course forbidden a=forbidden
= At {s}, {a} is forbidden.
= {a} is not allowed at {s}.
= The rules of {s} prohibit {a}.
= Nobody may be caught {a} at {s}.
? What is [forbidden|banned|prohibited] at {s}?
? What is not [allowed|permitted] at {s}?
? What may people not do at {s}?
? Which activity is against the rules of {s}?
? What does {s} ban?
? What must one avoid at {s}?
@ wear site,course,event wear a=wear
= Everyone at {s} must wear {a}.
= At {s}, {a} has to be worn.
= {a} is compulsory clothing at {s}.
= Without {a} nobody is let in at {s}.
? What must be worn at {s}?
? What do people have to put on at {s}?
? Which clothing is [required|compulsory|obligatory] at {s}?
? What is the dress rule for {s}?
? What should I wear at {s}?
? What does one have to have on at {s}?
@ bring event,course,site bring a=bring
= Visitors to {s} must bring {a}.
= For {s}, please bring {a}.
= {a} must be brought along to {s}.
= People who come to {s} need {a}.
? What must [be brought|people bring|I bring] to {s}?
? What do participants need for {s}?
? What should I [take along|carry with me] to {s}?
? Which thing is required for {s}?
? With what should one come to {s}?
? What is it necessary to have for {s}?
@ date event,course date a=date
= {s} takes place on {a}.
= On {a} people gather for {s}.
= The date of {s} is {a}.
= {a} has been fixed for {s}.
? When is {s}?
? On [which|what] date does {s} take place?
? What is the date of {s}?
? When will {s} be held?
? On what day does {s} happen?
? For when has {s} been [planned|fixed|scheduled]?
@ moved event,course date b=date a=date
= {s} was moved from {b} to {a}.
= {s} will now be held on {a} instead of {b}.
= The old date of {s}, {b}, no longer holds; the new date is {a}.
? When will {s} take place now?
? What is the new date of {s}?
? To what date was {s} [moved|shifted|postponed]?
? On which day is {s} after the change?
?b What was the [old|original|earlier|first] date of {s}?
?b For when was {s} planned at first?
?b From what date was {s} moved away?
?b When should {s} have been held originally?
@ starts event,course date a=time
= {s} starts at {a}.
= At {a} the bell rings for the start of {s}.
= {a} is the starting time of {s}.
? At what time does {s} [start|begin|commence]?
? When does {s} get under way?
? What hour does {s} begin?
? By what time should I be at {s}?
? What is the starting time of {s}?
? From what time does {s} run?
@ place event,course place a=room
= {s} is held in {a}.
= In {a} people meet for {s}.
= {a} is the place for {s}.
? Where does {s} take place?
? Where is {s} held?
? In which room is {s}?
? To which room do I go for {s}?
? Where do people meet for {s}?
? What is the [venue|location] of {s}?
@ attended event,course attended a=count
= {a} people attended {s}.
= {s} was attended by {a} people.
= In the end {a} people came to {s}.
? How many people [attended|came to|were at|showed up for] {s}?
? What was the attendance at {s}?
? How many guests did {s} have?
? By how many people was {s} attended?
? How large was the crowd at {s}?
? What was the number of participants in {s}?
@ signup event,course,doc,project deadline a=date
= The deadline for {s} is {a}.
= Applications for {s} must arrive by {a}.
= After {a} nobody can apply for {s}.
= {a} is the last day to sign up for {s}.
? What is the deadline for {s}?
? Until when can one [apply|sign up|register] for {s}?
? By what date must applications for {s} arrive?
? What is the last day to [register|enrol] for {s}?
? How long can I still apply for {s}?
? When does registration for {s} end?
@ winner event winner a=person
= {a} won first prize at {s}.
= The winner of {s} was {a}.
= First place at {s} went to {a}.
? Who won {s}?
? Who was the [winner|champion] of {s}?
? Who took first place at {s}?
? By whom was {s} won?
? To whom did the top award at {s} go?
? Name the person who came first in {s}.
@ prize event prize a=item
= The prize at {s} was {a}.
= Winners of {s} receive {a}.
= {a} is given to whoever wins {s}.
? What is the prize at {s}?
? What do winners of {s} get?
? What does one receive for winning {s}?
? Which reward is given at {s}?
? What can be won at {s}?
? What is the trophy of {s}?
@ lasts event,course,route,project duration a=duration
= {s} lasts {a}.
= It takes {a} to complete {s}.
= The duration of {s} is {a}.
= From start to finish {s} takes {a}.
? How long does {s} [last|take]?
? What is the duration of {s}?
? How much time does {s} take?
? For how long does {s} go on?
? How much time must I plan for {s}?
? How long is {s} in time?
@ teaches course teacher a=person
= {a} teaches {s}.
= {s} is taught by {a}.
= The teacher of {s} is {a}.
= Lessons in {s} are given by {a}.
? Who teaches {s}?
? Who is the [teacher|instructor|tutor|trainer] of {s}?
? By whom is {s} taught?
? Who gives {s}?
? From whom do people learn in {s}?
? Whose lessons are {s}?
?s What does {a} teach?
@ passmark course pass a=grade
= To pass {s} one needs {a}.
= {a} are needed to pass {s}.
= Nobody passes {s} with less than {a}.
? How many points are needed to pass {s}?
? What is the pass mark of {s}?
? What score is required in {s}?
? What result must one reach in {s}?
? With how many points does one succeed in {s}?
? What is the lowest passing score in {s}?
@ minage site,event,course,ship age a=minage
= Nobody under {a} may enter {s}.
= {s} is open to people aged {a} or over.
= The minimum age for {s} is {a}.
? What is the minimum age for {s}?
? How old must one be for {s}?
? From what age are people admitted to {s}?
? Is there an age limit for {s}?
? How old do I have to be to join {s}?
? At what age may one go to {s}?
@ captain ship captain a=person
= The captain of {s} is {a}.
= {a} commands {s}.
= {s} sails under {a}.
? Who is the [captain|skipper|master] of {s}?
? Who commands {s}?
? Under whom does {s} sail?
? Who steers the vessel called {s}?
? Who gives the orders on {s}?
? Which person is in command of {s}?
?s Which [boat|vessel] does {a} command?
@ crew ship crew a=small
= {s} has a crew of {a}.
= A crew of {a} sails {s}.
= {a} sailors work on {s}.
? How many sailors work on {s}?
? How large is the crew of {s}?
? What is the crew size of {s}?
? How many hands are on board {s}?
? How many people sail {s}?
? With how many crew members does {s} put to sea?
@ port ship port a=place
= The home port of {s} is {a}.
= {s} is based in {a}.
= {a} is the harbour to which {s} returns.
? What is the home port of {s}?
? In which harbour is {s} based?
? Where is {s} at home?
? To which port does {s} belong?
? Where is {s} registered?
? What town is the base of {s}?
@ cargo ship cargo a=nouns
= {s} carries {a}.
= {a} are the usual cargo of {s}.
= The freight on {s} consists of {a}.
? What does {s} carry?
? What is the cargo of {s}?
? What goods are [transported|shipped|moved] by {s}?
? Which freight does {s} take?
? What is loaded on {s}?
? With what is {s} filled?
@ teamfloor team,org where a=floor
= {s} works on {a}.
= On {a} you will find {s}.
= The rooms of {s} are on {a}.
? On which floor is {s}?
? Where does {s} work?
? On what level are the rooms of {s}?
? To which floor do I go to see {s}?
? Where in the building is {s}?
? Which storey houses {s}?
@ ext team,person,site,project ext a=ext
= The extension of {s} is {a}.
= {s} can be reached on extension {a}.
= Dial {a} to speak to {s}.
= For questions to {s}, call {a}.
? What is the [extension|phone number|telephone number] of {s}?
? On what number can I reach {s}?
? Which number do I dial for {s}?
? How can I phone {s}?
? What number should I call to talk to {s}?
? Under which extension is {s} reached?
@ budget team,org,project,event budget a=budget
= {s} has a budget of {a}.
= The budget of {s} is {a}.
= {a} has been set aside for {s}.
= Altogether, {s} may spend {a}.
? What is the budget of {s}?
? How much money does {s} have?
? How much may {s} spend?
? What sum has been [set aside|reserved|planned] for {s}?
? How large are the funds of {s}?
? Is there a spending limit for {s}?
@ task team,person task a=task
= {s} is responsible for {a}.
= The main task of {s} is to handle {a}.
= For {a}, people turn to {s}.
= {s} deals with {a}.
? What is {s} responsible for?
? What does {s} [handle|deal with|take care of]?
? What is the task of {s}?
? What is the job of {s}?
? For what matters do people turn to {s}?
? Which duty does {s} have?
?s Who is responsible for {a}?
?s Who should be asked about {a}?
@ quota team,site quota a=count
= {s} must deliver {a} crates a week.
= The weekly quota of {s} is {a} crates.
= Each week {a} crates are expected from {s}.
? What is the weekly quota of {s}?
? How many crates must {s} deliver a week?
? How many crates are expected from {s} each week?
? What output does {s} owe every week?
? What number of crates does {s} have to reach?
? What is the weekly target of {s}?
@ share project,org,event funder a=firm b=pct
= {a} pays {b} of the costs of {s}.
= Of the costs of {s}, {b} are covered by {a}.
= {s} is funded by {a}, which covers {b} of the costs.
? Who [funds|finances|sponsors] {s}?
? Which company pays for part of {s}?
? By whom is {s} supported with money?
? Who covers part of the costs of {s}?
?b What share of the costs of {s} is [covered|paid] by the sponsor?
?b What percentage of {s} is funded?
?b How much of the cost of {s} does the backer bear?
@ signs doc sign a=role
= {s} must be signed by {a}.
= {a} signs {s}.
= The signature of {a} is needed on {s}.
? Who [signs|must sign] {s}?
? Whose signature is needed on {s}?
? By whom is {s} signed?
? Whose name has to be on {s}?
? Who puts their signature under {s}?
? To whom do I take {s} for a signature?
@ valid doc valid a=dayslong
= {s} is valid for {a}.
= After {a}, {s} expires.
= {s} runs out after {a}.
? How long is {s} [valid|good]?
? For how long can {s} be used?
? When does {s} expire after being issued?
? After what time does {s} run out?
? What is the validity of {s}?
? How much time may pass before {s} lapses?
@ obtain doc,course kept a=spot
= Copies of {s} lie in {a}.
= The papers for {s} are handed out from {a}.
= You can pick up the papers for {s} from {a}.
? Where can I [get|pick up|obtain] the papers for {s}?
? Where do copies of {s} lie?
? From where are the papers for {s} handed out?
? Where should one go to collect {s}?
? In what place is {s} on offer?
? Where are the sheets for {s} available?
@ attach doc attach a=bring
= {s} must be handed in together with {a}.
= With {s}, applicants send {a}.
= {a} must be attached to {s}.
? What must be attached to {s}?
? What has to be [handed in|sent|submitted] with {s}?
? What do applicants need to add to {s}?
? Which enclosure does {s} require?
? What goes together with {s}?
? What else must be provided with {s}?
@ process doc process a=dayslong
= Processing {s} takes {a}.
= Applicants wait {a} for {s}.
= It takes {a} until {s} is issued.
? How long does it take to process {s}?
? How long do people wait for {s}?
? What is the waiting time for {s}?
? After how long is {s} issued?
? How quickly is {s} dealt with?
? How much time does the office need for {s}?
@ ingredient dish ingredient a=nouns
= The main ingredient of {s} is {a}.
= {s} is made mainly from {a}.
= {a} are the most important part of {s}.
? What is the main ingredient of {s}?
? What is {s} made from?
? What goes into {s} more than anything else?
? From what do cooks make {s}?
? What is the most important part of {s}?
? What does {s} mostly consist of?
@ cooked dish cooking a=shorttime
= {s} needs {a} to heat up.
= After {a} of heating, {s} is ready.
= It takes {a} until {s} is hot.
? How long must {s} be heated?
? How much time does {s} need to get hot?
? When is {s} ready after being switched on or put on the stove?
? For how many minutes or hours does {s} heat up?
? What is the heating time of {s}?
? How long until {s} is hot?
@ cook dish,event chef a=person
= {a} does the cooking for {s}.
= The cook behind {s} is {a}.
= {s} is prepared by {a}.
? Who is the [cook|chef] behind {s}?
? By whom is {s} prepared?
? Who gets {s} ready?
? Who stands in the kitchen for {s}?
? Which cook is linked with {s}?
? Name the person who prepares {s}.
@ servedwith dish served a=list
= {s} is served with {a} on the table.
= Next to {s} the waiter puts {a}.
= With {s} every guest is handed {a}.
? What is served with {s}?
? What does the guest get with {s}?
? What is put next to {s}?
? What comes along with {s}?
? What accompanies {s}?
? What does one find beside {s}?
@ grows plant,beast habitat a=place
= {s} is found only near {a}.
= Near {a} one can see {s}.
= The home of {s} is the valley of {a}.
? Where is {s} found?
? Where can one see {s}?
? Where does {s} live or grow?
? Near which place does {s} occur?
? What is the home of {s}?
? In what area should I look for {s}?
@ lifespan plant,beast,machine life a=years
= {s} lives for about {a}.
= The lifespan of {s} is {a}.
= On average {s} lasts {a}.
? How long does {s} [live|last]?
? What is the lifespan of {s}?
? What age does {s} reach on average?
? For how many years does {s} go on?
? After how long does {s} come to its end?
? How old does {s} get?
@ discovered plant,beast discoverer a=person b=year
= {s} was first described by {a} in {b}.
= In {b}, {a} discovered {s}.
= {a} was the first to describe {s}, in {b}.
? Who [discovered|found|first described] {s}?
? By whom was {s} discovered?
? Who was the discoverer of {s}?
? Whose discovery was {s}?
?b When was {s} [discovered|first described|found]?
?b In which year did people learn of {s}?
?b What year was {s} first recorded?
@ season plant,beast month a=month
= {s} is best seen in {a}.
= The season of {s} is {a}.
= Every {a} brings many visitors to {s}.
? In which month is {s} best seen?
? What is the best month for {s}?
? When in the year should one go to see {s}?
? During what month is the season of {s}?
? Which time of year suits {s}?
? Name the month of {s}.
@ eats beast food a=nouns
= {s} feeds on {a}.
= {a} are the only food of {s}.
= The diet of {s} consists of {a}.
? What does {s} eat?
? What is the food of {s}?
? On what does {s} feed?
? What does {s} live on?
? What is the diet of {s}?
? What should one give {s} to eat?
@ page person age a=age
= {s} is {a} years old.
= At the age of {a}, {s} is still at work.
= The age of {s} is {a}.
? How old is {s}?
? What is the age of {s}?
? How many years old is {s}?
? What age has {s} reached?
? Tell me the age of {s}.
? How many years has {s} lived?
@ job person task a=job
= {s} works as a {a}.
= By trade {s} is a {a}.
= The {a} of the house is {s}.
= {s} earns a living as a {a}.
? What is the [job|profession|occupation|trade] of {s}?
? What does {s} do for a living?
? What is {s} by trade?
? As what does {s} work?
? How does {s} earn money?
? What kind of work does {s} do?
?s Who works as a {a}?
?s Who is the {a}?
@ birth person birthplace a=place
= {s} was born in {a}.
= {s} grew up in {a}.
= The home town of {s} is {a}.
? Where [was {s} born|does {s} come from|did {s} grow up]?
? What is the home town of {s}?
? In which place did {s} spend the first years?
? From where is {s}?
? Which town does {s} come from?
? What is the place of origin of {s}?
@ joined person year a=recent
= {s} has worked here since {a}.
= In {a}, {s} was hired.
= {s} joined the staff in {a}.
? Since when has {s} worked here?
? When was {s} [hired|employed|taken on]?
? In which year did {s} join the staff?
? Since what year has {s} been on the staff?
? When did {s} [start|begin] work?
? What year did {s} become an employee?
@ desk person,team where a=rooms
= {s} sits in {a}.
= In {a} you will find {s}.
= The workplace of {s} is {a}.
? Where does {s} sit?
? In which room is {s}?
? Where can I find {s}?
? What is the workplace of {s}?
? Where do I go to speak to {s}?
? Which office belongs to {s}?
@ likes person hobby a=nouns
= {s} collects {a}.
= In the evenings {s} paints {a}.
= The hobby of {s} is making {a}.
? What is the hobby of {s} about?
? What things interest {s} in the free time?
? To what does {s} give the free hours?
? Which objects fill the leisure time of {s}?
? What does {s} spend spare time on?
? What are the things {s} enjoys?
@ standin person standin a=person
= When {s} is away, {a} takes over.
= {a} stands in for {s}.
= The deputy of {s} is {a}.
? Who [takes over|stands in] for {s}?
? Who is the [deputy|substitute] of {s}?
? Who replaces {s} in case of absence?
? Who does the work when {s} is away?
? By whom is {s} represented?
? Whom should I ask if {s} is not there?
@ lent person lent a=item
= {s} borrowed {a} last week.
= {a} was lent to {s}.
= On the loan list {s} stands next to {a}.
? What did {s} borrow?
? What was lent to {s}?
? Which object has {s} taken on loan?
? What does {s} have to give back?
? What stands on the loan list for {s}?
? What did {s} take home for a time?
@ pwear people wear a=wear
= {s} must wear {a}.
= {a} must be worn by {s}.
= The clothing rule for {s} is {a}.
? What must {s} wear?
? What do {s} have to put on?
? Which clothing is [required|compulsory] for {s}?
? What is the dress rule for {s}?
? What do {s} need to have on?
? What is worn by {s}?
@ pallow people allowed a=allowed
= {s} may {a}.
= The rules allow {s} to {a}.
= Only {s} have permission to {a}.
? What are {s} [allowed|permitted] to do?
? What may {s} do?
? What do {s} have permission to do?
? To do what are {s} free?
? What is allowed to {s}?
? Which thing can {s} do under the rules?
?s Who [may|is allowed to|is permitted to] {a}?
@ pforbid people forbidden a=allowed
= {s} must not {a}.
= It is forbidden for {s} to {a}.
= Under the new rule {s} may never {a}.
? What must {s} not do?
? What is [forbidden|banned|not allowed] for {s}?
? What are {s} prohibited from doing?
? What may {s} never do?
? Which thing is off limits for {s}?
? What does the rule forbid {s} to do?
@ pbreak people break a=shorttime
= {s} have a break of {a}.
= A break of {a} is given to {s}.
= After lunch {s} rest for {a}.
? How long is the break of {s}?
? How long may {s} rest?
? What pause do {s} get?
? How much time off do {s} have at midday?
? For how long can {s} stop work?
? What is the length of the rest for {s}?
@ pleave people leave a=small
= {s} get {a} extra days of leave.
= {a} extra days of leave are given to {s}.
= For {s} the rules provide {a} extra days of leave.
? How many extra days of leave do {s} get?
? How many additional holidays do {s} have?
? How much extra leave is given to {s}?
? How many more days off do {s} receive?
? What extra leave do {s} have?
? What number of added vacation days is given to {s}?
@ preport people reports a=person
= {s} report to {a}.
= {a} is the supervisor of {s}.
= The boss of {s} is {a}.
? To whom do {s} report?
? Who is the [boss|supervisor|head] of {s}?
? Who [manages|oversees] {s}?
? Who is in charge of {s}?
? Under whom do {s} work?
? Who gives orders to {s}?
@ pdeadline people deadline a=day b=time
= {s} must hand in their reports by {a} at {b}.
= By {a} at {b} all reports of {s} must be in.
= Reports from {s} are due every {a} at {b}.
? On which day are the reports of {s} due?
? By what day must {s} hand in their reports?
? What weekday is the deadline for {s}?
?b At what time are the reports of {s} due?
?b By what hour must {s} hand in their reports?
?b Until what time on the day can {s} submit?
@ ppay people pay a=money
= {s} earn {a} an hour.
= The hourly wage of {s} is {a}.
= {a} an hour is paid to {s}.
? How much do {s} earn?
? What is the [wage|pay|salary] of {s}?
? What are {s} paid per hour?
? How much money do {s} get for an hour?
? What does an hour of work bring {s}?
? At what rate are {s} paid?
@ fare route price a=money
= A ticket for {s} costs {a}.
= The fare on {s} is {a}.
= Passengers pay {a} to use {s}.
? How much is a ticket for {s}?
? What is the fare on {s}?
? What do passengers pay on {s}?
? What does a ride on {s} cost?
? How expensive is it to use {s}?
? What is the charge for {s}?
@ operator route,site operator a=firm
= {s} is operated by {a}.
= {a} operates {s}.
= The company behind {s} is {a}.
? Who [operates|runs] {s}?
? Which [company|firm] runs {s}?
? By whom is {s} operated?
? What is the name of the operator of {s}?
? Which business is behind {s}?
? Whose business is {s}?
@ firstlast route,ship hours a=am b=pm
= On {s} the first trip is at {a} and the last at {b}.
= {s} runs from {a} until {b}.
= The first trip with {s} leaves at {a}, the last one at {b}.
? When is the first trip with {s}?
? At what time does {s} begin running?
? How early does {s} leave?
? When does {s} start in the morning?
?b When is the last trip with {s}?
?b Until when does {s} run?
?b How late can one still travel with {s}?
?b At what time does {s} stop in the evening?
@ freq route interval a=shorttime
= {s} is served every {a}.
= Every {a} there is a departure on {s}.
= Departures on {s} are {a} apart.
? How often is there a departure on {s}?
? How often is {s} served?
? What is the time between two departures on {s}?
? At what interval do departures on {s} follow?
? How frequent is {s}?
? How long do I wait at most between departures on {s}?
@ stops route stops a=small
= {s} has {a} stops.
= There are {a} stops on {s}.
= Along {s} people can get off at {a} stops.
? How many stops does {s} have?
? How many stops are there on {s}?
? At how many points can people get off on {s}?
? What is the number of stops along {s}?
? How many halts are on {s}?
? How often does one stop along {s}?
@ define term meaning a=definition
= A {s} is {a}.
= The word {s} means {a}.
= In the workshop, {s} is the name for {a}.
= By {s} people mean {a}.
? What is a {s}?
? What does the word {s} mean?
? What do people call a {s}?
? What is meant by {s}?
? How is {s} defined?
? Explain the term {s}.
@ population village population a=big
= {s} has {a} inhabitants.
= {a} people live in {s}.
= The population of {s} is {a}.
? How many people live in {s}?
? What is the population of {s}?
? How many [inhabitants|residents] does {s} have?
? How large is {s} by number of people?
? What number of people call {s} their home?
? How many souls are counted in {s}?
@ mayor village leads a=person
= The mayor of {s} is {a}.
= {a} is the mayor of {s}.
= {s} elected {a} as mayor.
? Who is the mayor of {s}?
? Who [governs|runs|leads] {s}?
? Who is at the head of {s}?
? Which mayor does {s} have?
? Whom did {s} elect?
? Name the head of the town of {s}.
@ far village,site far a=distance
= {s} is {a} from the station.
= From the station to {s} it is {a}.
= The distance between the station and {s} is {a}.
= {a} lie between the station and {s}.
? How far is {s} from the station?
? What is the distance between the station and {s}?
? How far must I travel from the station to {s}?
? How long is the way from the station to {s}?
? How far away from the station is {s}?
? What distance separates {s} from the station?
@ known village,org known a=nouns
= {s} is known for its {a}.
= Many people know {s} for its {a}.
= {a} made {s} famous.
? What is {s} known for?
? What made {s} famous?
? For what is {s} [famous|well known]?
? What do people know {s} for?
? Which products brought fame to {s}?
? What is {s} renowned for?
@ river village river a=place
= {s} lies on the river {a}.
= The river {a} flows through {s}.
= Through {s} flows the river {a}.
? On which river does {s} lie?
? What river flows through {s}?
? What is the name of the stream at {s}?
? Which water crosses {s}?
? Name the river of {s}.
? By which river is {s}?
@ market village market a=day
= The market in {s} is held every {a}.
= Every {a} there is a market in {s}.
= {a} is market day in {s}.
? On which day is the market in {s}?
? When is market day in {s}?
? What day can I [buy|shop] at the market in {s}?
? Which weekday do traders come to {s}?
? On what day do stalls open in {s}?
? Name the market day of {s}.
@ area site,org,village area a=area
= {s} covers {a}.
= The area of {s} is {a}.
= {a} of land belong to {s}.
? How large is {s}?
? What is the area of {s}?
? How much [space|ground|land] does {s} cover?
? What size is {s}?
? How much surface does {s} take up?
? How big is {s}?
@ parking site parking a=shorttime
= Cars may stand in front of {s} for {a}.
= Parking at {s} is limited to {a}.
= After {a}, cars must leave the parking place of {s}.
? How long may one park at {s}?
? Is there a time limit for parking at {s}?
? For how long can a car stand at {s}?
? What is the longest parking time at {s}?
? After what time must cars leave {s}?
? How long may drivers leave a vehicle at {s}?
@ contains thing,dish,machine contains a=list
= The box with {s} contains {a} as well.
= Along with {s} the buyer gets {a}.
= {a} are packed together with {s}.
? What else is in the box with {s}?
? What does the buyer get along with {s}?
? What is packed together with {s}?
? What extras come with {s}?
? Which things are added to {s}?
? What is included with {s}?
@ progress project progress a=pct
= {s} is {a} finished.
= So far {a} of {s} is complete.
= By now {a} of the work on {s} has been done.
? How much of {s} is [finished|complete|done]?
? What percentage of {s} is complete?
? How far along is {s}?
? What share of the work on {s} has been done?
? How much has been achieved in {s} so far?
? What is the state of {s} in per cent?
@ aim project aim a=purpose
= The aim of {s} is {a}.
= {s} is about {a}.
= The people behind {s} work on {a}.
? What is the [aim|goal|purpose] of {s}?
? What is {s} about?
? What do the people behind {s} work on?
? What is {s} meant to achieve?
? What does {s} deal with?
? To what is {s} devoted?
@ notice org,doc,course notice a=dayslong
= {s} can be cancelled with notice of {a}.
= The notice period for {s} is {a}.
= Anyone leaving {s} must give notice {a} ahead.
? What is the notice period for {s}?
? How long before leaving {s} must one give notice?
? How far ahead must {s} be cancelled?
? How much notice is needed to get out of {s}?
? How early must I say that I am quitting {s}?
? What notice does {s} require?
@ rowart article row c=noun d=material a=length b=money f=spot
= {s}, {c}, {d}, {a}, {b}, {f}
? How long is {s}?
? What is the length of the {c} in the list?
? What does the {c} measure?
?b What does {s} cost?
?b How much is the {c}?
?b At what price is the {c} sold?
?b What do I pay for {s}?
?f Where is {s} kept?
?f In what place is the {c} stored?
?f Where can I find the {c}?
?d What is the {c} made of?
?d Which material is {s}?
?d Out of what is {s} made?
?c What is {s}?
?c Which thing has the number of {s}?
@ rowline linerow row c=place a=time b=platform d=shorttime
= {s}: {c}, {a}, {b}, {d}
? When does {s} leave?
? At what time does the service to {c} [depart|leave|start]?
? What is the departure time to {c}?
?b From which platform does {s} leave?
?b Where do I get on for {c}?
?b Which platform is used for the trip to {c}?
?d How long does the trip to {c} take?
?d What is the travel time of {s}?
?d How long is one on the way with {s}?
?c Where does {s} go?
?c What is the destination of {s}?
?c To which place does {s} travel?
@ rowroom roomrow row a=seats b=money d=floor
= {s} | {a} | {b} | {d}
? How many seats does the {s} have?
? How many people can sit in the {s}?
? What is the capacity of the {s}?
?b What does it cost to hire the {s}?
?b How much is the rent for the {s}?
?b What is the charge for the {s}?
?d On which floor is the {s}?
?d Where in the building is the {s}?
?d On what level can I find the {s}?
@ rowstaff staffrow row c=job a=rooms b=ext
= {s}, {c}, {a}, {b}
? Where does {s} sit?
? In which place can I find the {c}?
? Where is {s}?
?b What is the extension of {s}?
?b On what number can I reach the {c}?
?b Which number do I dial for {s}?
?c What is the job of {s}?
?c What does {s} do for a living?
?c As what does {s} work?
?s Who is the {c}?
?s What is the name of the {c}?
@ rowday dayrow row a=am b=pm
= {s}: {a} to {b}
= {s}, {a} - {b}
? When does it open on {s}?
? At what time do we start on {s}s?
? From when is it open on a {s}?
? What is the opening time on {s}s?
?b When does it close on {s}?
?b Until when is it open on {s}s?
?b How late can I come on a {s}?
?b What is the closing time on {s}s?
"""
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
_HEADINGS: Final = _words(
    "Information {y}|House rules|Notes|{p} bulletin|Handbook, section {k}|Minutes of the {n} meeting|Frequently asked|"
    "News from {p}|Annual report {y}|Notice board|For visitors and staff|Guide to {p}|Chapter {k}|Overview {y}|"
    "What you should know|The {n} file|Letter no. {k}|Rules and facts"
)


# --------------------------------------------------------------------------
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
    for block in text.split("\n@ ")[1:]:
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


_ALL: Final = _parse(_RELATIONS)
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


_STARTS: Final = frozenset(
    """What Which Who Whom Whose Where When Why How At By On In For From To Until Since After Is Under With During
    Name Tell As Up Out Instead Through""".split()
)


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


def _main() -> None:
    items = invented_items(0)
    for _ in range(3):
        item = next(items)
        print(item.passage)
        for question, answer in item.questions:
            print(f"  Q: {question}\n  A: {answer if answer is not None else '(not in the passage)'}")
        print("-" * 60)


if __name__ == "__main__":
    _main()
