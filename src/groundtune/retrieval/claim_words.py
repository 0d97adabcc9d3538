"""What a sentence says in pieces that can be compared: content words, names, numbers with units, what it denies.

For :mod:`groundtune.retrieval.support`. Leaves out grammar: a name is a capital inside a sentence, a denial is a negation
and the few content words behind it (NegEx, Chapman et al., Journal of Biomedical Informatics 2001), a unit is the next
word but one or two after a number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from groundtune.retrieval.words import is_stop, terms

_UNITS = {
    unit: forms[0]
    for forms in (
        ("second", "seconds", "s", "sec", "sekunde", "sekunden"),
        ("minute", "minutes", "min", "minuten"),
        ("hour", "hours", "h", "stunde", "stunden"),
        ("day", "days", "tag", "tage", "tagen"),
        ("week", "weeks", "woche", "wochen"),
        ("month", "months", "monat", "monate", "monaten"),
        ("year", "years", "jahr", "jahre", "jahren"),
        ("percent", "%", "cent", "prozent"),
        ("metre", "metres", "meter", "meters", "metern", "m"),
        ("kilometre", "kilometres", "kilometer", "kilometers", "kilometern", "km"),
        ("centimetre", "centimetres", "cm"),
        ("millimetre", "millimetres", "mm"),
        ("mile", "miles"),
        ("kilogram", "kilograms", "kilogramme", "kilogrammes", "kilogramm", "kg"),
        ("gram", "grams", "gramm", "g"),
        ("litre", "litres", "liter", "liters", "l"),
        ("crown", "crowns", "krone", "kronen"),
        ("euro", "euros", "€", "eur"),
        ("dollar", "dollars", "$", "usd"),
        ("pound", "pounds", "£"),
        ("degree", "degrees", "°"),
        ("tonne", "tonnes", "ton", "tons"),
    )
    for unit in forms
}
_NUMBER_WORDS = {
    word: number
    for words, start, step in (
        ("two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen", 2, 1),
        ("zwei drei vier fünf sechs sieben acht neun zehn elf zwölf", 2, 1),
        ("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10),
    )
    for number, word in enumerate(words.split())
    for number in [start + step * number]
}  # fmt: skip
#: words that deny what follows them
NEGATIONS = frozenset("not no never none neither nor without cannot nobody nothing nicht kein keine keinen nie".split())
_COMPARED = frozenset("more less later earlier fewer sooner only mehr weniger später früher nur".split())
_GERMAN = frozenset("der die das den dem des und ist sind ein eine einen nicht mit für von zu im am".split())
_CURRENCIES = ("dollar", "euro", "pound")
#: words after a number among which its unit is: 18 working days
_REACH = 3
#: content words after a negation that it denies, at most
_SCOPE = 4
_TOKEN = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?![\d-])"  # a date
    r"|[^\W\d_]+-?\d[\w-]*"  # a code
    r"|\d+(?:[.,:]\d+)*"  # a number or a time of day
    r"|[%€$£°]"
    r"|[^\W\d_]+(?:['’-][^\W\d_]+)*"
    r"|[.,;:!?()\n]"
)
_MONTHS = "january february march april may june july august september october november december".split()
_MONTH_NAMES = frozenset([*_MONTHS, *"januar februar märz mai juni juli oktober dezember".split()])


@dataclass(frozen=True, slots=True)
class Words:
    """What a text says, in pieces that can be compared.

    Attributes:
        stems: content words, each once.
        names: those of them that are names: capitals inside a sentence, codes, months.
        numbers: number -> units that it stands with; an empty set where with none.
        denied: content words in the scope of a negation.
    """

    stems: frozenset[str]
    names: frozenset[str]
    numbers: dict[str, frozenset[str]]
    denied: frozenset[str]


@lru_cache(maxsize=20_000)
def words_of(text: str, language: str = "en") -> Words:
    """A text's content words, names, numbers and what it denies.

    Args:
        text: a sentence or a few.
        language: whose stop words and stems are taken; in ``de`` a capital makes no name.
    """
    reader = _Reader(language)
    for match in _TOKEN.finditer(text):
        reader.read(match[0])
    units = {n: frozenset(u) for n, u in reader.numbers.items()}
    return Words(frozenset(reader.stems), frozenset(reader.names), units, frozenset(reader.denied))


class _Reader:
    """Takes a text's tokens one by one; see :class:`Words` for what it gathers."""

    def __init__(self, language: str) -> None:
        self.stems: set[str] = set()
        self.names: set[str] = set()
        self.denied: set[str] = set()
        self.numbers: dict[str, set[str]] = {}
        self._language = language
        self._begins = True  # a sentence
        self._scope = 0  # content words that the last negation still denies
        self._counted, self._reach = list[str](), 0  # numbers that wait for their unit, and for how many words
        self._currency = ""

    def read(self, token: str) -> None:
        """One token."""
        lower = token.lower()
        if token in ".!?\n;:,()":
            self._scope, self._reach = 0, 0
            self._begins = self._begins or token in ".!?\n:"
            return
        numbers = _numbers(lower)
        unit = _UNITS.get(lower, "")
        if numbers:
            self._count(numbers)
        elif unit and (self._reach or not lower[0].isalpha()):
            self._measure(unit)
        elif self._scope == _SCOPE and lower in _COMPARED:  # "no more than six" denies nothing
            self._scope = 0
        elif lower in NEGATIONS or lower.endswith(("n't", "n’t")):
            self._scope = _SCOPE
        elif (not is_stop(lower, self._language) and lower != "per") or (token == "May" and not self._begins):
            self._word(token, _UNITS[lower] if len(lower) > 2 and unit else lower)
        if not numbers and lower != "per":
            self._reach -= self._reach > 0
        if len(numbers) == 3:  # a date
            self._word(_MONTHS[int(numbers[1]) - 1].title(), _MONTHS[int(numbers[1]) - 1])
        self._begins = False

    def _count(self, numbers: list[str]) -> None:
        for number in numbers[::2] if len(numbers) == 3 else numbers:
            self.numbers.setdefault(number, set()).update({self._currency} - {""})
        self._counted, self._reach, self._currency = numbers, _REACH, ""

    def _measure(self, unit: str) -> None:
        if self._reach == _REACH or (self._reach and unit not in _CURRENCIES):
            for number in self._counted:
                self.numbers.get(number, set()).add(unit)
            self._reach = 0
        else:
            self._currency = unit
        self.stems.add(unit)

    def _word(self, token: str, lower: str) -> None:
        code = any(c.isdigit() for c in lower)
        stems = [lower] if code or lower in _UNITS else _stems(lower, self._language)
        self.stems.update(stems)
        capital = token[0].isupper() and not self._begins and self._language != "de"
        if lower in _MONTH_NAMES or code or capital:
            self.names.update(stems)
        if self._scope:
            self.denied.update(stems)
            self._scope -= 1


