"""Questions from running text: sentences whose form leaves only one way to ask.

Each rule is a pattern over a whole sentence, with the questions that its parts make. The approach is that of question
generation by over-generating transformations (Heilman and Smith, "Good Question! Statistical Ranking for Question
Generation", NAACL 2010), departing from it by few narrow patterns in place of a parser and a ranker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from groundtune.dataset.build import grammar as g
from groundtune.dataset.build.patterns import PATTERNS
from groundtune.dataset.build.templates import Fact, Place, Vocabulary

MAX_SENTENCE_WORDS = 48
MAX_SENTENCE_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What a rule makes of a sentence."""

    questions: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern with what it makes of a match; ``make`` returns None where the parts do not hold up."""

    name: str
    kind: str
    pattern: re.Pattern[str]
    make: Callable[[re.Match[str], Vocabulary], Asked | None]


def sentence_facts(sentence: str, place: Place, known: Vocabulary) -> Iterator[Fact]:
    """The facts of one sentence; most sentences have none.

    Args:
        sentence: as it stands in the document, without a bullet.
        known: what tells names from words.
    """
    if len(sentence) > MAX_SENTENCE_CHARACTERS:
        return
    words = sentence.split()
    if not 4 <= len(words) <= MAX_SENTENCE_WORDS or not sentence[0].isupper() or "?" in sentence or "|" in sentence:
        return
    for rule in RULES:
        match = rule.pattern.search(sentence)
        asked = rule.make(match, known) if match else None
        if asked:
            yield Fact(asked.questions, asked.answer, sentence, rule.kind, rule.name, place)


def _costs(m: re.Match[str], known: Vocabulary) -> Asked | None:
    s, tail = g.subject(m["s"], known), g.middle(m["tail"] or "")
    if not s or tail is None:
        return None
    end = f" {tail}" if tail else ""
    return Asked((f"How much does {s} cost{end}?", f"What is the cost of {s}{end}?"), m["a"])


def _amount(m: re.Match[str], known: Vocabulary) -> Asked | None:
    s = g.subject(m["s"], known)
    if not s or not re.match(r"(?:the|a|an) ", s):
        return None
    verb = m["v"]
    second = f"How much {verb} {s}?" if re.search(g.CURRENCY, m["a"]) else f"Which figure is given for {s}?"
    return Asked((f"What {verb} {s}?", second), m["a"])


def _dimension(m: re.Match[str], known: Vocabulary) -> Asked | None:
    s = g.subject(m["s"], known)
    return Asked((f"How {m['d']} {m['v']} {s}?",), m["a"]) if s else None


def _has(m: re.Match[str], known: Vocabulary) -> Asked | None:
    s = g.subject(m["s"], known)
    if not s:
        return None
    verb = {"has": "have", "have": "have", "had": "have", "holds": "hold", "contains": "contain", "carries": "carry"}[
        m["v"]
    ]
    help_verb = "did" if m["v"] == "had" else "do" if m["v"] == "have" else "does"
    return Asked(
        (f"How many {m['n']} {help_verb} {s} {verb}?", f"What number of {m['n']} {help_verb} {s} {verb}?"), m["a"]
    )


def _when_passive(m: re.Match[str], known: Vocabulary) -> Asked | None:
    s, rest = g.subject(m["s"], known), g.middle(m["rest"] or "", most=8)
    if not s or rest is None:
        return None
    done = f"{m['p']} {rest}".strip()
    second = f"In which year {m['v']} {s} {done}?" if m["a"].isdigit() else f"On what date {m['v']} {s} {done}?"
    if re.fullmatch(rf"(?:{g.MONTHS}) \d{{4}}", m["a"]):
        second = f"In which month and year {m['v']} {s} {done}?"
    return Asked((f"When {m['v']} {s} {done}?", second), m["a"])


_BASE = {
    "takes place": "take place",
    "take place": "take place",
    "took place": "take place",
    "begins": "begin",
    "begin": "begin",
    "began": "begin",
    "starts": "start",
    "start": "start",
    "started": "start",
    "ends": "end",
    "end": "end",
    "ended": "end",
    "opens": "open",
    "open": "open",
    "opened": "open",
    "closes": "close",
    "close": "close",
    "closed": "close",
    "leaves": "leave",
    "leave": "leave",
    "died": "die",
    "retired": "retire",
    "departs": "depart",
    "arrives": "arrive",
}
_PLURAL = {"take place", "begin", "start", "end", "open", "close", "leave"}
_PAST = {"took place", "began", "started", "ended", "opened", "closed", "died", "retired"}


def _when_active(m: re.Match[str], known: Vocabulary) -> Asked | None:
    s, rest = g.subject(m["s"], known), g.middle(m["rest"] or "", most=8)
    if not s or rest is None:
        return None
    verb = m["v"]
    help_verb = "did" if verb in _PAST else "do" if verb in _PLURAL else "does"
    done = f"{_BASE[verb]} {rest}".strip()
    first = "At what time" if m["prep"] == "at" else "When"
    if m["prep"] == "at":
        tail = g.middle(m["tail"] or "", most=7)
        if tail is None:
            return None
        done = f"{done} {tail}".strip()
        return Asked((f"At what time {help_verb} {s} {done}?", f"When {help_verb} {s} {done}?"), m["a"])
    second = "In which year" if m["a"].isdigit() else "On what date"
    if re.fullmatch(rf"(?:{g.MONTHS}) \d{{4}}", m["a"]):
        second = "In which month and year"
    return Asked((f"{first} {help_verb} {s} {done}?", f"{second} {help_verb} {s} {done}?"), m["a"])


def _time_passive(m: re.Match[str], known: Vocabulary) -> Asked | None:
    s, rest, tail = g.subject(m["s"], known), g.middle(m["rest"] or "", most=8), g.middle(m["tail"] or "", most=7)
    if not s or rest is None or tail is None:
        return None
    done = " ".join(part for part in (m["p"], rest, tail) if part)
    return Asked((f"At what time {m['v']} {s} {done}?", f"When {m['v']} {s} {done}?"), m["a"])


def _duration(m: re.Match[str], known: Vocabulary) -> Asked | None:
    s, rest = g.subject(m["s"], known), g.middle(m["rest"])
    if not s or not rest:
        return None
    ask = f"{m['v']} {s} {rest}?"
    if m["prep"] == "within":
        return Asked((f"Within what time {ask}", f"What is the time limit within which {s} {m['v']} {rest}?"), m["a"])
    if m["prep"] == "every":
        return Asked((f"How often {ask}", f"At what interval {ask}"), f"every {m['a']}")
    return Asked((f"For how long {ask}", f"How long {ask}"), m["a"])


_NO_PLACE = re.compile(
    r"^(?:in|on|at|under|above) (?:the )?(?:force|use|order|hands?|process|form|forms|year|years|same|case|cases|"
    r"following|"
    r"first|last|next|list|category|class|band|pay|tariff|charge|duty|risk|way|right|rule|report|page|section|chapter|"
    rf"expense|cost|table|course|interest|best|middle of|{g.MONTHS}|{g.DAYS}|\d)\b",
    re.IGNORECASE,
)


def _where(m: re.Match[str], known: Vocabulary) -> Asked | None:
    s = g.subject(m["s"], known)
    where = m["a"].split(" ", 2 if m["a"].startswith("next") else 1)[-1]
    if (
        not s
        or _NO_PLACE.match(m["a"])
        or re.search(r"\b(?:its|their|his|her|this|that|which|who)\b", m["a"])
        or len(m["a"].split()) > 11
        or not re.match(r"the |an? |each |[A-ZÄÖÜ]|deck |room ", where)
    ):
        return None
    return Asked((f"Where {m['v']} {s}?", f"Where can {s} be found?"), m["a"])


def _by_whom(m: re.Match[str], known: Vocabulary) -> Asked | None:
    s, rest = g.subject(m["s"], known), g.middle(m["rest"] or "", most=8)
    if not s or rest is None or re.search(rf"\b(?:{g.MONTHS}|{g.DAYS})\b", m["a"]):
        return None
    done = f"{m['p']} {rest}".strip()
    second = () if rest else (f"Who {m['v']} {s} {done} by?",)
    return Asked((f"By whom {m['v']} {s} {done}?", *second), m["a"])


def _called(m: re.Match[str], known: Vocabulary) -> Asked | None:
    s = g.subject(m["s"], known)
    return Asked((f"What {m['v']} {s} called?", f"What {m['v']} the name of {s}?"), m["a"].strip('"')) if s else None


def _person(m: re.Match[str], known: Vocabulary) -> Asked | None:
    role = g.subject(m["s"], known)
    if (
        not role
        or not g.is_person(role)
        or role.split()[1] in {"former", "late", "new", "old", "first", "last", "only"}
    ):
        return None
    return Asked((f"Who is {role}?", f"What is the name of {role}?"), m["a"])


def _apposition(m: re.Match[str], known: Vocabulary) -> Asked | None:
    role = m["s"]
    words = role.split()
    if (
        len(words) < 2
        or not g.is_person(role)
        or {"that", "former", "late", "same", "whose", "last", "first", "new", "old", "next", "only"} & set(words)
    ):
        return None
    return Asked((f"Who is the {role}?", f"What is the name of the {role}?"), m["a"])


_NOT_DEFINING = re.compile(
    r"^(?:an?|the|any) (?:case|matter|lot|few|little|bit|good|great|bad|same|only|first|last|next|other|one|must|"
    r"result|"
    r"cause|reason|most|best|worst|subject|member of|part of)\b"
)


def _definition(m: re.Match[str], known: Vocabulary) -> Asked | None:
    term = g.subject(m["s"], known, bare_noun=m["s"].split()[0] in {"A", "An"})
    if not term or _NOT_DEFINING.match(m["a"]) or not 3 <= len(m["a"].split()) <= 15:
        return None
    named = len(re.findall(r"\b[A-ZÄÖÜ]\w+", m["s"].removeprefix("The "))) > 1
    general = m["s"].split()[0] in {"A", "An"}
    if not (named or general) or len(m["s"].split()) > 5:
        return None
    if g.is_person(m["a"].split(" ", 1)[1]) and named:
        return Asked((f"Who {m['v']} {term}?",), m["a"])
    return Asked((f"What {m['v']} {term}?", f"How is {term} described?"), m["a"])


def _meaning(m: re.Match[str], known: Vocabulary) -> Asked | None:
    term = g.subject(m["s"], known)
    if "stands for" in m[0] and not m["s"].isupper():
        return None
    if not term or len(term.split()) > 6 or m["a"].startswith("that "):
        return None
    return Asked((f"What does {term} mean?", f"How is {term} defined?"), m["a"])


def _open(m: re.Match[str], known: Vocabulary) -> Asked | None:
    s = g.subject(m["s"], known)
    if not s or len(m["a"].split()) > 16 or "," in m["a"] or not re.search(r"\d|noon|midnight", m["a"]):
        return None
    second = f"What are the opening hours of {s}?" if m["p"] == "open" else f"At which hours {m['v']} {s} staffed?"
    return Asked((f"When {m['v']} {s} {m['p']}?", second), m["a"])


RULES: tuple[Rule, ...] = tuple(
    Rule(name, kind, re.compile(PATTERNS[name]), make)
    for name, kind, make in (
        ("cost", "amount", _costs),
        ("amount", "amount", _amount),
        ("dimension", "amount", _dimension),
        ("count", "amount", _has),
        ("passive date", "time", _when_passive),
        ("active date", "time", _when_active),
        ("active time", "time", _when_active),
        ("passive time", "time", _time_passive),
        ("duration", "time", _duration),
        ("place", "place", _where),
        ("agent", "person", _by_whom),
        ("name", "definition", _called),
        ("person", "person", _person),
        ("apposition", "person", _apposition),
        ("definition", "definition", _definition),
        ("meaning", "definition", _meaning),
        ("open", "time", _open),
    )
)
