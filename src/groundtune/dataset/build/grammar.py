"""The fragments of English that the sentence templates are put together from: amounts, dates, names, subjects.

Each is a piece of a regular expression, or a check of what one has found. Leaves out everything that would need a
parser: a subject that holds a verb, a pronoun or a relative clause is refused.
"""

from __future__ import annotations

import re

from groundtune.dataset.build.templates import Vocabulary, balanced, inside

MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_ONES = "one|two|three|four|five|six|seven|eight|nine"
NUMBER = (
    r"(?:\d[\d.,]*\d|\d|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:-(?:"
    + _ONES
    + r"))?|"
    + _ONES
    + r"|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen)"
)
HEDGE = (
    r"(?:(?:at least|at most|at the most|up to|about|around|roughly|almost|nearly|no more than|not more than|"
    r"only|exactly|"
    r"more than|over|less than|fewer than) )?"
)
CURRENCY = r"(?:crowns?|euros?|dollars?|pounds?|francs?|cents?|EUR|USD|GBP|CHF)"
MONEY = rf"(?:{HEDGE}(?:[$€£]\s?{NUMBER}(?: (?:million|billion))?|{NUMBER}(?: (?:million|billion))? {CURRENCY}))"
_PERIOD = r"(?:seconds?|minutes?|hours?|days?|nights?|weeks?|fortnights?|months?|quarters?|years?|decades?)"
DURATION = rf"{HEDGE}(?:{NUMBER} (?:and a half )?(?:(?:working|calendar|business|full|whole) )?{_PERIOD})"
CLOCK = r"(?:\d{1,2}[:.]\d\d(?: ?(?:am|pm|a\.m\.|p\.m\.))?|\d{1,2} ?(?:am|pm|a\.m\.|p\.m\.|o'clock)|noon|midnight)"
DATE = (
    rf"(?:(?:(?:{DAYS})(?:,| the)? )?(?:\d{{1,2}}(?:st|nd|rd|th)? (?:{MONTHS})(?: \d{{4}})?|"
    rf"(?:{MONTHS}) \d{{1,2}}(?:st|nd|rd|th)?(?:, \d{{4}})?))"
)
YEAR = r"(?:(?:(?:" + MONTHS + r") )?(?:1[0-9]|20)\d\d)"
_CAPITAL = r"[A-ZÄÖÜÅØ][\w'’-]*[\w]"
NAME = rf"(?:Dr\.? |Prof\.? )?{_CAPITAL}(?: (?:of |de |von |van |the )?{_CAPITAL})*"
FULL_NAME = rf"(?:(?:Dr\.? |Prof\.? ){_CAPITAL}|{_CAPITAL} (?:de |von |van )?{_CAPITAL})(?: {_CAPITAL})?"
PARTICIPLE = (
    r"(?:[a-z]+(?:ed|wn|pt|ght|lt)|built|held|made|set|set up|put|lost|won|sold|paid|led|run|given|written|taken|laid|"
    r"cut|lit|sunk|begun|drawn|read|met|sent|lent|hung|left|told|found|chosen|kept|drunk|done|seen|torn|worn|shut)"
)
#: the clause ends here, and nothing narrows what was said
END = (
    r"(?=\s*(?:[;:!]|\.(?!\w)|,(?! (?:or|but|except|unless|if|when|where|provided|as long)\b)| and (?!\d|(?:"
    + _ONES
    + r"|a|an|another|up|at|about)\b)|$))"
)
_IRREGULAR_PLURALS = "people|men|women|children|staff|feet|mice|geese"
THINGS = rf"(?:[a-z][a-z-]+ ){{0,2}}(?:[a-z][a-z-]+[a-rt-z]s|[a-z-]+ses|{_IRREGULAR_PLURALS})"

_BAD_START = frozenset(
    "he she it they we you i this that these those there here his her its their our your my such same "
    "another other others both who which what when where while if because as since until unless although "
    "though after before during in on at by for from with without within to of over under between into "
    "and but or so then thus also however no not nobody nothing none nor only even please more most some "
    "many few much several all everything everyone everybody anyone anybody anything number whoever "
    "whatever each one ones yes today now later once".split()
)
_BAD_INSIDE = frozenset(
    "who whom whose which that when where why how if because unless although though while is are was were "
    "be been being am has have had having do does did must may might can could will would shall should "
    "ought not never no nor this these those it its he she they them their his her him our your my we you "
    "i such same other another former latter above below following there then therefore thus than as also "
    "too both either neither so but".split()
)
FINITE = re.compile(
    r"\b(?:says?|costs?|takes?|gives?|pays?|lasts?|begins?|starts?|ends?|opens?|closes?|goes|go|comes?|came|"
    r"went|stands?|"
    r"stood|lies|lay|hangs?|hung|runs?|ran|rose|fell|cost|became|becomes?|remains?|receives?|needs?|wants?|makes?|made|"
    r"gets?|got|keeps?|leaves?|belongs?|holds?|carries|carry|contains?|includes?|works|worked|uses|shows?|showed)\b"
)
#: heads that say too little by themselves, and words that order things told elsewhere
_VAGUE = frozenset("total totals rest sum amount figure difference remainder thing things work item items part".split())
_RELATIVE = frozenset("first second third last next only most best final complete whole new old remaining".split())
_DANGLING = frozenset("and or of in on at by for from with to the a an into over under".split())


