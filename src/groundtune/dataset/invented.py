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
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from groundtune.dataset.invented_amounts import Ctx
from groundtune.dataset.invented_subjects import ROW_KINDS, SUBJECTS
from groundtune.dataset.invented_values import VALUES, place
from groundtune.dataset.invented_words import ADJECTIVES, COUNTABLE, NOUNS, WORDS, data

__all__ = ["ReadingItem", "invented_items"]


@dataclass(frozen=True, slots=True)
class ReadingItem:
    """One passage with its questions; an answer of None is not in the passage."""

    passage: str
    questions: tuple[tuple[str, str | None], ...]


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
_HEADINGS: Final = WORDS["headings"]


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
        known = tuple(k for k in kinds.split(",") if k in SUBJECTS)
        relations.append(_Relation(name, known, group, pairs, tuple(statements), tuple(questions)))
    return tuple(relations)


_ALL: Final = _parse(data("invented_relations.txt"))
_BY_KIND: Final[dict[str, tuple[_Relation, ...]]] = {
    kind: tuple(r for r in _ALL if kind in r.kinds) for kind in SUBJECTS
}
_TABLES: Final = ("article", "linerow", "roomrow", "staffrow", "dayrow")
_PROSE: Final = tuple(k for k in SUBJECTS if k not in _TABLES for _ in range(1 + len(_BY_KIND[k]) // 3))


def _thing(c: Ctx) -> str:
    return f"the {c.pick(ADJECTIVES)} {c.pick(COUNTABLE)}"


VALUES["thing"] = _thing


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


def _subject(c: Ctx, kind: str, like: tuple[str, str] | None) -> tuple[str, tuple[str, str]]:
    """A subject of the kind; one that shares a word with ``like`` where given."""
    pattern, modifier, noun = SUBJECTS[kind]
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


def _make(c: Ctx, rel: _Relation, kind: str, subject: str, facts: list[_Fact], keys: dict[str, str]) -> _Fact | None:
    """A new fact, unlike the other facts of the same relation; None where that fails."""
    siblings = [f for f in facts if f.relation is rel]
    for _ in range(4):
        values = {"s": subject}
        for slot, value_kind in rel.slots:
            values[slot] = keys[slot] if slot in keys else VALUES[value_kind](c)
        if "b" in values and values["a"] == values["b"]:
            continue
        if any(
            (f.values["a"] == values["a"])
            or ("b" in values and f.values["b"] == values["b"])
            or (f.subject == subject and f.values.get("c") == values.get("c"))
            or (kind in ROW_KINDS and f.values.get("c", "") == values.get("c", "-"))
            for f in siblings
        ):
            continue
        options = rel.statements[int(c.r() * len(rel.statements))]
        text = _capital(_render(options[int(c.r() * len(options))], values))
        return _Fact(rel, kind, subject, values, text)
    return None


def _wording(c: Ctx, rel: _Relation, slot: str | None) -> tuple[str, str]:
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


def _polish(c: Ctx, question: str) -> str:
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


_STARTS: Final = frozenset(WORDS["starts"])


def _add_cluster(c: Ctx, facts: list[_Fact], subjects: list[str], kind: str, room: int) -> None:
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
            keys = {s: VALUES[v](c) for s, v in rel.slots if s == "c"}
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


def _add_table(c: Ctx, facts: list[_Fact], subjects: list[str], kind: str) -> None:
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


def _unanswerable(c: Ctx, facts: list[_Fact], subjects: list[str], low: str) -> str | None:
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
        pattern, modifier, noun = SUBJECTS[kind]
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
        new = VALUES[dict(rel.slots)["c"]](c)
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


def _file_name(c: Ctx) -> str:
    k = c.r()
    tail = c.pick(("rules", "guide", "minutes", "list", "notes", "report", "handbook", "faq", "plan", "prices"))
    stem = f"{c.pick(NOUNS)}{c.pick(('-', '_', ' '))}{tail}" if k < 0.8 else f"{place(c).lower()}-{c.year}"
    return f"{stem}.{c.pick(('pdf', 'txt', 'docx', 'md', 'html', 'pdf'))}"


def _fill(c: Ctx, heading: str) -> str:
    return (
        heading.replace("{y}", str(c.year))
        .replace("{p}", place(c))
        .replace("{k}", str(c.n(1, 30)))
        .replace("{n}", c.pick(NOUNS))
    )


def _layout(c: Ctx, prose: list[_Fact], rows: list[_Fact]) -> str:
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


def _item_from(c: Ctx) -> ReadingItem | None:
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
    context = Ctx(Random(seed).random)
    while True:
        item = _item_from(context)
        if item is not None:
            yield item