@lru_cache(maxsize=50_000)
def _stems(word: str, language: str) -> tuple[str, ...]:
    """The stems of a word's parts between hyphens."""
    return tuple(terms(word, language))


def _numbers(token: str) -> list[str]:
    """The numbers of a token, written one way: 6,840 as 6840, 3.20 as 3.2, 08:30 as 8:30, a date as its parts."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", token):
        return [str(int(part)) for part in token.split("-")]
    parts = token.split("-")
    if all(part in _NUMBER_WORDS for part in parts):
        return [str(sum(_NUMBER_WORDS[part] for part in parts))]
    if not token[0].isdigit():
        return []
    if ":" in token:
        return [":".join(str(int(part)) for part in re.split(r"[.,:]", token))]
    whole = re.sub(r"[.,](?=\d{3}(?:\D|$))", "", token) if re.fullmatch(r"\d{1,3}(?:[.,]\d{3})+", token) else token
    number = whole.replace(",", ".").lstrip("0") or "0"
    return [number.rstrip("0").rstrip(".") if number.count(".") == 1 else number]


def language_of(*texts: str) -> str:
    """``de`` for texts with at least two of German's commonest words, else ``en``; enough for a sentence and its question."""
    return "de" if len(_GERMAN & set(" ".join(texts).lower().split())) > 1 else "en"