def subject(text: str, known: Vocabulary, *, bare_noun: bool = False) -> str | None:
    """A sentence's subject as it stands inside a question; None where it is none or points to what was said before.

    Args:
        text: what stands before the verb.
        known: what tells names from words.
        bare_noun: "The card" alone will do, because the question names the document.
    """
    text = text.strip()
    words = text.split()
    lower = [w.lower().strip(",.'\"") for w in words]
    if not 1 <= len(words) <= 11 or lower[0] in _BAD_START or lower[-1] in _DANGLING or not text[0].isupper():
        return None
    if any(w in _BAD_INSIDE for w in lower) or FINITE.search(text[1:]):
        return None
    if re.search(r"[;:!?()\[\]\"“”—–…]", text):
        return None
    if "," in text and not re.fullmatch(r"[\w' -]+(?:, [\w' -]+)+ (?:and|or) [\w' -]+", text):
        return None
    if lower[0] in {"the", "a", "an"} and not bare_noun and len(words) == 2 and not words[1][:1].isupper():
        return None
    head = lower[1:] if lower[0] in {"the", "a", "an"} else lower
    if (len(head) == 1 and head[0] in _VAGUE) or (len(words) <= 3 and len(words) > 1 and words[1] in _RELATIVE):
        return None
    if lower[0] == "the" and head[0] in _VAGUE and not re.search(r" [A-ZÄÖÜ]", text):
        return None
    return inside(text, known) if balanced(text) else None


def middle(text: str, *, most: int = 14) -> str | None:
    """What stands between verb and answer; None where it is no single plain clause."""
    text = text.strip()
    lower = [w.lower() for w in text.split()]
    if len(lower) > most or re.search(r"[,;:!?()\[\]\"“”—–…]", text):
        return None
    refused = {
        "who",
        "which",
        "that",
        "not",
        "never",
        "no",
        "only",
        "and",
        "but",
        "or",
        "than",
        "is",
        "are",
        "was",
        "were",
        "has",
        "have",
        "had",
    }
    pointing = {
        "this",
        "these",
        "those",
        "it",
        "its",
        "their",
        "his",
        "her",
        "them",
        "him",
        "such",
        "same",
        "there",
        "then",
    }
    if any(w in refused or w in pointing for w in lower) or (lower and lower[-1] in _DANGLING):
        return None
    return text


_ROLES = re.compile(
    r"(?:er|or|ist|ian|man|woman|ant|ent)$|^(?:head|chair|clerk|judge|guide|nurse|cook|captain|coach|mate|"
    r"secretary|deputy|contact|director|dean|warden|convener|apprentice|architect|author|king|queen|mayor)$"
)
_NOT_ROLES = frozenset(
    "number member paper letter water winter summer order centre center tower answer offer colour color "
    "floor door harbour labour minor major tenor error mirror motor tractor sensor shelter register "
    "ledger folder tanker freighter trailer container computer server printer number timber rudder "
    "barometer ladder anchor quarter corner matter border cover charter weather account department "
    "document event equipment amount content current accident agreement environment payment treatment "
    "statement government rent cent percent percent talent extent client plant grant restaurant garden "
    "owner's folder river sister brother mother father daughter newer older other rather after under over "
    "per paper power transfer meter metre filter heater boiler charger compressor propeller shower layer "
    "buffer disaster chapter character master's supper dinner prayer prior superior exterior interior "
    "visitor supplier customer user sailor passenger holder".split()
)  # fmt: skip


def is_person(role: str) -> bool:
    """True where a noun phrase ("the head of school") names a post that a person holds."""
    words = re.split(r" (?:of|at|for|in|on|from|to) ", role.lower())[0].split()
    return bool(words) and bool(_ROLES.search(words[-1])) and words[-1] not in _NOT_ROLES
